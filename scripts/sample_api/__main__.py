"""Runs the sample API: `python -m scripts.sample_api --port 3000`."""

from scripts.sample_api.server import main

main()
