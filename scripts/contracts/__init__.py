"""Contracts: their model, the catalog of `scripts/sources/`, column types, and the dbt sources generated from them.

Imports nothing above `utils`; every other package may import it.
"""
