"""A bucket of an object store: reads, conditional writes and lists, with errors that tell a person what to do.

Credentials come from the usual chain of the provider: variables of the environment or `.env` (`AWS_…`, `GOOGLE_…`,
`AZURE_…`), a web identity, a container's role, an instance's role; and `AWS_PROFILE`, if `boto3` is installed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from scripts.errors import LockedError, SettingsError, StorageError, StorageUnavailableError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_PART_BYTES = 8 << 20
_LIST_PAGE = 1000
_COMMITS = 4
"""How often a commit is tried whose request does not reach the server."""
_CLOCK = "_clock"
"""An object that is written to learn the time of the server."""
_RETRIES: Any = {
    "max_retries": 8,
    "retry_timeout": dt.timedelta(minutes=3),
    "backoff": {"init_backoff": dt.timedelta(milliseconds=100), "max_backoff": dt.timedelta(seconds=15), "base": 2},
}
_LAPSED = frozenset({"ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException", "RequestExpired"})
_REFUSED = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "AllAccessDisabled",
        "AccountProblem",
    }
)
_SKEWED = "RequestTimeTooSkewed"
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
_NO_CREDENTIALS = re.compile(r"169\.254\.|metadata\.google|credential", re.IGNORECASE)


VARIABLES: Mapping[str, frozenset[str]] = {
    "s3": frozenset(
        {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_SERVER_SIDE_ENCRYPTION",
            "AWS_SSE_KMS_KEY_ID",
        }
    ),
    "gs": frozenset({"GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"}),
    "az": frozenset(
        {
            "AZURE_STORAGE_ACCOUNT_NAME",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_CLIENT_ID",
            "AZURE_CLIENT_SECRET",
            "AZURE_TENANT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
        }
    ),
}
"""The variables that connect to a bucket, by the scheme of its URL; without credentials among them, the client asks the
machine for its role."""
PROFILE = "AWS_PROFILE"
_OWN_ENDPOINT = "AWS_ENDPOINT_URL_S3"
"""It wins over the address for all services, as in other programs; the client has no such key."""


class Object(NamedTuple):
    """The content of an object, and the tag that changes with it."""

    content: bytes
    etag: str


class Listed(NamedTuple):
    """An object as a listing shows it."""

    name: str
    """Relative to the prefix of the bucket."""
    bytes: int
    etag: str
    modified: dt.datetime
    """By the clock of the server."""


def connection(url: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that connect to the store of a URL: `config`, `client_options` and others.

    Args:
        url: The URL, such as `s3://bucket/prefix`.
        variables: Variables of the environment, of which those in `VARIABLES` count.

    Raises:
        SettingsError: A profile is asked for, and `boto3` is not installed.
    """
    config = {name.lower(): value for name, value in variables.items() if name in VARIABLES[_scheme(url)]}
    if _scheme(url) == "s3" and variables.get(_OWN_ENDPOINT):
        config["aws_endpoint_url"] = variables[_OWN_ENDPOINT]
    endpoint = next((value for name, value in config.items() if "endpoint" in name), "")
    options = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": "10s",
        "timeout": "120s",
    }
    found: dict[str, Any] = {"config": config, "client_options": options, "retry_config": _RETRIES}
    if _scheme(url) == "s3" and variables.get(PROFILE) and "aws_access_key_id" not in config:
        found["credential_provider"] = _of_profile(variables[PROFILE])
    return found


def _scheme(url: str) -> str:
    return url.partition("://")[0]


def _of_profile(profile: str) -> Callable[[], object]:
    try:
        import boto3  # type: ignore[import-not-found]  # noqa: PLC0415 — only a profile needs it
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            f"AWS_PROFILE={profile} needs the package boto3, which reads profiles",
            hint="`uv pip install boto3`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead",
        ) from None
    return Boto3CredentialProvider(boto3.Session(profile_name=profile))


