"""The health check of the containers; exits with 1 if a service is not healthy. It uses only the standard library.

python healthcheck.py URL [COMPONENT]     COMPONENT: an entry of Airflow's health document, such as `dag_processor`
"""

import json
import sys
import urllib.request


def main(url: str, component: str | None = None) -> int:
    """Return 0 if a service answers and, with a component, reports that the component is healthy."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer) if component else None
    except (OSError, ValueError) as error:
        print(error)
        return 1
    status = found[component]["status"] if found and component else "healthy"
    print(status)
    return 0 if status == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
