"""Where Bronze can be, and which variables connect to a bucket; nothing here sends a request."""

import subprocess
import sys

import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from scripts.bronze.bucket_store import BucketStore
from scripts.bronze.folder_store import FolderStore
from scripts.bronze.stores import open_store
from scripts.config import PROJECT_DIR, bronze_place, bucket_variables, settings
from scripts.errors import SettingsError, UsageError
from scripts.security.redaction import redact
from scripts.utils.buckets import VARIABLES, Bucket, connection
from scripts.warehouse.bucket_access import connection_for_dbt

STORES = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}


@pytest.mark.parametrize("scheme", STORES)
def test_bronze_can_be_in_a_bucket_of_each_provider(scheme, env):
    env("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
    env("BRONZE_DIR", f"{scheme}://a-bucket/some/prefix/")

    store = open_store()
    assert isinstance(store, BucketStore)
    assert store.location == f"{scheme}://a-bucket/some/prefix"
    assert isinstance(store.bucket._store, STORES[scheme])


def test_bronze_is_in_a_folder_by_default_and_with_a_path(env, tmp_path):
    assert open_store() == FolderStore(tmp_path / "data" / "bronze")
    env("BRONZE_DIR", "elsewhere")
    assert open_store() == FolderStore(PROJECT_DIR / "elsewhere")


@pytest.mark.parametrize(
    "text", ["ftp://bucket/x", "s3://", "s3:///x", "s3://bucket/a b", "s3://bucket/*", "s3://a:word@bucket", "s3://b?x"]
)
def test_what_is_no_bucket_is_refused_by_its_variable(text, env):
    env("BRONZE_DIR", text)
    with pytest.raises(SettingsError, match=r"BRONZE_DIR=.* is refused: .*bucket"):
        settings()
    with pytest.raises(UsageError, match="expected a folder, or s3://bucket/prefix"):
        bronze_place(text)


def test_the_warehouse_goes_to_a_bucket_and_not_to_a_folder(env):
    env("WAREHOUSE_URL", "data/elsewhere")
    with pytest.raises(SettingsError, match=r"WAREHOUSE_URL=.*must be a bucket"):
        settings()


@pytest.mark.parametrize(("scheme", "name"), [(scheme, name) for scheme, names in VARIABLES.items() for name in names])
def test_the_client_knows_each_variable(scheme, name):
    values = {"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false", "GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}
    needed = {"AZURE_STORAGE_ACCOUNT_NAME": "somebody"} if scheme == "az" else {}
    found = connection(f"{scheme}://bucket", needed | {name: values.get(name, "value"), "AWS_PAGER": "less"})
    assert found["config"] == {key.lower(): value for key, value in needed.items()} | {
        name.lower(): values.get(name, "value")
    }
    told = ""
    try:
        Bucket(f"{scheme}://bucket", needed | {name: values.get(name, "value")})
    except SettingsError as error:
        # it knows the variable, and reads the file or the key that it names
        told = str(error)
    assert "configuration key" not in told.lower()


def test_plain_http_is_used_only_where_the_address_says_so():
    assert not connection("s3://bucket", {})["client_options"]["allow_http"]
    assert not connection("s3://bucket", {"AWS_ENDPOINT_URL": "https://s3.example.com"})["client_options"]["allow_http"]
    assert connection("s3://bucket", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})["client_options"]["allow_http"]


def test_the_address_for_s3_alone_wins():
    both = {"AWS_ENDPOINT_URL": "https://all.example.com", "AWS_ENDPOINT_URL_S3": "https://s3.example.com"}
    assert connection("s3://bucket", both)["config"] == {"aws_endpoint_url": "https://s3.example.com"}


def test_a_profile_without_its_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SettingsError, match="AWS_PROFILE=work needs the package boto3"):
        Bucket("s3://bucket", {"AWS_PROFILE": "work"})


def test_credentials_come_from_the_environment_or_the_file_and_are_masked(env, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("AWS_SECRET_ACCESS_KEY=a-secret-of-the-file\nAWS_REGION=eu-central-1\n")
    monkeypatch.setattr("scripts.config.PROJECT_DIR", tmp_path)
    env("AWS_REGION", "us-east-1")

    found = bucket_variables()
    assert found["AWS_SECRET_ACCESS_KEY"] == "a-secret-of-the-file"
    assert found["AWS_REGION"] == "us-east-1", "the environment wins"
    assert "a-secret-of-the-file" not in redact("refused: a-secret-of-the-file")


def test_dbt_gets_them_in_one_variable_that_it_hides_and_only_for_a_bucket(env):
    env("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-test")
    assert connection_for_dbt("/data/bronze") == ""
    assert "a-secret-of-the-test" in connection_for_dbt("s3://bucket")


def test_a_folder_needs_no_client(tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import scripts.cli.main, scripts.ingest_api, scripts.validate_data, scripts.loading.replay\n"
        "import scripts.admin.doctor, scripts.admin.prune, scripts.explain.reader, scripts.monitoring.status\n"
        "import scripts.planning.reconcile, scripts.warehouse.build, scripts.warehouse.duckdb_plugin\n"
        "from scripts.bronze.stores import open_store\n"
        "open_store(Path(sys.argv[1]))\n"
        "print({'obstore', 'fsspec'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT_DIR, text=True, capture_output=True, check=True)

    assert done.stdout == "set()\n"
