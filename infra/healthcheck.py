"""The health check of the containers; exits with 1 if a service is not healthy. It uses only the standard library.

python healthcheck.py URL [COMPONENT]     COMPONENT: an entry of Airflow's health document, such as `dag_processor`
python healthcheck.py FILE                a file that the service writes every few seconds
"""

import json
import os
import sys
import time
import urllib.request

FRESH_SECONDS = 60


def main(url: str, component: str | None = None) -> int:
    """Return 0 if a service answers and, with a component, reports that the component is healthy."""
    if url.startswith("/"):
        return is_old(url)
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer) if component else None
    except (OSError, ValueError) as error:
        print(error)
        return 1
    status = found[component]["status"] if found and component else "healthy"
    print(status)
    return 0 if status == "healthy" else 1


def is_old(path: str) -> int:
    """Return 0 if a file was written in the last minute."""
    try:
        age = time.time() - os.stat(path).st_mtime  # noqa: PTH116 — pathlib takes longer to import than this takes
    except OSError as error:
        print(error)
        return 1
    print(f"alive {age:.0f} s ago")
    return int(age > FRESH_SECONDS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
