"""`make bench`: everything side by side in one run on one machine; writes docs/performance.md.

    python run.py PEERS [SECTION...]     PEERS: a folder with an environment for each peer

Without sections, it measures all. With sections, it replaces these parts of the page.

Ratios are what counts: the seconds are this machine's. Nothing here fails for being slow.
"""

import datetime as dt
import importlib.metadata
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from building import daily_build
from entry_points import orchestration, start_up
from growth import bytes_written, many_partitions, many_resources, memory, tiny_partitions
from loading import backfill, ingestion, validation
from measure import REPOSITORY

PEERS = ("dlt", "airbyte", "sqlmesh")
PAGE = REPOSITORY / "docs" / "performance.md"
SECTIONS = {
    "Ingestion": ingestion,
    "Validation": validation,
    "Daily build": daily_build,
    "Backfill": backfill,
    "Many partitions": many_partitions,
    "Many resources": many_resources,
    "Tiny partitions": tiny_partitions,
    "Bytes written": bytes_written,
    "Memory": memory,
    "Orchestration": orchestration,
    "Start-up": start_up,
}


def main(peers, *wanted):
    """Run the sections and write the page."""
    about = (
        f"Written by `make bench`: each section in one run on one machine. The last run, on {today()}: {machine()};"
        f" {', '.join(version(peers, name) for name in PEERS)}. Seconds are this machine's; read the ratios. All sides"
        " do the same work, and their rows are compared."
    )
    parts = known_parts() if wanted else {}
    for name, section in SECTIONS.items():
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_DIR")) as folder:
            header, lines, *curves = section(Path(folder), peers)
        rule = ["---"] + ["--:"] * (len(header) - 1)
        part = [
            f"{inspect.getdoc(section)} Measured on {today()}.",
            "",
            f"| {' | '.join(header)} |",
            f"| {' | '.join(rule)} |",
            *lines,
            "",
            *(draw(name, curve, peers) for curve in curves),
        ]
        parts[name] = "\n".join(part).strip()
        print(f"## {name}\n\n{parts[name]}\n", flush=True)
        shown = [f"## {one}\n\n{parts[one]}" for one in SECTIONS if one in parts]
        PAGE.write_text("\n\n".join(["# Performance", about, *shown]) + "\n")


def known_parts():
    """Return the sections of the page as it is, by name."""
    _, *sections = PAGE.read_text().split("\n## ")
    return {name: text.strip() for name, _, text in (section.partition("\n") for section in sections)}


def today():
    """Return the present day (UTC)."""
    return dt.datetime.now(dt.UTC).date()


def draw(name, curve, peers):
    """Write the curves of a section beside the page; return the line that shows them."""
    picture = PAGE.with_name(f"performance-{name.lower().replace(' ', '-')}.svg")
    program = [peers / "charts/bin/python", Path(__file__).with_name("curves.py")]
    picture.write_text(subprocess.check_output(program, input=json.dumps(curve), text=True))
    return f"![{curve['y']} by {curve['x']}]({picture.name})\n"


def machine():
    """Return the machine and the versions, in a line each."""
    cpu = next(
        (row.split(":")[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row), ""
    )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("duckdb", "dbt-core", "pyarrow", "apache-airflow")
    )
    return f"{os.cpu_count()} cores ({cpu or platform.machine()}), Python {platform.python_version()}, {versions}"


def version(peers, name):
    """Return a peer with its version."""
    script = "import sys, importlib.metadata as m; print(sys.argv[1], m.version(sys.argv[1]))"
    return subprocess.check_output([peers / name / "bin/python", "-c", script, name], text=True).strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
