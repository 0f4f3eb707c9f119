"""Settings: everything that differs between two installations, read from the environment and `.env`."""

from __future__ import annotations

import functools
import io
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AnyHttpUrl, EmailStr, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scripts.errors import SettingsError, UsageError
from scripts.security.addresses import is_loopback, keeps_secrets
from scripts.security.redaction import register_secret

PROJECT_DIR = Path(os.environ.get("PIPELINE_HOME") or Path(__file__).resolve().parent.parent)
"""The folder that holds `dbt/` and `.env`; relative paths in the settings start here."""

_ODD_IN_PATHS = frozenset("?*[]{}$'\"\\\n\r\t")
"""Characters that DuckDB does not read literally in a file name."""
_CONNECTION_PREFIX = "duckdb:///"
_HIDDEN = frozenset({"SLACK_WEBHOOK", "SMTP_PASSWORD", "PSEUDONYM_KEY", "OPENLINEAGE_API_KEY", "OPENLINEAGE_URL"})
"""Variables whose values an error does not show."""
_PROVIDERS = ("AWS_", "GOOGLE_", "AZURE_")
"""Beginnings of the names of variables that connect to a bucket."""
_BUCKET = re.compile(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._=-]+)*/?")
"""The URL of a bucket with an optional prefix, of characters that no glob, URL or SQL text reads in another way."""


