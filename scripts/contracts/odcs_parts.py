"""Columns and rules of a contract in the Open Data Contract Standard (ODCS), in both directions.

What the standard cannot say stands in a custom property of the same part. So a contract that is exported and imported
is the same, and a change of the standard's own keys is taken over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from scripts.contracts.column import ColumnName, ColumnType
from scripts.contracts.contract_model import Name

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN = "dataPipeline"
"""The custom property with the keys of the contract that the standard does not have; a null stands for no such key."""
_LOGICAL = {"json": "object", "decimal": "number"}
_TYPES = {"object": "json", "array": "json", "time": "string"}
_SENSITIVE = {"confidential", "restricted", "sensitive", "pii", "personal"}
_COLUMN_TYPE: TypeAdapter[str] = TypeAdapter(ColumnType)
_COLUMN_NAME: TypeAdapter[str] = TypeAdapter(ColumnName)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_LONGEST_NAME = 60


def column_item(column: Mapping[str, Any], primary_key: tuple[str, ...]) -> dict[str, Any]:
    """Return a column of a contract as a property of the standard, without its rules."""
    kind = column["type"]
    item: dict[str, Any] = {
        "name": column["name"],
        **({"physicalName": column["field"]} if "field" in column else {}),
        "logicalType": _LOGICAL.get(kind.partition("(")[0], kind),
        "physicalType": kind,
        "description": column["description"],
        "required": not column.get("nullable", True),
    }
    if column["name"] in primary_key:
        item |= {"primaryKey": True, "primaryKeyPosition": primary_key.index(column["name"]) + 1}
    if column.get("sensitive"):
        item["classification"] = "confidential"
    return with_own(item, column, column_of(item))


def column_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the column of a contract that a property of the standard describes."""
    written = str(item["name"])
    name = written if _fits(_COLUMN_NAME, written) else re.sub(r"\W", "_", written, flags=re.ASCII)
    name = name if _fits(_COLUMN_NAME, name) else f"c_{name}"
    place = item.get("physicalName") or (written if written != name else None)
    physical, logical = str(item.get("physicalType", "")), str(item.get("logicalType", "string"))
    kind = physical if _fits(_COLUMN_TYPE, physical) else _TYPES.get(logical, logical)
    column = {
        "name": name,
        "type": kind if _fits(_COLUMN_TYPE, kind) else "string",
        "description": item.get("description") or item.get("businessName") or f"{written}.",
        **({} if place in {None, name} else {"field": place}),
        **({"nullable": False} if item.get("required") else {}),
        **({"sensitive": True} if str(item.get("classification", "")).lower() in _SENSITIVE else {}),
    }
    return merged(column, item)


def rule_item(rule: Mapping[str, Any], expectation: str) -> dict[str, Any]:
    """Return a rule of a contract as a quality check of the standard; `expectation` describes it."""
    measure = _measure(rule)
    # the standard has no metric for ranges and lengths: a text says what is expected
    description = rule.get("description") or (expectation if measure["type"] == "text" else "")
    item: dict[str, Any] = {
        "name": rule["name"],
        **({"description": description} if description else {}),
        "severity": "warning" if rule["severity"] == "warn" else "error",
        **measure,
    }
    return with_own(item, rule, _rule(item, rule.get("column"), _check(item, rule.get("column")) or {}))


def rule_of(item: Mapping[str, Any], column: str | None) -> dict[str, Any] | None:
    """Return the rule of a contract that a quality check describes; None if a contract has no such rule."""
    check = _check(item, column)
    if check is None and OWN not in own_names(item):
        return None
    return merged(_rule(item, column, check or {}), item)


def _rule(item: Mapping[str, Any], column: str | None, check: Mapping[str, Any]) -> dict[str, Any]:
    severe = "fail" if "row_count" in check else "quarantine"
    metric = str(item.get("metric") or item.get("rule") or "check")
    return {
        "name": name_of(item.get("name") or f"{column or 'rows'}_{metric}"),
        "severity": "warn" if str(item.get("severity", "")).lower() in {"warning", "info"} else severe,
        **({"description": item["description"]} if item.get("description") else {}),
        **({"column": column} if column and not {"unique", "row_count"} & set(check) else {}),
        **check,
    }


