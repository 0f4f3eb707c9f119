"""What the Compose files say, without an engine: fail closed, nothing public, every service watched and limited."""

import json
import os
import re
import subprocess
import tomllib

import pytest
from dotenv import dotenv_values

from scripts.admin.env_file import SECRET_NAMES, init_env, write_secret_files
from scripts.config import PROJECT_DIR, Settings
from tests.support.clone import clone

PROD, TLS, WORKERS = "docker-compose.prod.yml", "docker-compose.tls.yml", "docker-compose.workers.yml"
SLOTS = {"WORKERS": "3", "AIRFLOW_PARALLELISM": "16"}
"""What make computes for `make up WORKERS=3`."""
ONE_SHOT = {"airflow-init", "n8n-init", "prefect-init"}
RUNS_DUCKDB = {"scheduler", "prefect-worker", "warehouse-worker"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clone with its secrets."""
    found = clone(tmp_path_factory.mktemp("clone"))
    init_env(found / ".env")
    with (found / ".env").open("a") as file:
        file.write("PUBLIC_DOMAIN=pipeline.test\n")
    write_secret_files(found / ".secrets", found / ".env")
    return found


def config(folder, *files, env_file=".env", **environ):
    names = ["docker-compose.yml", *files]
    options = [option for name in names for option in ("-f", f"infra/{name}")]
    command = ["docker", "compose", "--env-file", env_file, *options, "--profile", "*", "config", "--format", "json"]
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **environ}
    return subprocess.run(command, cwd=folder, env=environ, text=True, capture_output=True, check=False)


# only a file holds the docs service's password
@pytest.mark.parametrize("name", [*(set(SECRET_NAMES) - {"DOCS_PASSWORD"}), "HOST_UID", "PUBLIC_DOMAIN"])
def test_a_missing_variable_is_named_with_what_to_do(folder, name):
    lines = [line for line in (folder / ".env").read_text().splitlines() if not line.startswith(f"{name}=")]
    (folder / "less.env").write_text("\n".join(lines))
    done = config(folder, TLS, env_file="less.env")
    assert done.returncode != 0
    assert name in done.stderr
    assert "make init" in done.stderr or "such as pipeline.example.com" in done.stderr


@pytest.mark.parametrize("files", [[], [PROD], [PROD, TLS], [WORKERS, PROD, TLS]])
def test_every_service_is_pinned_watched_limited_and_private(folder, files):
    done = config(folder, *files, **SLOTS)
    assert done.returncode == 0, done.stderr
    for name, service in json.loads(done.stdout)["services"].items():
        assert re.search(r":v?\d+|:local$", service["image"]), name
        assert not service["image"].endswith(":latest"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["mem_limit"], name
        assert service["cpus"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == (
            "no" if name in ONE_SHOT else "always" if files and name != "sample-api" else "unless-stopped"
        ), name
        assert name in ONE_SHOT or service["healthcheck"]["test"], name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        for condition in service.get("depends_on", {}).values():
            assert condition["condition"] in {"service_healthy", "service_completed_successfully"}, name


def test_duckdb_fits_into_the_memory_of_the_container_that_it_runs_in(folder):
    services = json.loads(config(folder).stdout)["services"]
    limit = Settings.model_fields["duckdb_memory_limit"].default
    assert limit.endswith("GB")
    for name in RUNS_DUCKDB:
        # beside it the scheduler, and tasks of about 200 MB
        assert float(limit[:-2]) * 1e9 + 1.2e9 <= int(services[name]["mem_limit"]), name


@pytest.mark.parametrize("files", [[], [PROD]])
def test_workers_share_no_folder(folder, files):
    """A load has the source, the bucket, the API server and Redis: no folder, and no database."""
    services = json.loads(config(folder, WORKERS, *files, **SLOTS).stdout)["services"]
    for name in ("worker", "prefect-load-worker"):
        worker = services[name]
        assert worker.get("volumes", []) == [], name
        assert worker["deploy"]["replicas"] == 3, name
        assert worker["environment"]["DATA_DIR"].startswith("/tmp/"), name
    assert services["prefect-worker"]["environment"]["LOAD_RUNS"] == "3"
    assert {name for name, service in services.items() if "PGPASSWORD" in service.get("environment", {})} == (
        {"airflow-init", "api-server", "scheduler", "dag-processor", "triggerer", "prefect-server"}
    )
    assert services["warehouse-worker"].get("deploy", {}).get("replicas", 1) == 1


def test_workers_change_the_executor_of_every_part_of_airflow(folder):
    parts = {"airflow-init", "api-server", "scheduler", "dag-processor", "triggerer"}
    for files, executor in (([], "LocalExecutor"), ([WORKERS], "CeleryExecutor")):
        services = json.loads(config(folder, *files, **SLOTS).stdout)["services"]
        assert {services[name]["environment"]["AIRFLOW__CORE__EXECUTOR"] for name in parts} == {executor}
        on_workers = {
            services[name]["environment"]["AIRFLOW__CORE__EXECUTOR"] for name in ("worker", "warehouse-worker")
        }
        assert on_workers == {"CeleryExecutor"}
    assert services["scheduler"]["environment"]["AIRFLOW__CORE__PARALLELISM"] == "16"


def test_workers_need_make_which_counts_their_slots(folder):
    done = config(folder, WORKERS)
    assert done.returncode != 0
    assert "make up WORKERS=3" in done.stderr


@pytest.mark.parametrize(
    ("given", "in_file", "slots"), [("3", "", "16"), ("", "2", "12"), ("0", "2", ""), ("", "", "")]
)
def test_make_counts_the_slots_of_workers_and_zero_is_one_machine(tmp_path, given, in_file, slots):
    (tmp_path / ".env").write_text(f"WORKERS={in_file}\n" if in_file else "")
    show = "show: ; @echo '$(COMPOSE)' \"slots $${AIRFLOW_PARALLELISM:-}.\""
    command = ["make", "-f", str(PROJECT_DIR / "Makefile"), f"--eval={show}", "show"]
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [*command, *([f"WORKERS={given}"] if given else [])],
        cwd=tmp_path,
        env=environ,
        text=True,
        capture_output=True,
        check=True,
    )
    assert f"slots {slots}." in done.stdout
    assert (WORKERS in done.stdout) == bool(slots)
    assert "prefect-workers" not in done.stdout
    command += ["WORKERS=2", "PROFILES=prefect"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, text=True, capture_output=True, check=True)
    assert "--profile prefect-workers" in done.stdout


def test_production_shows_no_secret(folder):
    values = dict(
        line.split("=", 1) for line in (folder / ".env").read_text().splitlines() if line.split("=")[0] in SECRET_NAMES
    )
    document = json.loads(config(folder, PROD, TLS).stdout)
    shown = json.dumps(document["services"])
    assert len(values) == len(SECRET_NAMES)
    assert [name for name, value in values.items() if value in shown] == []


def test_every_secret_of_the_files_is_one_that_init_makes(folder):
    document = json.loads(config(folder, PROD, TLS).stdout)
    assert set(document["secrets"]) == {*SECRET_NAMES, "settings.env"}
    ignored = subprocess.run(
        ["git", "check-ignore", ".secrets/x", ".env", "data/x", "backups/x"],
        cwd=PROJECT_DIR,
        text=True,
        capture_output=True,
        check=True,
    )
    assert len(ignored.stdout.split()) == 4


def test_overwriting_what_users_changed_reaches_what_imports(folder):
    services = json.loads(config(folder, OVERWRITE="yes").stdout)["services"]
    told = {name for name, service in services.items() if service.get("environment", {}).get("OVERWRITE") == "yes"}
    assert told == {"n8n-init", "prefect-init"}


def test_links_of_prefect_open_in_the_browser_of_the_host(folder):
    services = json.loads(config(folder).stdout)["services"]
    port = dotenv_values(folder / ".env")["PREFECT_PORT"]
    assert services["prefect-worker"]["environment"]["PREFECT_UI_URL"] == f"http://localhost:{port}"


AIRFLOW = frozenset({"POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_API_SECRET", "AIRFLOW_JWT_SECRET"})
NEEDS = {
    "postgres": {"POSTGRES_PASSWORD"},
    "airflow-init": {name for name in SECRET_NAMES if name.startswith("AIRFLOW_")} | {"POSTGRES_PASSWORD"},
    **dict.fromkeys(("api-server", "dag-processor", "triggerer"), AIRFLOW),
    # builds run there
    "scheduler": AIRFLOW | {"PSEUDONYM_KEY"},
    "redis": {"BROKER_URL"},
    # it serves its logs to the API server, which signs its requests
    "worker": {"BROKER_URL", "AIRFLOW_API_SECRET"},
    "warehouse-worker": {"BROKER_URL", "AIRFLOW_API_SECRET", "PSEUDONYM_KEY"},
    "docs": {"ALERT_SERVICE_SECRET"},
    "n8n-init": {
        "N8N_ENCRYPTION_KEY",
        "BACKFILL_WEBHOOK_SECRET",
        "AIRFLOW_SERVICE_PASSWORD",
        "ALERT_SERVICE_SECRET",
    },
    "n8n": {"N8N_ENCRYPTION_KEY", "N8N_OWNER_PASSWORD"},
    "prefect-server": {"POSTGRES_PASSWORD", "PREFECT_API_AUTH_STRING"},
    "prefect-init": {"PREFECT_API_AUTH_STRING"},
    "prefect-worker": {"PREFECT_API_AUTH_STRING", "PSEUDONYM_KEY"},
    "prefect-load-worker": {"PREFECT_API_AUTH_STRING"},
    "grafana": {"GRAFANA_ADMIN_PASSWORD"},
}
"""The secrets that each service has to have; it gets no other."""
WRITES_DATA = {"api-server", "docs", "scheduler", "triggerer", "prefect-worker", "warehouse-worker"}


def test_each_service_gets_only_its_own_secrets(folder):
    values = {name: value for name, value in dotenv_values(folder / ".env").items() if name in SECRET_NAMES}
    development = json.loads(config(folder).stdout)["services"]
    production = json.loads(config(folder, PROD, TLS).stdout)["services"]
    for name, service in development.items():
        given = json.dumps(service)
        assert {secret for secret, value in values.items() if value in given} == NEEDS.get(name, set()), name
    for name, service in production.items():
        given = {secret["source"] for secret in service.get("secrets", [])} - {"settings.env"}
        assert given - {"DOCS_PASSWORD"} == NEEDS.get(name, set()), name
        assert ("DOCS_PASSWORD" in given) == (name == "docs"), name


@pytest.mark.parametrize("files", [[], [PROD], [PROD, TLS], [WORKERS, PROD, TLS]])
def test_services_write_and_reach_only_what_they_have_to(folder, files):
    document = json.loads(config(folder, *files, **SLOTS).stdout)
    services = document["services"]
    mounts = {
        name: mount
        for name, service in services.items()
        for mount in service.get("volumes", [])
        if mount["target"] == "/data" and mount["type"] == "bind"  # certificates and the broker's queue have volumes
    }
    assert {name for name, mount in mounts.items() if not mount.get("read_only")} == WRITES_DATA
    assert document["networks"]["database"]["internal"] is True
    for name, service in services.items():
        assert 0 < service["pids_limit"] <= 2048, name
        assert "default" not in service["networks"], name
    networks = {name: set(service["networks"]) for name, service in services.items()}
    # n8n starts backfills at the one, and tells the other of failures
    assert networks["n8n"] & networks["api-server"]
    assert networks["n8n"] & networks["docs"]
    assert networks["prometheus"] & networks["docs"]
    assert not networks["n8n"] & networks["postgres"]
    assert not networks["sample-api"] & networks["postgres"]
    assert not networks["docs"] & networks["postgres"]
    assert not networks["prefect-worker"] & networks["postgres"]
    assert not (networks["worker"] | networks["prefect-load-worker"]) & networks["postgres"]
    assert networks["redis"] == {"broker"}
    assert document["networks"]["broker"]["internal"] is True
    assert {name for name, found in networks.items() if "broker" in found} == (
        {"redis", "worker", "warehouse-worker"} | ({"scheduler"} if WORKERS in files else set())
    )


def test_only_builders_and_the_bucket_reach_spark(folder):
    """Its Thrift server asks for no password; the containers read Bronze under the path of the pipeline's own."""
    document = json.loads(config(folder).stdout)
    services = document["services"]
    parts = {name for name, service in services.items() if service.get("profiles") == ["spark"]}
    assert parts == {"spark-master", "spark-worker", "spark-thrift"}
    assert {name for name in parts if set(services[name]["networks"]) == {"spark"}} == parts
    reach = {name for name, service in services.items() if "spark" in service["networks"]}
    assert reach - parts == {"scheduler", "warehouse-worker", "prefect-worker", "bucket"}
    assert services["spark-worker"]["deploy"]["replicas"] == 2
    for name in ("spark-worker", "spark-thrift"):
        (data,) = [
            mount for mount in services[name]["volumes"] if mount["type"] == "bind" and mount["target"] == "/data"
        ]
        assert data["read_only"], name
    builder = services["scheduler"]["environment"]
    assert builder["SPARK_HOST"] == "spark-thrift"
    (port,) = services["spark-thrift"]["ports"]
    assert int(port["published"]) == port["target"] == int(services["spark-thrift"]["environment"]["SPARK_PORT"])


def test_one_version_of_spark_and_of_its_client_everywhere():
    cluster = tomllib.loads((PROJECT_DIR / "infra/spark/pyproject.toml").read_text())["project"]["dependencies"]
    image = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["dependency-groups"]["spark"]
    assert set(image) <= set(cluster)
    (spark,) = [line.partition("==")[2] for line in cluster if line.startswith("pyspark")]
    images = re.findall(r"image: apache/spark:(\S+)", (PROJECT_DIR / "infra/docker-compose.yml").read_text())
    assert images == [spark]


def test_prefect_asks_for_its_login_and_answers_its_own_page_only(folder):
    services = json.loads(config(folder).stdout)["services"]
    given, port = services["prefect-server"]["environment"], dotenv_values(folder / ".env")["PREFECT_PORT"]
    login = dotenv_values(folder / ".env")["PREFECT_API_AUTH_STRING"]
    assert given["PREFECT_SERVER_API_AUTH_STRING"] == login
    assert services["prefect-worker"]["environment"]["PREFECT_API_AUTH_STRING"] == login
    assert given["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"
    origins = given["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"].split(",")
    assert set(origins) == {f"http://localhost:{port}", f"http://127.0.0.1:{port}"}


def test_behind_the_proxy_every_address_and_cookie_is_of_https(folder):
    services = json.loads(config(folder, PROD, TLS).stdout)["services"]
    environment = {name: service.get("environment") or {} for name, service in services.items()}
    assert environment.pop("sample-api"), "it is for the demo, and gives no address to anybody"
    for name, given in environment.items():
        for variable, value in given.items():
            if re.search(r"DOCS_URL|BASE_URL|ROOT_URL|WEBHOOK_URL|UI_URL|UI_API_URL|ALLOWED_ORIGINS", variable):
                assert not value or re.match(r"https://\w+\.pipeline\.test(/|$)", value), (name, variable, value)
    assert services["api-server"]["command"][-1] == "--proxy-headers"
    assert environment["api-server"]["AIRFLOW__FAB__COOKIE_SECURE"] == "True"
    assert environment["n8n"]["N8N_SECURE_COOKIE"] == "true"
    assert environment["n8n"]["N8N_PROXY_HOPS"] == "1"
    assert environment["grafana"]["GF_SECURITY_COOKIE_SECURE"] == "true"


def test_only_the_proxy_may_say_who_the_client_is(folder):
    document = json.loads(config(folder, PROD, TLS).stdout)
    services = document["services"]
    shared = {name for name in document["networks"] if name in services["caddy"]["networks"]}
    behind = {
        name: (set(service["networks"]) & shared).pop()
        for name, service in services.items()
        if name != "caddy" and set(service["networks"]) & shared
    }
    assert set(behind) == {"api-server", "n8n", "docs", "prefect-server", "grafana"}
    assert set(behind.values()) == shared == set(services["caddy"]["networks"]), "each has one of its own"
    for name in ("api-server", "docs", "prefect-server"):
        (subnet,) = (each["subnet"] for each in document["networks"][behind[name]]["ipam"]["config"])
        assert services[name]["environment"]["FORWARDED_ALLOW_IPS"] == subnet, name
    assert services["caddy"]["profiles"] == ["tls"]
    assert services["caddy"]["cap_add"] == ["NET_BIND_SERVICE"]
    published = {port["published"] for port in services["caddy"]["ports"]}
    assert published == {"443", "80"}
