"""Keeping secrets in and foreign text harmless: masked secrets, text from outside, addresses that may be asked.

Imports nothing of the project; every other module may import it.
"""
