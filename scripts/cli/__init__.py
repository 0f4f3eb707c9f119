"""The command `pipeline`: one file for each group of commands, and the printing of results.

It is an entry point: nothing imports it. Each command imports its modules when it runs, so that `--help` starts in
0.1 s.
"""
