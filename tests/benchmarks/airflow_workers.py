"""Measure loads through Airflow on 1, 2 and 4 Celery workers that share only a bucket.

python tests/benchmarks/airflow_workers.py [DAYS]      # needs Redis and the S3 server of `make test-scale`

One run of `pipeline_bronze` loads the four resources of jsonplaceholder for 25 days: 100 partitions, with 50 ms for
each request to the source. Each worker has four slots. The seconds are from the start of the first load to the end of
the last one.
"""

import datetime as dt
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, ".")

from scripts.sample_api.server import serving
from tests.e2e.airflow_stack import open_folder
from tests.e2e.celery_stack import running_redis, running_workers
from tests.support.object_server import serving_objects

COUNTS, LATENCY_SECONDS = (1, 2, 4), 0.05
FIRST = dt.date(2024, 3, 1)


def main(days=25):
    """Print a line for each number of workers."""
    with tempfile.TemporaryDirectory() as name, serving_objects(Path(name) / "s3") as objects, serving() as api:
        slow_down(api)
        for count in COUNTS:
            with open_folder() as folder, running_redis(folder) as broker:
                bucket = {"BRONZE_DIR": objects.new_prefix(), **objects.variables()}
                environ = {"API_BASE_URL": api.url, "COIN_API_BASE_URL": api.url}
                with running_workers(folder, count, bucket, broker, **environ) as (airflow, workers, _):
                    print(f"{count} workers: {measured(airflow, workers, days)}", flush=True)


def slow_down(api):
    """Let the source take a while for each request."""
    answer = api.RequestHandlerClass.do_GET

    def wait_then_answer(handler):
        time.sleep(LATENCY_SECONDS)
        answer(handler)

    api.RequestHandlerClass.do_GET = wait_then_answer


def measured(airflow, workers, days):
    """Load the days, and return what was measured, as text."""
    airflow.wait_for_loads()
    before = sum(worker.cpu() for worker in workers)
    options = {"start_date": str(FIRST), "end_date": str(FIRST + dt.timedelta(days=days - 1))}
    run_id = airflow.trigger("pipeline_bronze", source="jsonplaceholder", **options)
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    cpu = sum(worker.cpu() for worker in workers) - before
    path = f"dags/pipeline_bronze/dagRuns/{run_id}/taskInstances?limit=1000".replace("+", "%2B")
    loads = [task for task in airflow.get(path)["task_instances"] if task["task_id"].startswith("load.")]
    moments = [dt.datetime.fromisoformat(task[name]) for task in loads for name in ("start_date", "end_date")]
    seconds, number = (max(moments) - min(moments)).total_seconds(), len(loads) / 2
    rate = number / seconds
    return f"{number:.0f} partitions in {seconds:.0f} s, {rate:.2f} a second, {cpu:.0f} CPU s of the workers"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
