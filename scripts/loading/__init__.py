"""Loading of many partitions: ingestion and validation in parallel, rules, completeness, and replay of quarantine.

Imports `ingest_api` and `validate_data`, but not the warehouse.
"""
