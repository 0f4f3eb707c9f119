"""Extraction from an API: client, authentication, retries, pagination, and the conversion of responses to typed rows.

Imports contracts, but neither Bronze nor the warehouse; `ingest_api` connects them.
"""
