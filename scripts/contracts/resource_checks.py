"""Checks that the keys of a resource are consistent, and the resources of a source."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from scripts.contracts.deletes import DELETED, Tombstone
from scripts.contracts.json_path import steps_of
from scripts.contracts.load import IncrementalLoad, SnapshotLoad, WatermarkLoad
from scripts.contracts.pagination import CursorPagination, LinkPagination, NoPagination, placed_params
from scripts.contracts.templates import MOMENTS, SINCE, check_templates, format_moment, template_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.contracts.source import Resource, Source

RESERVED_COLUMNS = frozenset({"dt", "_row", "_extra", "first_seen_date", "last_seen_date"})
"""Columns that the pipeline adds: the partition's day, the row's position, unknown fields, and Silver's two dates."""
_ASKED = ("path", "method", "params", "headers", "body", "form", "base_url", "auth", "rate_limit", "concurrency")
_INHERITED = (*_ASKED, "for_each", "response", "pagination", "total", "error", "no_rows", "load")
"""Keys that a nested resource inherits from its parent."""


def lift_children(document: Any) -> Any:  # noqa: ANN401 — whatever the YAML holds
    """Return the document of a source in which each entry of `children` is a separate resource, below its parent."""
    resources = document.get("resources") if isinstance(document, dict) else None
    if not isinstance(resources, dict):
        return document
    lifted: dict[Any, Any] = {}
    for name, resource in resources.items():
        children = resource.get("children") if isinstance(resource, dict) else None
        if not isinstance(children, dict):
            lifted[name] = resource
            continue
        parent = {key: value for key, value in resource.items() if key != "children"}
        lifted[name] = parent
        for child_name, child in children.items():
            if child_name in resources or child_name in lifted:
                message = f"resource `{child_name}` is declared twice: in `resources` and in `children`"
                raise ValueError(message)
            lifted[child_name] = _child(parent, child, name, child_name)
    return {**document, "resources": lifted}


