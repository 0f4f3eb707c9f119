"""The command `pipeline`: one file for each group of commands, and how results are printed.

An entry point: nothing imports it. Commands import what they use, so that `--help` starts in 0.1 s.
"""
