"""The logs of workers in Bronze: each case is a process of its own, since Airflow reads its settings once."""

import os
import subprocess
import sys

import pytest

from scripts.config import PROJECT_DIR

LOG = "dag_id=a/run_id=b/attempt=1.log"
UPLOAD = f"import bucket_logs as b; b.REMOTE_TASK_LOG.upload({LOG!r}); print(b.REMOTE_TASK_LOG.read({LOG!r}, None))"


@pytest.fixture
def upload(tmp_path):
    """Return a function that uploads a log and reads it again; it returns what the process prints."""

    def run(**environ):
        path = [str(PROJECT_DIR), str(PROJECT_DIR / "infra")]
        known = {
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path / "logs"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "DATA_DIR": str(tmp_path / "data"),
            "PYTHONPATH": os.pathsep.join(path),
        }
        command, environ = [sys.executable, "-c", UPLOAD], os.environ | known | environ
        done = subprocess.run(command, env=environ, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "logs" / LOG).parent.mkdir(parents=True)
    (tmp_path / "logs" / LOG).write_text("what the task said")
    return run


def test_a_log_moves_to_bronze_and_is_read_there(upload, tmp_path):
    place = tmp_path / "data/bronze/_logs" / LOG
    assert upload().splitlines()[-1] == str(([str(place)], ["what the task said"]))
    assert not (tmp_path / "logs" / LOG).exists()


def test_a_log_that_cannot_be_sent_stays_on_the_worker(upload, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/bronze").write_text("a file where the folder belongs")
    assert "what the task said" not in upload()
    assert (tmp_path / "logs" / LOG).read_text() == "what the task said"


def test_a_log_that_nobody_uploaded_is_no_error(upload, tmp_path):
    (tmp_path / "logs" / LOG).unlink()
    assert upload().splitlines()[-1] == str(([], None))
