"""A contract as a document of the Open Data Contract Standard (ODCS) 3.1, and back."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.contracts.odcs_parts import (
    OWN,
    column_item,
    column_of,
    merged,
    name_of,
    own_names,
    rule_item,
    rule_of,
    rules_of_options,
    with_own,
)
from scripts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scripts.contracts.rules import Rule
    from scripts.contracts.source import Resource, Source

_VERSION = "v3.1.0"
_ORDER = "ruleOrder"
"""The custom property with the order of the rules, if it is not the order of the columns."""
_UNKNOWN_ADDRESS = "https://example.com"
_USUAL_LATENCY = 72
"""`error_after_hours` of a contract that does not say it."""
_UNKNOWN_OWNER = "data-team@example.com"


class Imported(NamedTuple):
    """A contract as plain data, and what a person has to fill in."""

    document: dict[str, Any]
    to_fill_in: Sequence[str]


def to_odcs(source: Source, expectation: Callable[[Rule], str]) -> dict[str, Any]:
    """Return the document of a source; `expectation` describes a rule."""
    document = source.model_dump(mode="json", exclude_unset=True)
    versions = "".join(resource.version for resource in source.resources.values())
    item: dict[str, Any] = {
        "apiVersion": _VERSION,
        "kind": "DataContract",
        "id": source.source,
        "name": source.source,
        "version": hashlib.sha256(versions.encode()).hexdigest()[:12],
        "status": "active",
        "description": {"purpose": source.description},
        "team": {"members": [{"username": source.owner, "role": "owner"}]},
        "servers": [{"server": "api", "type": "api", "location": document["base_url"]}],
        "schema": [
            _resource_item(name, resource, document["resources"][name], expectation)
            for name, resource in source.resources.items()
        ],
    }
    item["slaProperties"] = [
        {"property": "latency", "value": resource.freshness.error_after_hours, "unit": "h", "element": name}
        for name, resource in source.resources.items()
    ]
    # the same part of the contract may be in the document twice, which YAML would write as a reference
    found: dict[str, Any] = json.loads(json.dumps(with_own(item, document, from_odcs(item).document)))
    return found


def from_odcs(item: Mapping[str, Any], name: str | None = None) -> Imported:
    """Return the contract that a document of the standard describes; `name` is the source's, by default the document's.

    Raises:
        UsageError: The document is none of the standard, or describes no table.
    """
    if item.get("kind") != "DataContract" or not str(item.get("apiVersion", "")).startswith("v3"):
        raise UsageError(
            f"found kind `{item.get('kind')}`, apiVersion `{item.get('apiVersion')}`",
            expected="a document of the Open Data Contract Standard: kind DataContract, apiVersion v3.…",
        )
    if not item.get("schema"):
        raise UsageError("the document has no `schema`", expected="at least one table with its properties")
    missing: list[str] = []
    address, owner = _address(item), _owner(item)
    resources, own = {}, own_names(item).get(OWN, {})
    for table in item["schema"]:
        resource, gaps = _resource_of(table, latency=_latency(item, str(table["name"])))
        resources[name_of(table["name"])] = resource
        missing += gaps
    if address is None:
        missing.insert(0, f"base_url: the address of the API; {_UNKNOWN_ADDRESS} stands for it")
    if owner is None:
        missing.insert(0, f"owner: {_UNKNOWN_OWNER} stands for it")
    described = item.get("description") or {}
    document = {
        "source": name_of(item.get("name") or item["id"]),
        "description": described.get("purpose")
        or described.get("usage")
        or f"Data of {item.get('name') or item['id']}.",
        "owner": owner or _UNKNOWN_OWNER,
        "base_url": address or _UNKNOWN_ADDRESS,
        # nothing is loaded by itself before a person has completed the contract
        **({"daily": False} if missing and not own else {}),
        "default_resource": next(iter(resources)),
        "resources": resources,
    }
    document = {**merged(document, item), **({"source": name} if name else {})}
    return Imported(document, [] if own else missing)


def _resource_item(
    name: str, resource: Resource, document: Mapping[str, Any], expectation: Callable[[Rule], str]
) -> dict[str, Any]:
    rules = {rule.name: expectation(rule) for rule in resource.rules}
    checks = [(rule.get("column"), rule_item(rule, rules[rule["name"]])) for rule in document.get("rules", ())]
    item: dict[str, Any] = {
        "name": name,
        **({"physicalName": document["path"]} if "path" in document else {}),
        "logicalType": "object",
        "description": document["description"],
        "properties": [
            {
                **column_item(column, tuple(document["primary_key"])),
                **_quality([check for place, check in checks if place == column["name"]]),
            }
            for column in document["columns"]
        ],
        **_quality([check for place, check in checks if place is None]),
    }
    order = [rule["name"] for rule in document.get("rules", ())]
    if order != [rule["name"] for rule in _resource_of(item)[0].get("rules", ())]:
        item["customProperties"] = [{"property": _ORDER, "value": order}]
    return with_own(item, document, _resource_of(item, resource.freshness.error_after_hours)[0])


def _quality(checks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"quality": checks} if checks else {}


def _resource_of(item: Mapping[str, Any], latency: int | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return a resource of a contract, and what is missing."""
    place, own = item["name"], own_names(item).get(OWN, {})
    missing: list[str] = []
    rules: list[dict[str, Any]] = []
    columns = [column_of(found) for found in item.get("properties") or ()]
    tables = [(None, item), *zip([column["name"] for column in columns], item.get("properties") or (), strict=True)]
    for (column, part), described in zip(tables, [None, *columns], strict=True):
        for check in part.get("quality") or ():
            rule = rule_of(check, column)
            if rule is None:
                missing.append(f"{place}: the check `{check.get('name') or check.get('metric') or 'text'}`, as a rule")
            else:
                rules.append(rule)
        if described is not None:
            rules += rules_of_options(part, described)
    keys = sorted(
        (found.get("primaryKeyPosition") or 0, column["name"])
        for found, column in zip(item.get("properties") or (), columns, strict=True)
        if found.get("primaryKey")
    )
    path = str(item.get("physicalName") or "")
    if not path.startswith("/"):
        missing.append(f"{place}: `path`, below base_url; `/{place}` is a guess")
        path = f"/{place}"
    if not keys and columns:
        missing.append(f"{place}: `primary_key`; the first column stands for it")
    resource = {
        "description": item.get("description") or f"{place}.",
        "path": path,
        "primary_key": [name for _, name in keys] or [column["name"] for column in columns][:1],
        "columns": columns,
        **({"rules": _ordered(rules, own_names(item).get(_ORDER, ()))} if rules else {}),
        **({"freshness": _freshness(latency)} if latency not in {None, _USUAL_LATENCY} else {}),
    }
    resource = merged(resource, item)
    return resource, [] if own else missing


