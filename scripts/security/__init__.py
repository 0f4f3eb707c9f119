"""Security: masking of secrets, escaping of text from outside, and checks of network addresses.

Imports nothing of the project; every other module may import it.
"""
