"""What an operator does with a running Airflow, and looks at, in several tests."""

import contextlib
import re
import shutil
import subprocess

import psutil

from .waiting import wait_for


def load(airflow, day, resource="users", **conf):
    """Load a day in a run, and return the run's id and its state."""
    conf = {"source": "jsonplaceholder", "resources": [resource]} | conf
    run_id = airflow.trigger("pipeline_bronze", day=day, **conf)
    return run_id, airflow.wait("pipeline_bronze", run_id)["state"]


def repaired(airflow, dag_id, run_id, task, day, resource="users"):
    """Clear a task as the runbook says; it worked when the run has succeeded and Gold has the day."""
    assert airflow.clear(airflow.tasks(dag_id, run_id)[task]).status_code == 200
    assert airflow.wait(dag_id, run_id)["state"] == "success"
    airflow.wait_for_loads()
    assert day in airflow.gold_days(resource)


def told(sink, kind, words, timeout=120):
    """Return the one alert of a kind, or of some kinds, that has some words."""

    def find():
        return [text for text in sink.texts if text.startswith(kind) and words in text]

    found = wait_for(find, f"{kind} {words}", timeout)
    assert len(found) == 1, found
    return found[0]


def every_link_opens(airflow, alert, **options):
    """Open each page of Airflow that an alert names, and look for the place on it; returns the pages by name."""
    links = re.findall(rf"^([\w ]+): {re.escape(airflow.url)}(/\S+)$", alert, re.MULTILINE)
    assert len(links) == len(re.findall(r"^[\w ]+: https?://", alert, re.MULTILINE)), alert
    assert "runbook" in dict(links), alert
    return opened(links, lambda path: airflow.ask("GET", path, **options))


def opened(links, get):
    """Open pages, and look for the place on each; returns their texts by name."""
    pages = {}
    for name, link in links:
        path, _, anchor = link.partition("#")
        answer = get(path)
        assert answer.status_code == 200, link
        assert f'id="{anchor}"' in answer.text or not anchor, link
        pages[name] = answer.text
    return pages


def process_of(airflow, task):
    """Return the process that works on a task now, not its supervisor; None if there is none."""
    for child in psutil.Process(airflow.launcher.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if f"worker -- {task['id']}" in " ".join(child.cmdline()):
                return child
    return None


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Make a folder a disk of its own for the block; yields whether this user may."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", str(folder)]
    sudo = ["sudo", "-n"] if shutil.which("sudo") else []
    for before in ([], sudo):
        if subprocess.run([*before, *mount], capture_output=True, check=False).returncode == 0:
            try:
                yield True
            finally:
                subprocess.run([*before, "umount", "--lazy", str(folder)], check=True)
            return
    yield False
