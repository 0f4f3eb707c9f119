"""Discovery of an API: guesses its paging, records and columns from its answers, and writes the text of a contract.

Sends requests with the client of `extract`; writes no file and loads nothing.
"""