def _ordered(rules: Sequence[dict[str, Any]], order: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rules in an order, the others after them; a rule whose name is taken gets a number."""
    places = {name: place for place, name in enumerate(order)}
    found: dict[str, dict[str, Any]] = {}
    for rule in sorted(rules, key=lambda rule: places.get(rule["name"], len(places))):
        free, number = rule["name"], 2
        while free in found:
            free, number = f"{rule['name']}_{number}", number + 1
        found[free] = {**rule, "name": free}
    return list(found.values())


def _freshness(latency: int | None) -> dict[str, int]:
    hours = latency or _USUAL_LATENCY
    return {"warn_after_hours": max(1, hours // 2), "error_after_hours": hours}


def _address(item: Mapping[str, Any]) -> str | None:
    servers = [server for server in item.get("servers") or () if server.get("type") == "api"]
    return next((str(server["location"]) for server in servers if server.get("location")), None)


def _owner(item: Mapping[str, Any]) -> str | None:
    team = item.get("team") or {}
    # until version 3.0, `team` is the list of its members
    members = team if isinstance(team, list) else team.get("members") or []
    owners = [member for member in members if str(member.get("role", "")).lower() in {"owner", "data owner"}]
    return next((str(member["username"]) for member in [*owners, *members] if member.get("username")), None)


def _latency(item: Mapping[str, Any], name: str) -> int | None:
    for sla in item.get("slaProperties") or ():
        if sla.get("property") == "latency" and str(sla.get("element", "")).partition(".")[0] == name:
            hours = {"h": 1, "hour": 1, "hours": 1, "d": 24, "day": 24, "days": 24}.get(str(sla.get("unit", "h")))
            if hours and isinstance(sla.get("value"), int):
                return int(sla["value"]) * hours
    return None
