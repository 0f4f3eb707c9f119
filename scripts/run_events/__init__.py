"""Run events: tells a receiver of OpenLineage what each load, validation and build reads and writes.

Off unless `OPENLINEAGE_URL` is set. An event holds names, types, counts and times, and never a value of a row.
"""
