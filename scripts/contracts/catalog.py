"""The source catalog: the contracts in `scripts/sources/`, loaded and looked up by name."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from pydantic import ValidationError

from scripts.contracts.resource_checks import lift_children
from scripts.contracts.source import Source
from scripts.errors import ContractError, UsageError
from scripts.security.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SOURCES_DIR = Path(__file__).resolve().parent.parent / "sources"
DEFAULT_SOURCE = "jsonplaceholder"


class Catalog(NamedTuple):
    """The sources of a folder, and the files that are not valid contracts."""

    sources: Mapping[str, Source]
    """By name, in alphabetical order."""
    broken: Mapping[str, ContractError]
    """By the file's name without its suffix, which is the source's name."""


def read_all() -> Catalog:
    """Return the catalog; an invalid file does not affect other sources."""
    return _read_folder(SOURCES_DIR)


@functools.lru_cache(maxsize=8)
def _read_folder(folder: Path) -> Catalog:
    sources, broken = {}, {}
    paths = sorted(folder.glob("*.y*ml"))
    for path in paths:
        try:
            sources[path.stem] = read(path)
        except ContractError as error:
            broken[path.stem] = error
    for path, before in zip(paths[1:], paths, strict=False):
        if path.stem == before.stem:
            sources.pop(path.stem, None)
            broken[path.stem] = ContractError(
                f"two files of source `{path.stem}`, the other is {before.name}", where=str(path), hint="remove one"
            )
    return Catalog(sources, broken)


def column_types() -> dict[str, dict[str, str]]:
    """Return the type of each column of each valid contract, by resource (`source/resource`)."""
    return {
        f"{source.source}/{name}": {column.name: column.type for column in resource.columns}
        for source in read_all().sources.values()
        for name, resource in source.resources.items()
    }


def load(folder: Path | None = None) -> Mapping[str, Source]:
    """Return every source of the catalog, or of another folder, by name, in alphabetical order.

    Raises:
        ContractError: A file is not valid; the message names each file, key, what was found and what is valid.
    """
    catalog = _read_folder(folder or SOURCES_DIR)
    if catalog.broken:
        raise ContractError(" | ".join(map(str, catalog.broken.values())))
    return catalog.sources


def forget() -> None:
    """Drop the cached contracts after one was written, so that the next call reads them again."""
    _read_folder.cache_clear()


def names() -> Sequence[str]:
    """Return the names of all sources, taken from the names of their files."""
    return sorted(path.stem for path in SOURCES_DIR.glob("*.y*ml"))


def resource_names() -> Mapping[str, Sequence[str]]:
    """Return the names of the resources of each source. The contracts are not checked, since that takes a second."""
    return {source: list(document.get("resources", ())) for source, document in documents().items()}


def documents() -> Mapping[str, Mapping[str, Any]]:
    """Return each file as plain data with all resources, by source; an empty mapping for one that cannot be read.

    The contracts are not checked, since that takes a second.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(SOURCES_DIR.glob("*.y*ml")):
        try:
            document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 — a SafeLoader
            document = lift_children(document)
            found[path.stem] = document if isinstance(document["resources"], dict) else {}
        except (yaml.YAMLError, ValueError, KeyError, TypeError, OSError, RecursionError):
            found[path.stem] = {}
    return found


def read(path: Path) -> Source:
    """Return the contract in one file.

    Raises:
        ContractError: The file is not valid YAML, or not a valid contract.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 — a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        # PyYAML raises other exceptions for a date that does not exist, a key that is a list, and very deep nesting
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ContractError(f"not valid YAML: {what}", where=str(path), hint="correct the file") from None
    except OSError as error:
        raise ContractError(
            f"cannot be read: {error.strerror}", where=str(path), hint="correct the file's mode, or remove it"
        ) from None
    if not isinstance(document, dict):
        raise ContractError(
            f"holds {type(document).__name__} at its top level",
            where=str(path),
            expected="a mapping with the keys source, description, owner, base_url, default_resource, resources",
        )
    try:
        source = Source.model_validate(document)
    except ValidationError as error:
        raise ContractError(
            "; ".join(_problem(document, problem) for problem in error.errors(include_url=False)),
            where=str(path),
            hint="correct the file, then `pipeline sources check`",
        ) from None
    if source.source != path.stem:
        raise ContractError(
            f"source: found `{source.source}`",
            where=str(path),
            expected=f"the file's name, `{path.stem}`",
            hint="rename the file or the source",
        )
    return source


def pick(name: str = DEFAULT_SOURCE) -> Source:
    """Return the source `name`.

    Raises:
        UsageError: There is no such source.
        ContractError: Its file is not valid.
    """
    sources, broken = read_all()
    if name in broken:
        error = broken[name]
        raise ContractError(error.what, where=error.where, expected=error.expected, hint=error.hint)
    if name not in sources:
        raise UsageError(f"source `{name}` is not in the catalog", expected=f"one of {', '.join(sources)}")
    return sources[name]


def daily_sources() -> Sequence[str]:
    """Return the names of the sources that are loaded every day; other sources are loaded on request."""
    return [name for name, source in read_all().sources.items() if source.daily]


def pick_resources(source: Source, names: Iterable[str] | None = None) -> Sequence[str]:
    """Return the names of the resources to work on; without `names`, all of them.

    Raises:
        UsageError: The source has no such resource.
    """
    wanted = list(dict.fromkeys(names or source.resources))
    for name in wanted:
        if name not in source.resources:
            raise UsageError(
                f"resource `{name}` is not part of source `{source.source}`",
                expected=f"one of {', '.join(source.resources)}",
            )
    return wanted


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that appears twice in one mapping; PyYAML silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 — PyYAML's signature
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                message = f"key `{key}` appears twice"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _problem(document: object, problem: Any) -> str:  # noqa: ANN401 — pydantic's ErrorDetails
    location = [part for part in problem["loc"] if part not in {"function-after", "constrained-str"}]
    key = ".".join(str(part) for part in location) or "file"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{key}: missing; this key is required"
    found = _found(document, location)
    return f"{key}: {message}" if isinstance(found, (dict, list)) else redact(f"{key}: found {found!r}; {message}")


def _found(document: object, location: Sequence[object]) -> object:
    value = document
    for part in location:
        # the location contains the tag of a union (array, page, bearer), which is not in the document
        if isinstance(value, dict):
            value = value.get(part, value)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    return value
