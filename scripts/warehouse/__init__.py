"""The warehouse: versions, builds and their state, dbt as a process, row accounting, the data documentation.

Reads Bronze and its ledger; does not know how rows are loaded.
"""
