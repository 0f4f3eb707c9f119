"""The data portal: pages for the people who use Gold, made from the published version. It may import all but the CLI.

It knows the warehouse, its history and dbt's manifest, and changes none of them.
"""