class Settings(BaseSettings):
    """The pipeline's settings; the variable's name is the field's name in capitals."""

    model_config = SettingsConfigDict(
        env_file=PROJECT_DIR / ".env",
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    api_base_url: AnyHttpUrl | None = None
    """Base URL of the default source; by default, the URL in its contract."""
    api_timeout: float = Field(default=30.0, gt=0, le=600)
    """Seconds that a source may take to connect, and to send the next bytes."""
    api_retries: int = Field(default=4, ge=0, le=20)
    """Retries after the first try of a request, for transient errors only."""
    api_retry_wait: float = Field(default=0.5, ge=0, le=60)
    """Seconds before the first retry. The wait doubles with each retry, with jitter."""
    api_max_retry_after: float = Field(default=120.0, ge=0, le=3600)
    """Longest `Retry-After` in seconds that a run waits for. A longer one fails the run with a transient error."""
    api_concurrency: int = Field(default=8, ge=1, le=64)
    """Pages that are fetched at the same time."""
    source_secrets: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated names of variables with secrets that any contract may name. Each contract may also name variables
    that start with its source's name in capitals and `_`."""
    api_request_deadline: float = Field(default=600.0, gt=0, le=86400)
    """Seconds that one request may take, including its whole body, even if the source sends it slowly."""
    api_partition_deadline: float = Field(default=43200.0, gt=0, le=604800)
    """Seconds that all requests of one partition may take."""
    api_max_body_mb: int = Field(default=100, ge=1, le=10000)
    """Largest response body in megabytes, both as sent and unpacked."""
    api_max_inflation: int = Field(default=200, ge=2, le=100000)
    """Highest ratio of unpacked size to sent size of a response body; bodies of up to 16 MB unpacked are exempt."""
    api_max_pages: int = Field(default=100_000, ge=1)
    """Most pages that one partition may have."""
    api_max_rows: int = Field(default=100_000_000, ge=1)
    """Most rows that one partition may have."""
    api_ca_bundle: Path | None = None
    """File with the CA certificates that are trusted for sources, instead of the default ones."""
    api_proxy: SecretStr | None = None
    """URL of the proxy for requests to sources. It may contain a password, so it is a secret."""
    parallel_partitions: int = Field(default=4, ge=1, le=64)
    """Partitions that one process loads at the same time."""
    memory_limit_mb: int = Field(default=512, ge=256, le=1048576)
    """Memory in MB that a loading or validating process may use. One large page of a source may need more."""
    data_dir: Path = Path("data")
    """Root of everything that the pipeline writes."""
    bronze_dir: str | None = None
    """Bronze, ledger and quarantine: a folder, or a bucket such as `s3://bucket/prefix` (also `gs://`, `az://`); by
    default, `bronze` in `DATA_DIR`."""
    bronze_keep_days: int = Field(default=7, ge=1, le=3650)
    """Days for which a bucket keeps the rows of a partition that were replaced."""
    db_connection_string: str | None = None
    """The published warehouse, as `duckdb:///path`; by default `warehouse.duckdb` in `DATA_DIR`."""
    warehouse_url: str | None = None
    """A bucket such as `s3://bucket/warehouse`: each version is published there too, for readers elsewhere."""
    warehouse_keep_versions: int = Field(default=3, ge=2, le=100)
    """Published versions that are kept for `pipeline rollback`."""
    gold_parquet_max_rows: int = Field(default=1_000_000, ge=0)
    """Most rows of a table of Gold that is also published as Parquet, at about half a second per million; 0: none."""
    duckdb_memory_limit: str = Field(default="2GB", pattern=r"^\d+(\.\d+)?\s*(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")
    """Memory that DuckDB may use in a build."""
    duckdb_threads: int = Field(default=2, ge=1, le=256)
    """Threads that DuckDB may use in a build."""
    duckdb_allowed_dirs: Annotated[tuple[Path, ...], NoDecode] = ()
    """Comma-separated folders whose files models may read and write, besides Bronze, the warehouse and `dbt/`."""
    pseudonym_key: Annotated[SecretStr, Field(min_length=32)] | None = None
    """Key of the hashes in Silver that replace columns with `sensitive: hash`; a secret that `pipeline init` makes."""
    dbt_target: Literal["dev", "ci", "prod", "spark", "spark_session"] = "dev"
    """Target of `dbt/profiles.yml`. `spark`: a Spark cluster builds Silver and Gold; `spark_session`: Spark in dbt's
    own process does."""
    spark_host: str = "127.0.0.1"
    """Machine of Spark's Thrift server."""
    spark_port: int = Field(default=10000, ge=1, le=65535)
    """Port of Spark's Thrift server."""
    spark_python: Path = Path("infra/spark/.venv/bin/python")
    """Python of the environment with dbt-spark, which `make setup-spark` creates."""
    spark_bronze_url: str | None = None
    """URL by which the Spark cluster reads Bronze, such as `file:///bronze`; by default, the folder's path here, or the
    URL of the bucket."""
    backfill_max_days: int = Field(default=366, ge=1, le=36600)
    """Longest range of days that one request may ask for."""
    backfill_callback_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated hosts that a backfill's `callback_url` may name; without any, callbacks are refused."""
    lock_timeout: float = Field(default=3600.0, ge=0)
    """Seconds to wait for another process that loads the same partition or builds the warehouse."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Lowest level that is logged."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`json`, `text`, or `auto`: text on a terminal, JSON lines otherwise."""
    alert_email: Annotated[tuple[EmailStr, ...], NoDecode] = ()
    """Comma-separated addresses that alerts are mailed to."""
    slack_webhook: SecretStr | None = None
    """Slack incoming webhook that alerts are posted to; a secret."""
    smtp_host: str | None = None
    """Mail server that delivers the alerts for `ALERT_EMAIL`."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    """Port of the mail server."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection to the mail server is encrypted. The server's certificate must be valid for `SMTP_HOST`."""
    smtp_ca_file: Path | None = None
    """PEM file with the certificates of the mail server's CA; by default, the CAs that the machine trusts."""
    smtp_user: str | None = None
    """Account at the mail server; without it, there is no login. A login needs encryption, except on the loopback."""
    smtp_password: SecretStr | None = None
    """Password of the account; a secret."""
    smtp_from: EmailStr = "data-pipeline@example.com"
    """Sender of the alerts."""
    openlineage_url: AnyHttpUrl | None = None
    """URL of a receiver of OpenLineage events, such as Marquez; without it, no events are sent."""
    openlineage_api_key: SecretStr | None = None
    """Key for the receiver, which is sent as a bearer token; a secret."""
    openlineage_namespace: Annotated[str, Field(min_length=1)] = "data-pipeline"
    """Namespace of the jobs in OpenLineage events."""
    docs_url: str = "docs"
    """URL of the documentation, for links in alerts and logs; `docs` is the folder in the repository."""
    reconcile_minutes: int = Field(default=5, ge=1, le=30)
    """Minutes between two runs that look for what is due, in Airflow and Prefect."""
    run_deadline_hours: float = Field(default=2.0, gt=0)
    """A run of an orchestrator that takes longer raises an alert."""
    task_retries: int = Field(default=3, ge=0, le=20)
    """Retries of an orchestrator's task after its first try, for transient errors only."""
    load_runs: int = Field(default=0, ge=0, le=64)
    """Prefect: the runs on other workers among which a run divides its loads; 0: it loads itself."""
    task_retry_wait: float = Field(default=30.0, ge=0, le=3600)
    """Seconds before an orchestrator's first retry. The wait doubles with each one, with jitter, up to ten minutes."""

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _fold_case(cls, value: object, info: object) -> object:
        name = getattr(info, "field_name", "")
        if not isinstance(value, str):
            return value
        return value.upper() if name == "log_level" else value.lower()

    @field_validator("alert_email", "source_secrets", "backfill_callback_hosts", "duckdb_allowed_dirs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("slack_webhook", "api_proxy")
    @classmethod
    def _check_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not keeps_secrets(value.get_secret_value()):
            message = "must be a URL that starts with https:// (http:// only on the loopback)"
            raise ValueError(message)
        return value

    @field_validator("openlineage_url")
    @classmethod
    def _no_credentials(cls, value: AnyHttpUrl | None) -> AnyHttpUrl | None:
        if value is not None and (value.username or value.password):
            message = "holds credentials: set OPENLINEAGE_API_KEY instead"
            raise ValueError(message)
        return value

    @field_validator("openlineage_api_key")
    @classmethod
    def _check_receiver(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        url = info.data.get("openlineage_url")
        if value is not None and url is not None and not keeps_secrets(str(url)):
            message = "needs an OPENLINEAGE_URL that starts with https:// (http:// only on the loopback)"
            raise ValueError(message)
        return value

    @field_validator("smtp_user")
    @classmethod
    def _check_login(cls, value: str | None, info: ValidationInfo) -> str | None:
        host = str(info.data.get("smtp_host") or "")
        if value is not None and info.data.get("smtp_security") == "none" and not is_loopback(host):
            message = "a login is not sent in plain text: set SMTP_SECURITY to starttls or tls"
            raise ValueError(message)
        return value

    @field_validator("db_connection_string")
    @classmethod
    def _check_connection(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith(_CONNECTION_PREFIX) or not value.endswith(".duckdb")):
            message = "must have the form duckdb:///path/to/warehouse.duckdb"
            raise ValueError(message)
        return value

    @field_validator("bronze_dir", "warehouse_url")
    @classmethod
    def _place(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.field_name == "warehouse_url" and "://" not in value:
            message = "must be a bucket such as s3://bucket/warehouse"
            raise ValueError(message)
        return None if value is None else _place(value)

    @field_validator("data_dir", "smtp_ca_file", "api_ca_bundle", "spark_python")
    @classmethod
    def _absolute(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return None
        return _folder(value, literal=info.field_name == "data_dir")

    @field_validator("duckdb_allowed_dirs")
    @classmethod
    def _all_absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(PROJECT_DIR / path.expanduser() for path in value)

    @field_validator("api_ca_bundle")
    @classmethod
    def _is_there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            message = "there is no such file"
            raise ValueError(message)
        return value

    @property
    def bronze_location(self) -> str:
        """The Bronze folder, absolute, or the URL of a bucket."""
        return self.bronze_dir or str(self.data_dir / "bronze")

    @property
    def is_in_bucket(self) -> bool:
        """Whether Bronze is in a bucket, which other machines reach too."""
        return "://" in self.bronze_location

    @property
    def on_spark(self) -> bool:
        """Whether Silver and Gold are on Spark."""
        return self.dbt_target.startswith("spark")

    @property
    def warehouse_path(self) -> Path:
        """The published warehouse file, absolute."""
        if self.db_connection_string is None:
            return self.data_dir / "warehouse.duckdb"
        return PROJECT_DIR / self.db_connection_string.removeprefix(_CONNECTION_PREFIX)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret values, which must not appear in a log."""
        found = (
            *(self.slack_webhook, self.smtp_password, self.api_proxy, self.pseudonym_key),
            self.openlineage_api_key,
        )
        return tuple(value.get_secret_value() for value in found if value)

    @property
    def dbt_dir(self) -> Path:
        """The dbt project."""
        return PROJECT_DIR / "dbt"


@functools.lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        SettingsError: A variable has an invalid value; the message names each such variable.
    """
    path = Settings.model_config.get("env_file")
    if isinstance(path, Path):
        _check_env_file(path)
    try:
        found = Settings()
    except ValidationError as error:
        raise SettingsError(_describe(error), hint="correct it in the environment or in .env") from None
    for secret in found.secrets:
        register_secret(secret)
    return found


def variable(name: str) -> str:
    """Return the value of a variable that a contract names, from the environment or `.env`; empty if it is not set."""
    return os.environ.get(name) or dotenv_values(PROJECT_DIR / ".env", encoding="utf-8-sig").get(name) or ""


def bucket_variables() -> dict[str, str]:
    """Return the variables of the providers of buckets, from `.env` and the environment, which wins.

    Secrets among them do not appear in a log.
    """
    found = {**dotenv_values(PROJECT_DIR / ".env", encoding="utf-8-sig"), **os.environ}
    chosen = {name: value for name, value in found.items() if name.startswith(_PROVIDERS) and value}
    for name, value in chosen.items():
        if any(word in name for word in ("SECRET", "TOKEN", "KEY", "PASSWORD", "SIGNATURE")):
            register_secret(value)
    return chosen


def bronze_place(text: str) -> str:
    """Return a folder as an absolute path, or the URL of a bucket, as `BRONZE_DIR` takes them.

    Raises:
        UsageError: It is neither.
    """
    try:
        return _place(text)
    except ValueError as error:
        raise UsageError(f"{text} is refused: {error}", expected="a folder, or s3://bucket/prefix") from None


def _place(text: str) -> str:
    if "://" not in text:
        return str(_folder(Path(text), literal=True))
    if not _BUCKET.fullmatch(text):
        message = "must be a folder, or a bucket such as s3://bucket/prefix (also gs:// and az://)"
        raise ValueError(message)
    return text.rstrip("/")


def _folder(value: Path, *, literal: bool) -> Path:
    try:
        path = PROJECT_DIR / value.expanduser()
    except RuntimeError:
        message = f"there is no user `{value.parts[0].removeprefix('~')}` with a home folder"
        raise ValueError(message) from None
    odd = sorted(set(str(path)) & _ODD_IN_PATHS)
    if odd and literal:
        message = f"the path {str(path)!r} has {' '.join(map(repr, odd))}, which DuckDB does not read literally"
        raise ValueError(message)
    return path


def _check_env_file(path: Path) -> None:
    """Raise a `SettingsError` if a file is not UTF-8 text, or a line does not have the form `NAME=value`."""
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}",
            where=str(path),
            hint="save the file as UTF-8; in PowerShell: `Out-File -Encoding utf8`",
        ) from None
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", where=str(path), hint="correct its mode") from None
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise SettingsError(
                "cannot be parsed",
                where=f"{path}, line {binding.original.line}",
                expected="NAME=value; a value that contains quotation marks is quoted: NAME='a \"b\"'",
                hint="correct the line",
            )


def _describe(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        name = str(problem["loc"][0]).upper()
        shown = "" if name in _HIDDEN else f"={problem['input']!s}"
        problems.append(f"{name}{shown} is refused: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)
