"""What a contract may say: its model, the catalog of `scripts/sources/`, column types, and dbt sources made from it.

Imports nothing above `utils`; every other package may import it.
"""
