"""One Airflow for all its tests: they use days of their own."""

import dataclasses
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from selenium import webdriver
from xdist.scheduler import LoadFileScheduling

from scripts.config import PROJECT_DIR
from scripts.sample_api.server import serving
from tests.support.alert_sink import alert_sink
from tests.support.clone import clone
from tests.support.lineage_receiver import receiving
from tests.support.object_server import serving_objects
from tests.support.required import without

from .airflow_stack import open_folder, running_airflow
from .operating import small_disk
from .waiting import wait_for

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


AIRFLOW = {
    "test_airflow.py": "one Airflow",
    "test_docs.py": "one Airflow",
    "test_webhook_airflow.py": "one Airflow",
    "test_situations.py": "another Airflow",
    "test_alerts.py": "another Airflow",
    "test_backfills.py": "another Airflow",
    "test_operator.py": "another Airflow",
    "test_repairs.py": "another Airflow",
}
"""The files whose tests share an Airflow, and which: each takes a quarter of a core even while nothing runs."""


class SharedServers(LoadFileScheduling):
    """Files that share a server run in one worker, which starts the server once; every other file by itself."""

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0].rpartition("/")[2]
        return AIRFLOW.get(file, file)


def pytest_xdist_make_scheduler(config, log):
    """Group by servers; xdist's own groups (`xdist_group`) do nothing with pytest 9.2."""
    return SharedServers(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with the files that take longest; check the invariants after the other tests of a file, of random order."""
    files = {item.path: number for number, item in reversed([*enumerate(items)])}
    takes_long = {*AIRFLOW, "test_prefect.py"}
    items.sort(
        key=lambda item: (item.path.name not in takes_long, files[item.path], item.name.startswith("test_then_"))
    )


@dataclasses.dataclass(frozen=True)
class Demo:
    """What `pipeline demo` made and said."""

    folder: Path
    output: str
    log: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo, in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli.main", "demo"],
        cwd=PROJECT_DIR,
        env=os.environ | {"DEMO_DIR": str(folder)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Demo(folder, done.stderr + done.stdout, done.stderr)


@pytest.fixture(scope="session")
def sink():
    """Where alerts arrive."""
    with alert_sink() as server:
        yield server


@pytest.fixture(scope="session")
def receiver():
    """Where the OpenLineage events of Airflow's tasks arrive."""
    with receiving() as server:
        yield server


@pytest.fixture(scope="session")
def source():
    """The sample API that Airflow's tasks ask."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The variables of Bronze in a bucket, on an S3 server of its own."""
    with serving_objects(tmp_path_factory.mktemp("objects") / "s3") as server:
        yield {"BRONZE_DIR": server.new_prefix(), **server.variables()}


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A clone of the repository, whose contracts and models a test may break."""
    return clone(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def airflow(source, sink, receiver, project):
    """A running Airflow whose first daily run has come by itself and is done."""
    with (
        open_folder() as folder,
        # a disk of its own, which a test fills
        small_disk(folder / "data" / "bronze", megabytes=256),
        running_airflow(
            folder,
            home=project,
            API_BASE_URL=source.url,
            COIN_API_BASE_URL=source.url,
            SLACK_WEBHOOK=sink.url,
            OPENLINEAGE_URL=receiver.url,
            RUN_DEADLINE_HOURS=40 / 3600,
            BACKFILL_CALLBACK_HOSTS="127.0.0.1",
            AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=15,
        ) as running,
    ):
        wait_for(lambda: running.runs("pipeline_bronze"), "the first run")
        running.wait_for_loads()
        yield running
        if kept := os.environ.get("KEEP_AIRFLOW_LOGS"):
            shutil.copytree(folder / "data" / "airflow" / "logs", Path(kept), dirs_exist_ok=True)


@pytest.fixture
def changed(project):
    """Change a file of the project for the test; returns a function that restores it."""
    known = {}

    def change(name, old, new):
        path = project / name
        known.setdefault(path, path.read_text() if path.exists() else None)
        text = known[path] or ""
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else new)

    def restore():
        for path, text in known.items():
            path.unlink() if text is None else path.write_text(text)
        known.clear()

    change.back = restore
    yield change
    restore()


@pytest.fixture
def pipeline(airflow, project, source):
    """Run a command of the pipeline on Airflow's data, as a person in the folder of the project does."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "scripts.cli.main", *arguments],
            cwd=project,
            env=os.environ
            | {
                "PYTHONPATH": str(project),
                "DATA_DIR": str(airflow.data_dir),
                "API_BASE_URL": source.url,
                "COIN_API_BASE_URL": source.url,
            },
            text=True,
            capture_output=True,
            check=False,
        )

    return run


def chrome_options():
    """Return the options of a Chromium without a window."""
    if shutil.which("chromedriver") is None:
        without("REQUIRE_BROWSER", "no Chromium here: the packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    return options


@pytest.fixture(scope="module")
def chromium():
    """A Chromium without a window, for the tests of a file."""
    driver = webdriver.Chrome(options=chrome_options(), service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """A Chromium without a window; its page is closed after the test, since Airflow's pages ask all the time."""
    yield chromium
    chromium.get("about:blank")


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The text of axe, which knows the rules of accessibility."""
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run(["npm", "pack", "--silent", "axe-core@4.10.3"], cwd=folder, check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()