def _child(parent: dict[str, Any], child: Any, parent_name: str, name: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(child, dict) or "path" not in child:
        message = (
            f"resources.{parent_name}.children.{name}: needs `path`, which leads from the parent's row to the list"
        )
        raise ValueError(message)
    if own := sorted(set(child) & (set(_INHERITED) - {"path"})):
        message = f"resources.{parent_name}.children.{name}: {', '.join(own)} come from the parent"
        raise ValueError(message)
    nested = {"path": child["path"], "carry": child.get("carry", {})}
    rest = {key: value for key, value in child.items() if key not in {"path", "carry"}}
    return {**{key: parent[key] for key in _INHERITED if key in parent}, **rest, "nested": nested}


def check_resource(resource: Resource) -> list[str]:
    """Return the inconsistencies between the keys of a resource, as messages."""
    return [
        *_check_names(resource),
        *_check_old_names(resource),
        *_check_fields(resource),
        *_check_sensitive(resource),
        *_check_used_columns(resource),
        *_check_paging(resource),
        *_check_deletes(resource),
        *_check_templates(resource),
    ]


def check_children(source: Source) -> list[str]:
    """Return the inconsistencies between the resources of a source, as messages."""
    problems = []
    for name, resource in source.resources.items():
        seen = [name]
        while resource.for_each and (parent := resource.for_each.resource):
            if parent not in source.resources:
                others = ", ".join(other for other in source.resources if other != name)
                problems.append(f"resources.{seen[-1]}.for_each: `{parent}` is not one of {others or 'none'}")
                break
            if parent in seen:
                problems.append(f"resources.{name}.for_each leads back to `{parent}`")
                break
            seen.append(parent)
            resource = source.resources[parent]  # noqa: PLW2901 — the chain of parents
            if resource.path is None:
                problems.append(
                    f"resources.{seen[-2]}.for_each: `{parent}` has no `path`, so its rows cannot be requested"
                )
                break
    return problems + [f"headers: {problem}" for problem in check_templates(source.headers, MOMENTS)]


def _check_names(resource: Resource) -> Iterator[str]:
    names = [column.name for column in resource.columns]
    folded = [name.lower() for name in names]
    for name, low in zip(names, folded, strict=True):
        if folded.count(low) > 1:
            yield f"column `{name}` is declared twice (DuckDB does not distinguish upper and lower case)"
        if low in RESERVED_COLUMNS:
            yield f"column name `{name}` is reserved: give it another `name` and put `{name}` into `field`"
    rule_names = [rule.name for rule in resource.rules]
    for name in sorted(set(rule_names)):
        if rule_names.count(name) > 1:
            yield f"two rules are called `{name}`"


def _check_old_names(resource: Resource) -> Iterator[str]:
    folded = {column.name.lower() for column in resource.columns}
    before = [column.was.lower() for column in resource.columns if column.was is not None]
    for column in resource.columns:
        if column.was is None:
            continue
        if column.was.lower() in folded:
            yield f"column `{column.name}` has `was: {column.was}`, and column `{column.was}` is declared too"
        if column.was.lower() in RESERVED_COLUMNS:
            yield f"column `{column.name}` was `{column.was}`, which is not a valid name of a column"
        if before.count(column.was.lower()) > 1:
            yield f"two columns have `was: {column.was}`"


def _check_fields(resource: Resource) -> Iterator[str]:
    keys = [column.key for column in resource.columns]
    for key in sorted(set(keys)):
        if keys.count(key) > 1:
            yield f"field `{key}` is read into two columns"
    for column in resource.columns:
        if column.name in resource.primary_key and column.nullable and "nullable" in column.model_fields_set:
            yield f"column `{column.name}` is part of the primary key, and may not be `nullable: true`"
        if column.type == "json" and column.name in resource.primary_key:
            yield f"primary_key: column `{column.name}` is json, and equal JSON can differ as text; use its fields"


def _check_sensitive(resource: Resource) -> Iterator[str]:
    """Yield a message if a value that Silver must not have is in another column, or identifies a row."""
    for column in resource.columns:
        if column.sensitive == "drop" and column.name in resource.primary_key:
            yield f"column `{column.name}` is part of the primary key and cannot be `sensitive: drop`; use `hash`"
        if column.sensitive not in {"hash", "drop"}:
            continue
        path = steps_of(column.field or column.name)
        for other in resource.columns:
            held = steps_of(other.field or other.name)
            if other is not column and path[: len(held)] == held and other.sensitive not in {"hash", "drop"}:
                yield (
                    f"column `{other.name}` holds `{column.name}`, which is `sensitive: {column.sensitive}`:"
                    f" make `{other.name}` `sensitive: drop` too"
                )


def _check_used_columns(resource: Resource) -> Iterator[str]:
    names = {column.name for column in resource.columns}
    if len(set(resource.primary_key)) < len(resource.primary_key):
        yield f"primary_key names a column twice: {', '.join(resource.primary_key)}"
    used = {column: "primary_key" for column in resource.primary_key if column != "dt"}
    if resource.for_each:
        used |= dict.fromkeys(resource.for_each.carry, "for_each.carry")
    if isinstance(resource.deletes, Tombstone):
        used[resource.deletes.column] = "deletes"
    if resource.nested:
        used |= dict.fromkeys(resource.nested.carry, "carry")
    for rule in resource.rules:
        used |= {column: f"rule `{rule.name}`" for column in (rule.column, *(rule.unique or ())) if column}
    declared = ", ".join(column.name for column in resource.columns)
    for column, place in used.items():
        if column not in names:
            yield f"{place} names column `{column}`, which is not declared; declared are {declared}"


def _check_paging(resource: Resource) -> Iterator[str]:
    pagination = resource.pagination
    if getattr(pagination, "stop", None) == "total" and resource.total is None:
        yield "`stop: total` needs `total`: say in which header or body path the API declares it"
    if isinstance(pagination, NoPagination):
        return
    if pagination.send_in == "template" and not placed_params(pagination) <= _template_names(resource):
        missing = min(placed_params(pagination) - _template_names(resource))
        yield f"`send_in: template` needs `{{{missing}}}` in path, params, headers, body or form"
    if pagination.send_in == "body" and resource.body is None and resource.form is None:
        yield "`send_in: body` needs `method: POST` with a `body` (`body: {}` is enough) or `form`"
    plain = resource.response.format in {"csv", "tsv", "ndjson"}
    in_body = [
        name for name in ("next_path", "cursor_path", "has_more_path") if getattr(pagination, name, None) is not None
    ]
    if plain and in_body:
        yield f"{resource.response.format} cannot hold {', '.join(in_body)}; valid are headers and numbered pages"
    if isinstance(pagination, (LinkPagination, CursorPagination)) and resource.path is None:
        yield "`pagination` goes with `path`"


def _check_deletes(resource: Resource) -> Iterator[str]:
    deletes = resource.deletes
    if deletes is None:
        return
    if any(column.name.lower() == DELETED for column in resource.columns):
        yield f"column name `{DELETED}` is reserved by `deletes`: give it another `name`, and put its key into `field`"
    if isinstance(deletes, Tombstone):
        yield from _check_tombstone(resource, deletes)
        return
    whole = "`deletes: detect` marks rows that a load lacks as deleted"
    if not isinstance(resource.load, SnapshotLoad):
        yield f"{whole}, but `load: {{mode: {resource.load.mode}}}` does not load all rows: name a column instead"
    if "dt" in resource.primary_key:
        yield f"{whole}, but with `dt` in the primary key each row is in one load only"
    if resource.for_each is not None and resource.for_each.on_error == "skip":
        yield f"{whole}, but `for_each: {{on_error: skip}}` leaves rows out"
    if getattr(resource.pagination, "max_pages", None) is not None:
        yield f"{whole}, but `max_pages` leaves rows out"


def _check_tombstone(resource: Resource, tombstone: Tombstone) -> Iterator[str]:
    column = next((column for column in resource.columns if column.name == tombstone.column), None)
    if column is None:
        return
    if column.type in {"date", "timestamp"}:
        if tombstone.values:
            yield f"deletes: `{column.name}` is {column.type} and takes no `values`: any time means deleted"
    elif column.type not in {"boolean", "string", "integer"}:
        yield f"deletes: `{column.name}` is {column.type}; valid are boolean, string, integer, date and timestamp"
    elif column.type != "boolean" and not tombstone.values:
        yield f"deletes: `{column.name}` is {column.type}: give the `values` that mean deleted"
    else:
        kind = {"boolean": bool, "string": str, "integer": int}[column.type]
        if wrong := [value for value in tombstone.values if type(value) is not kind]:
            yield f"deletes: {wrong[0]!r} is not a value of `{column.name}`, which is {column.type}"


def _check_templates(resource: Resource) -> Iterator[str]:
    names = {*MOMENTS, *(resource.for_each.names if resource.for_each else ())}
    if isinstance(resource.load, WatermarkLoad):
        names.add(SINCE)
    if getattr(resource.pagination, "send_in", None) == "template":
        names |= placed_params(resource.pagination)
    for key in ("path", "params", "headers"):
        yield from (f"{key}: {problem}" for problem in check_templates(getattr(resource, key), names))
    for key in ("body", "form"):
        yield from (f"{key}: {problem}" for problem in check_templates(getattr(resource, key), names, strict=False))
    load = resource.load
    if isinstance(load, IncrementalLoad):
        asked = str([resource.path, resource.params, resource.body, resource.form, resource.headers])
        if load.start_param is None and not any(f"{{{name}" in asked for name in MOMENTS) and resource.path is not None:
            yield "load: an incremental load needs `start_param`, or a template such as `{day}` in path, params or body"
        if load.end_param is not None and load.start_param is None:
            yield "load: `end_param` goes with `start_param`"
        if load.start_param is not None:
            yield from _check_format(load)
    if isinstance(load, WatermarkLoad):
        yield from _check_watermark(resource, load)


def _check_watermark(resource: Resource, load: WatermarkLoad) -> Iterator[str]:
    if resource.path is None:
        yield "load: `mode: watermark` goes with `path`"
    elif load.start_param is None and SINCE not in _template_names(resource):
        yield "load: a watermark load needs `start_param`, or the template `{since}` in path, params, headers or body"


def _template_names(resource: Resource) -> set[str]:
    return template_names([resource.path, resource.params, resource.headers, resource.body, resource.form])


def _check_format(load: IncrementalLoad) -> Iterator[str]:
    """Yield a message if the format of a load writes the start and the end of a window in the same way."""
    size, step = load.window, dt.timedelta(days=1)
    if size is not None and size.hours is not None:
        step = dt.timedelta(hours=size.hours)
    elif size is not None and size.halve_at is not None:
        step = dt.timedelta(seconds=1)
    moment = dt.datetime(2024, 11, 23, tzinfo=dt.UTC)
    first, after = format_moment(moment, load.format), format_moment(moment + step, load.format)
    if first == after:
        yield (
            f"load: format `{load.format}` writes two moments as `{first}` that are {step} apart, and the windows of"
            " the load are that short"
        )
