"""The benchmarks of the entry points: the same run by each, and what people wait for before anything runs."""

import datetime as dt
import os
import subprocess
import sys
import time

from measure import PIPELINE, PYTHON, REPOSITORY, best, cost


def orchestration(folder, _):
    """The same three days of the sample API by each entry point, and what Airflow adds to a task."""
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "infra")]
    from scripts.sample_api.server import serving as sample_api
    from tests.e2e.airflow_stack import open_folder, running_airflow
    from tests.e2e.n8n_stack import running_n8n
    from tests.e2e.waiting import wait_for

    days = ["2024-01-01", "2024-01-03"]
    wanted = {"2024-01-01", "2024-01-02", "2024-01-03"}
    with sample_api() as source:
        api = {"API_BASE_URL": source.url, "COIN_API_BASE_URL": source.url}
        direct = cost(PIPELINE, "run", "--start-date", days[0], "--end-date", days[1], DATA_DIR=folder / "cli", **api)
        prefect = {"PREFECT_HOME": folder / "prefect", "DATA_DIR": folder / "flow", "DO_NOT_TRACK": 1}
        flow = cost(PYTHON, REPOSITORY / "prefect/flows/elt_flow.py", *days, **prefect, **api)
        with open_folder() as home, running_airflow(home, **api) as airflow:
            wait_for(lambda: airflow.runs("pipeline_bronze"), "the first run")
            airflow.wait_for_loads()
            started = time.perf_counter()
            moments = {"from_date": f"{days[0]}T00:00:00Z", "to_date": f"{days[1]}T00:00:00Z"}
            airflow.post("backfills", {"dag_id": "pipeline_bronze", **moments})
            wait_for(lambda: wanted <= airflow.gold_days(), "the days in Gold")
            through_airflow = time.perf_counter() - started
            airflow.wait_for_loads()
            runs = [run["dag_run_id"] for run in airflow.runs("pipeline_bronze", run_type="backfill")]
            tasks = [
                task for run in runs for task in airflow.tasks("pipeline_bronze", run).values() if task["start_date"]
            ]
            waits = [moment(task["start_date"]) - moment(task["scheduled_when"]) for task in tasks]
            with running_n8n(folder, airflow.url, airflow.passwords["AIRFLOW_SERVICE_PASSWORD"]) as n8n:
                file = airflow.data_dir / "bronze/jsonplaceholder/posts/dt=2024-02-01/part-0.parquet"
                started = time.perf_counter()
                n8n.post({"start_date": "2024-02-01", "end_date": "2024-02-01"})
                wait_for(file.exists, "the first row")
                webhook = time.perf_counter() - started
    ran = [task["duration"] for task in tasks]
    lines = [
        f"| `pipeline run` | {direct.seconds:.1f} |",
        f"| Prefect flow, with the start of a server of its own | {flow.seconds:.1f} |",
        f"| Airflow, from the request for a backfill to Gold | {through_airflow:.1f} |",
        f"| Airflow: a task waits, from scheduled to started, mean of {len(tasks)} | {sum(waits) / len(waits):.2f} |",
        f"| Airflow: a task runs, mean | {sum(ran) / len(ran):.2f} |",
        f"| from the webhook to the first row in Bronze | {webhook:.1f} |",
    ]
    return ["entry point", "seconds"], lines


def moment(text):
    """Return a time of Airflow's API in seconds."""
    return dt.datetime.fromisoformat(text).timestamp()


def start_up(folder, _):
    """Imports and commands that people wait for."""
    lines = []
    for name, command in {
        "`python -c pass`": [PYTHON, "-c", "pass"],
        "`pipeline --help`": [PIPELINE, "--help"],
        "`pipeline status`, nothing loaded": [PIPELINE, "status"],
    }.items():
        done = best(5, *command, DATA_DIR=folder / "empty")
        lines.append(f"| {name} | {done.seconds:.2f} |")
    airflow = {"AIRFLOW_HOME": folder / "airflow", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "airflow/dags")])
    script = (
        "import sys, time, runpy; import airflow.sdk; t = time.perf_counter(); runpy.run_path(sys.argv[1]);"
        "print(time.perf_counter() - t)"
    )
    for dag in sorted((REPOSITORY / "airflow/dags").glob("*.py")):
        environ = os.environ | {"PYTHONPATH": path, **{key: str(value) for key, value in airflow.items()}}
        found = [subprocess.check_output([PYTHON, "-c", script, dag], env=environ, text=True) for _ in range(2)]
        lines.append(
            f"| DAG file `{dag.name}`, with Airflow imported | {min(float(t.split()[-1]) for t in found):.2f} |"
        )
    return ["what", "seconds"], lines
