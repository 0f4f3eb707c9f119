"""Functions of the repository that a contract names by file, such as `scripts/sources/shop.py:orders`."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

from scripts.config import PROJECT_DIR
from scripts.contracts.connection import HookAuth
from scripts.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scripts.contracts.source import Resource, Source


def load_function(reference: str) -> Callable[..., Any]:
    """Return the function that a reference names.

    Raises:
        ContractError: There is no such file or function.
    """
    name, _, function = reference.rpartition(":")
    return _load(PROJECT_DIR / name, function, reference)


def functions_of(source: Source, resource: Resource) -> Iterator[str]:
    """Yield the references of the functions that a load of a resource calls."""
    yield from (name for name in (resource.python, resource.dlt) if name is not None)
    auth = resource.auth or source.auth
    if isinstance(auth, HookAuth):
        yield auth.function


@functools.lru_cache(maxsize=64)
def _load(path: Path, function: str, reference: str) -> Callable[..., Any]:
    if not path.is_file():
        raise ContractError(f"there is no file {path}", where=reference, expected="a file of the repository")
    spec = importlib.util.spec_from_file_location(f"contract_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ContractError(f"{path} is not a Python module", where=reference)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ContractError(f"{path} cannot be imported: {type(error).__name__}: {error}", where=reference) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise ContractError(f"{path} has no function `{function}`", where=reference)
    return found  # type: ignore[no-any-return]
