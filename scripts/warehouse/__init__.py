"""The warehouse: versions, builds and their state, the dbt process, row accounting, the data documentation.

It reads Bronze and the ledger, and does not know how rows are loaded.
"""
