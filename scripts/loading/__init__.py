"""Loading many partitions: planning a range, ingesting and validating in parallel, rules, and replay of quarantine.

Uses `ingest_api` and `validate_data`; does not know the warehouse.
"""
