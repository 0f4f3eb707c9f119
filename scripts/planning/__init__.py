"""What is due: derived anew, each time, from contracts, ledger, published version and clock; and a run that does it.

Knows loading and the warehouse. Every entry point and the health ask it; nothing that a run remembers is asked.
"""
