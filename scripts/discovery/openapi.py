"""List endpoints of an OpenAPI description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from scripts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def list_endpoints(text: str) -> list[str]:
    """Return the paths whose GET answers with a list, or with an object that contains one.

    Raises:
        UsageError: The text is not an OpenAPI description, or has no such path.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML or JSON: {error}", where="--openapi") from None
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise UsageError("it has no `paths`", where="--openapi", expected="an OpenAPI description")
    found = [
        path
        for path, methods in document["paths"].items()
        if "{" not in path and isinstance(methods, dict) and _answers_with_list(methods.get("get") or {}, document)
    ]
    if not found:
        raise UsageError("no GET without parameters in its path answers with a list", where="--openapi")
    return found


def _answers_with_list(operation: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    responses = operation.get("responses") or {}
    answer = _resolve(responses.get("200") or responses.get(200) or responses.get("default") or {}, document)
    content = answer.get("content") or {}
    schemas = [media.get("schema") or {} for media in content.values()] or [answer.get("schema") or {}]
    return any(_holds_list(schema, document) for schema in schemas)


def _holds_list(schema: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    whole = _resolve(schema, document)
    if whole.get("type") == "array":
        return True
    return any(_resolve(part, document).get("type") == "array" for part in (whole.get("properties") or {}).values())


def _resolve(part: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return part
    found: Any = document
    for key in reference[2:].split("/"):
        found = found.get(key.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
