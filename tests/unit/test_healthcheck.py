"""The health check of a worker: the age of the file that it writes with each heartbeat."""

import os
import time

import pytest

import healthcheck


@pytest.mark.parametrize(("age", "code"), [(0, 0), (30, 0), (90, 1)])
def test_a_worker_is_healthy_while_it_writes_its_file(tmp_path, age, code):
    path = tmp_path / "alive"
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    assert healthcheck.main(str(path)) == code


def test_a_worker_that_has_not_written_yet_is_not_healthy(tmp_path, capsys):
    assert healthcheck.main(str(tmp_path / "alive")) == 1
    assert "alive" in capsys.readouterr().out
