"""Finding out what an API's answers look like, and writing that down as a contract and a staging model.

Asks by the client of `extract`; writes no file and loads nothing.
"""
