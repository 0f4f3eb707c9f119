"""Partitions on disk: store, ledger, quarantine and Parquet files, written atomically.

Knows contracts, and neither APIs nor the warehouse. Everything that touches a Bronze file goes through `store`.
"""