class Bucket:
    """The objects below the URL of a bucket and a prefix, by their names relative to it."""

    def __init__(self, url: str, variables: Mapping[str, str]) -> None:
        """Connect to a bucket; no request is sent yet.

        Raises:
            SettingsError: A variable has a value that the client refuses.
        """
        self.url = url
        try:
            self._store = from_url(url, **connection(url, variables))
        except (BaseError, ValueError, TypeError) as error:
            raise SettingsError(
                f"the settings of the bucket are refused: {_in_a_line(error)}",
                where=url,
                hint="correct the variables AWS_…, GOOGLE_… or AZURE_… in the environment or in .env",
            ) from None

    def place(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.url}/{name}"

    def get(self, name: str) -> Object | None:
        """Return an object; None if there is none."""
        with _errors(self.place(name)):
            try:
                found = obstore.get(self._store, name)
                return Object(bytes(found.bytes()), str(found.meta["e_tag"]))
            except FileNotFoundError as error:
                _raise_without_bucket(error)
                return None

    def download(self, name: str, path: Path) -> bool:
        """Write an object to a file in parts, and return whether there is one."""
        with _errors(self.place(name)):
            try:
                found = obstore.get(self._store, name)
            except FileNotFoundError as error:
                _raise_without_bucket(error)
                return False
            with path.open("wb") as file:
                for part in found.stream(min_chunk_size=_PART_BYTES):
                    file.write(part)
        return True

    def size(self, name: str) -> int | None:
        """Return the size of an object; None if there is none."""
        with _errors(self.place(name)):
            try:
                return int(obstore.head(self._store, name)["size"])
            except FileNotFoundError as error:
                _raise_without_bucket(error)
                return None

    def put(self, name: str, content: bytes | Path) -> None:
        """Create or replace an object as a whole; a large one is sent in parts, and is there after the last."""
        with _errors(self.place(name)):
            obstore.put(self._store, name, content, chunk_size=_PART_BYTES)

    def commit(self, name: str, content: bytes, etag: str | None) -> None:
        """Create an object, or replace the one with the tag.

        If the answer gets lost, the object tells whether it was written: so `content` must not occur twice.

        Args:
            name: The object.
            content: Its new content.
            etag: The tag of the content that is replaced; None creates the object.

        Raises:
            LockedError: Another process has written the object in the meantime.
        """
        for left in reversed(range(_COMMITS)):
            try:
                return self._put_if(name, content, etag)
            except (AlreadyExistsError, PreconditionError, StorageUnavailableError) as error:
                found = self.get(name)
                if found is not None and found.content == content:
                    return None
                # the client does not repeat such a request after a broken connection
                is_unchanged = (found.etag if found else None) == etag
                if isinstance(error, StorageUnavailableError) and (left == 0 or not is_unchanged):
                    raise
                if not isinstance(error, StorageUnavailableError):
                    raise LockedError(
                        "another process has written it in the meantime, and its content stays",
                        where=self.place(name),
                        hint="run the same command again; nothing was lost",
                    ) from None
        return None

    def _put_if(self, name: str, content: bytes, etag: str | None) -> None:
        mode: Any = "create" if etag is None else {"e_tag": etag}
        with _errors(self.place(name)):
            try:
                obstore.put(self._store, name, content, mode=mode)
            except FileNotFoundError as error:
                # there is nothing to replace: somebody removed it
                _raise_without_bucket(error)
                raise PreconditionError(str(error)) from None

    def now(self) -> dt.datetime:
        """Return the time by the clock of the server, in seconds."""
        with _errors(self.url):
            obstore.put(self._store, _CLOCK, b"")
            modified: dt.datetime = obstore.head(self._store, _CLOCK)["last_modified"]
        return modified

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects that are there."""
        with _errors(self.url), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, list(names))

    def list(self, folder: str = "") -> Iterator[Listed]:
        """Yield the objects below a folder; one request for each thousand."""
        with _errors(self.place(folder)):
            try:
                for page in obstore.list(self._store, folder or None, chunk_size=_LIST_PAGE):
                    for found in page:
                        yield Listed(
                            str(found["path"]), int(found["size"]), str(found["e_tag"]), found["last_modified"]
                        )
            except FileNotFoundError as error:
                _raise_without_bucket(error)


def _raise_without_bucket(error: FileNotFoundError) -> None:
    if _code(error) in _NO_BUCKET:
        raise StorageError("there is no such bucket", hint="create it, or correct BRONZE_DIR") from None


@contextlib.contextmanager
def _errors(where: str) -> Iterator[None]:
    """Turn errors of the client into errors for a person; conflicts and missing objects stay as they are."""
    try:
        yield
    except (AlreadyExistsError, PreconditionError, FileNotFoundError):
        raise
    except StorageError as error:
        error.where = error.where or where
        raise
    except BaseError as error:
        raise _explained(error, where) from None
    except OSError as error:
        raise from_os_error(error, where=where) from error


def _explained(error: BaseError, where: str) -> StorageError | StorageUnavailableError:
    code, text = _code(error), _in_a_line(error)
    if code == _SKEWED:
        return StorageError(
            "the clock of this machine differs too much from the clock of the bucket",
            where=where,
            hint="set the clock right (NTP), then run the same command again",
        )
    if code in _LAPSED:
        return StorageError(
            f"the credentials of the bucket have expired ({code})",
            where=where,
            hint="get new ones (AWS_SESSION_TOKEN and its keys), then run the same command again; nothing was lost",
        )
    if code in _REFUSED or isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return StorageError(
            f"the bucket refuses access ({code or text})",
            where=where,
            expected="credentials that may list, read, write and delete below the prefix",
            hint="correct the credentials or the policy of the bucket; `pipeline doctor` checks them",
        )
    if not code and _NO_CREDENTIALS.search(text):
        return StorageError(
            "no credentials of the bucket were found",
            where=where,
            expected="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role of this machine",
            hint="set them in the environment or in .env",
        )
    return StorageUnavailableError(
        f"the bucket gives no usable answer: {text}",
        where=where,
        hint="run the same command again when the bucket answers; nothing was lost",
    )


def _code(error: BaseException) -> str:
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else ""


def _in_a_line(error: BaseException) -> str:
    """Return what a message of the client says, without its nested debug output."""
    first = " ".join(str(error).split("Debug source:", maxsplit=1)[0].split())
    return first[:300]
