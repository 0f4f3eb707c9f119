"""Administration of an installation: doctor, `.env`, pruning, generated files.

Only entry points import it.
"""
