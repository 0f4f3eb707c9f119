"""Where rows and columns of the published version come from: Gold, Silver, Bronze, loads, quarantine, contract.

It reads the published file, Bronze and the ledger, and changes nothing. It imports neither pandas, pyarrow nor sqlglot,
and reads contracts without checking them: each of these takes longer than the answer.
"""