def rules_of_options(item: Mapping[str, Any], column: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rules for the `logicalTypeOptions` of a property: bounds, lengths and a pattern."""
    options, found = item.get("logicalTypeOptions") or {}, []
    name, kind = column["name"], column["type"]
    bounds = {key: options[option] for key, option in (("min", "minimum"), ("max", "maximum")) if option in options}
    lengths = {key: options[f"{key}Length"] for key in ("min", "max") if f"{key}Length" in options}
    if bounds and (kind in {"integer", "number"} or kind.startswith("decimal")):
        found.append({"name": name_of(f"{name}_range"), "severity": "quarantine", "column": name, "range": bounds})
    if lengths and kind in {"string", "json"}:
        found.append({"name": name_of(f"{name}_length"), "severity": "quarantine", "column": name, "length": lengths})
    if "pattern" in options and kind in {"string", "json"}:
        pattern = options["pattern"]
        found.append({"name": name_of(f"{name}_form"), "severity": "quarantine", "column": name, "pattern": pattern})
    return found


def with_own(item: dict[str, Any], document: Mapping[str, Any], parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item with the custom property that makes it mean exactly `document`."""
    own = {key: value for key, value in document.items() if key not in parsed or parsed[key] != value}
    own |= {key: None for key in parsed if key not in document}
    if not own:
        return item
    return {**item, "customProperties": [*item.get("customProperties", ()), {"property": OWN, "value": own}]}


def merged(document: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the keys of the item's custom property."""
    found = {**document, **own_names(item).get(OWN, {})}
    return {key: value for key, value in found.items() if value is not None}


def own_names(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the custom properties of an item by name."""
    return {found["property"]: found["value"] for found in item.get("customProperties") or ()}


def name_of(text: object) -> str:
    """Return a text as a name in a contract: lower case, digits and underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(text)).lower()).strip("_")
    name = name[:_LONGEST_NAME].rstrip("_")
    return name if _fits(_NAME, name) else f"n_{name}"[:_LONGEST_NAME].rstrip("_")


def _measure(rule: Mapping[str, Any]) -> dict[str, Any]:
    if "not_null" in rule:
        return {"type": "library", "metric": "nullValues", "mustBe": 0, "unit": "rows"}
    if "unique" in rule:
        arguments = {"properties": list(rule["unique"])}
        return {"type": "library", "metric": "duplicateValues", "mustBe": 0, "unit": "rows", "arguments": arguments}
    if "accepted_values" in rule:
        arguments = {"validValues": list(rule["accepted_values"])}
        return {"type": "library", "metric": "invalidValues", "mustBe": 0, "unit": "rows", "arguments": arguments}
    if "pattern" in rule:
        arguments = {"pattern": rule["pattern"]}
        return {"type": "library", "metric": "invalidValues", "mustBe": 0, "unit": "rows", "arguments": arguments}
    if "row_count" in rule:
        low, high = rule["row_count"].get("min"), rule["row_count"].get("max")
        operator: dict[str, Any] = {"mustBeBetween": [low, high]}
        if high is None:
            operator = {"mustBeGreaterOrEqualTo": low}
        elif low is None:
            operator = {"mustBeLessOrEqualTo": high}
        elif low == high:
            operator = {"mustBe": low}
        return {"type": "library", "metric": "rowCount", "unit": "rows", **operator}
    return {"type": "text"}


def _check(item: Mapping[str, Any], column: str | None) -> dict[str, Any] | None:
    """Return the check of a rule that a quality check of the standard means; None if there is none."""
    metric, arguments = item.get("metric") or item.get("rule"), item.get("arguments") or {}
    if metric == "rowCount":
        return _row_count(item)
    columns = [column] if column else []
    found: dict[str, Any] = {}
    if item.get("mustBe") != 0 or item.get("unit") == "percent":
        pass
    elif metric in {"nullValues", "missingValues"} and column:
        found = {"not_null": True}
    elif metric == "duplicateValues":
        found = {"unique": list(arguments.get("properties") or columns)}
    elif metric == "invalidValues" and column:
        names = {"validValues": "accepted_values", "pattern": "pattern"}
        found = {rule: arguments[name] for name, rule in names.items() if name in arguments}
    return found if len(found) == 1 and all(found.values()) else None


def _row_count(item: Mapping[str, Any]) -> dict[str, Any] | None:
    low, high = item.get("mustBeBetween") or (None, None)
    if "mustBe" in item:
        low = high = item["mustBe"]
    elif "mustBeGreaterThan" in item:
        low = item["mustBeGreaterThan"] + 1
    elif "mustBeLessThan" in item:
        high = item["mustBeLessThan"] - 1
    low, high = item.get("mustBeGreaterOrEqualTo", low), item.get("mustBeLessOrEqualTo", high)
    bounds = {key: value for key, value in (("min", low), ("max", high)) if value is not None}
    return {"row_count": bounds} if bounds else None


def _fits(kind: TypeAdapter[str], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True
