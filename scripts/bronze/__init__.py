"""Partitions on disk: store, ledger, quarantine and Parquet files, written atomically.

Imports contracts, but neither APIs nor the warehouse. Every access to a Bronze file goes through `store`.
"""
