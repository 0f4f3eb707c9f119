"""What is due, computed each time from contracts, ledger, published version and clock; and a run that does it.

It uses loading and the warehouse. Every entry point and the health check call it. It reads no state of earlier runs.
"""
