"""Asking an API: client, authentication, retries, pagination, and from responses to typed rows.

Knows contracts, and neither Bronze nor the warehouse; `ingest_api` joins them.
"""
