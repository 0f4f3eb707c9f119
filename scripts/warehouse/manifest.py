"""Reads dbt's manifest into a `Project`: which node reads which, and which nodes can be built incrementally."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.warehouse.fingerprints import hash_of, node_fingerprint, sql_words, test_fingerprint
from scripts.warehouse.project import Layer, Node, Project, Test
from scripts.warehouse.pseudonyms import key_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

GOLD = "gold"
LATEST_WINS, REPLACE_AFFECTED_KEYS, EXTEND_HISTORY = "latest_wins", "replace_affected_keys", "extend_history"
STRATEGIES = (LATEST_WINS, REPLACE_AFFECTED_KEYS, EXTEND_HISTORY)
_BUILT = {"model", "seed", "snapshot", "function"}
_LATEST_ROW = re.compile(r"latest_row_per_key\('[^']*', '[^']*'\)")
_NOT_ROW_BY_ROW = {
    *("where", "join", "group", "having", "qualify", "distinct", "limit", "offset", "over", "union", "intersect"),
    *("except", "sample", "tablesample", "unnest", "pivot", "unpivot", "lateral", "exists", "positional"),
}
_AGGREGATES = {
    *("count", "sum", "avg", "min", "max", "any_value", "first", "last", "list", "array_agg", "string_agg", "mode"),
    *("arg_min", "arg_max", "median", "bool_and", "bool_or", "histogram", "min_by", "max_by"),
}
_ROW_TESTS = {
    "dbt": {"not_null", "accepted_values"},
    "dbt_utils": {"accepted_range"},
    "dbt_expectations": {"expect_column_value_lengths_to_be_between"},
}
_OWN_ROW_TESTS = {"accepted_range", "expect_column_value_lengths_to_be_between", "covers_bronze"}


def read_project(manifest: Mapping[str, Any], digest: str, dbt_dir: Path) -> Project:
    """Return the project that a manifest with compiled code describes; each node comes after those that it reads."""
    relations = {
        unique_id: node
        for unique_id, node in {**manifest["nodes"], **manifest.get("functions", {})}.items()
        if node["resource_type"] in _BUILT and node["config"].get("materialized") != "ephemeral"
    }
    nodes: dict[str, Node] = {}
    for unique_id in _in_order(relations, manifest):
        node = _node(relations[unique_id], manifest, dbt_dir)
        is_gold = node.schema == GOLD or any(nodes[parent].layer == "gold" for parent in node.parents)
        nodes[unique_id] = msgspec.structs.replace(node, layer="gold" if is_gold else "silver")
    tests = {
        unique_id: _test(node, manifest, nodes)
        for unique_id, node in sorted(manifest["nodes"].items())
        # dbt disables the tests of a disabled model
        if node["resource_type"] == "test" and node["config"].get("enabled", True)
    }
    bronze = filter(is_bronze, manifest["sources"].values())
    has_pseudonyms = any(meta_of(source).get("hashed") for source in bronze)
    return Project(digest, nodes, tests, key_id() if has_pseudonyms else "")


def node_parents(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> Sequence[str]:
    """Return the nodes and sources that a node reads; an ephemeral model is replaced by what it reads."""
    found: dict[str, None] = {}
    for parent in [*node["depends_on"].get("nodes", []), *node["depends_on"].get("functions", [])]:
        read = manifest["nodes"].get(parent)
        if read is not None and read["config"].get("materialized") == "ephemeral":
            found |= dict.fromkeys(node_parents(read, manifest))
        else:
            found[parent] = None
    return list(found)


def is_bronze(source: Mapping[str, Any]) -> bool:
    """Return whether a source of the manifest is a resource of a contract."""
    about = meta_of(source)
    return "primary_key" in about and "load_mode" in about


def meta_of(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `meta` of a source or column."""
    return {**(part.get("meta") or {}), **((part.get("config") or {}).get("meta") or {})}


def description_of(part: Mapping[str, Any]) -> str:
    """Return the description of a node, source, column or exposure in one line; empty without one."""
    return " ".join(str(part.get("description") or "").split())


def unique_key(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of a node's `unique_key`."""
    key = node["config"].get("unique_key") or ()
    return (key,) if isinstance(key, str) else tuple(map(str, key))


def affected_by(node: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the `affected_by` of a mart as its author wrote it."""
    return (node["config"].get("meta") or {}).get("affected_by") or {}


def _in_order(relations: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    done: set[str] = set()

    def visit(unique_id: str) -> Iterator[str]:
        if unique_id in done or unique_id not in relations:
            return
        done.add(unique_id)
        for parent in node_parents(relations[unique_id], manifest):
            yield from visit(parent)
        yield unique_id

    for unique_id in sorted(relations):
        yield from visit(unique_id)


def _node(node: Mapping[str, Any], manifest: Mapping[str, Any], dbt_dir: Path) -> Node:
    config, about = node["config"], node["config"].get("meta") or {}
    read = node_parents(node, manifest)
    sources = [manifest["sources"][parent] for parent in read if parent in manifest["sources"]]
    resources = tuple((source["source_name"], source["name"]) for source in sources if is_bronze(source))
    why_full = _why_full(node, manifest, resources)
    is_sql = node.get("language") != "python"
    words = {word.strip('"').lower() for word, _ in sql_words(node.get("compiled_code") or "")} if is_sql else set()
    parents = tuple(parent for parent in read if parent not in manifest["sources"])
    named = {parent for parent in parents if manifest["nodes"].get(parent, {}).get("name") in affected_by(node)}
    return Node(
        id=node["unique_id"],
        name=node["name"],
        kind=node["resource_type"],
        materialized=config.get("materialized") or node["resource_type"],
        schema=node["schema"],
        identifier=node.get("alias") or node["name"],
        path=node["original_file_path"],
        selector="fqn:" + ".".join(node["fqn"]),
        fingerprint=hash_of(
            node_fingerprint(node, manifest, dbt_dir),
            _own_files(sources, dbt_dir),
            _bronze_columns(sources),
            *_treatment(sources),
        ),
        parents=parents,
        resources=resources,
        unique_key=unique_key(node),
        strategy="" if why_full else config.get("incremental_strategy") or "",
        why_full=why_full,
        affected_by=tuple(sorted(named)),
        keeps_history=node["resource_type"] == "snapshot" or config.get("full_refresh") is False,
        reads_last_seen="last_seen_date" in words,
        expected_rows_sql=about.get("expected_rows_sql"),
        expected_rows_reason=about.get("expected_rows_reason"),
    )


def _why_full(node: Mapping[str, Any], manifest: Mapping[str, Any], resources: Sequence[tuple[str, str]]) -> str:
    """Return why a node cannot be built incrementally; empty if it can."""
    config = node["config"]
    strategy = config.get("incremental_strategy")
    if config.get("materialized") != "incremental":
        return f"a {config.get('materialized') or node['resource_type']} is rebuilt in full"
    if strategy not in STRATEGIES:
        return f"strategy {strategy or 'default'} does not record which rows change"
    if node.get("language") == "python":
        return "a Python model is rebuilt in full"
    if asks := _asks_the_database(node, manifest):
        return f"its SQL depends on the result of `{asks}`"
    checks = {
        LATEST_WINS: _why_not_row_by_row,
        REPLACE_AFFECTED_KEYS: _why_not_by_keys,
        EXTEND_HISTORY: _why_no_history,
    }
    return checks[strategy](node, resources)


def _why_not_row_by_row(node: Mapping[str, Any], resources: Sequence[tuple[str, str]]) -> str:
    code, count = _LATEST_ROW.subn("bronze", node.get("compiled_code") or "")
    if len(resources) != 1 or count != 1:
        return "only a model that reads one `latest_row_per_key` can be built row by row"
    words = [word.lower() for word, _ in sql_words(code)]
    found = sorted(_NOT_ROW_BY_ROW.intersection(words))
    found += sorted(word for word, following in itertools.pairwise(words) if word in _AGGREGATES and following == "(")
    if found:
        return f"`{found[0]}` does not work row by row"
    if missing := {"first_seen_date", "last_seen_date"} - set(words):
        return f"it has no column `{min(missing)}`"
    return ""


def _why_not_by_keys(node: Mapping[str, Any], resources: Sequence[tuple[str, str]]) -> str:
    if resources:
        return "it reads Bronze directly"
    if not affected_by(node):
        return "it has no `affected_by`"
    if not re.search(r"\bin_affected_keys\s*\(", node["raw_code"]):
        return "it does not filter by `in_affected_keys`"
    return ""


def _why_no_history(node: Mapping[str, Any], resources: Sequence[tuple[str, str]]) -> str:
    if len(resources) != 1 or not re.search(r"\bis_incremental\s*\(", node["raw_code"]):
        return "only a model that reads one resource and calls `is_incremental` extends a history"
    return ""


def _asks_the_database(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Return the first call by which a model queries the database while dbt compiles it; empty if there is none."""
    if found := re.search(
        r"\b(run_query|adapter\.(?:get_|execute)\w*|load_relation|graph\.|statement)\b", node["raw_code"]
    ):
        return found.group(1)
    root = node["package_name"]
    own = {f"macro.{root}.{name}" for name in ("latest_row_per_key", "bronze_rows", "in_affected_keys", "source")}
    seen: set[str] = set()
    waiting = [name for name in node["depends_on"].get("macros", []) if name not in own]
    while waiting:
        name = waiting.pop()
        if name in seen or name in own or name == "macro.dbt.is_incremental":
            continue
        seen.add(name)
        macro = manifest["macros"].get(name)
        if macro is None:
            continue
        if macro["name"] in {"run_query", "statement", "get_column_values"}:
            return str(macro["name"])
        waiting += macro["depends_on"]["macros"]
    return ""


def _bronze_columns(sources: Sequence[Mapping[str, Any]]) -> Sequence[object]:
    """Return the names and types of the columns of Bronze that the node may read, and what identifies a row."""
    return [
        [
            {name: column.get("data_type") for name, column in source["columns"].items()},
            meta_of(source)["primary_key"],
            meta_of(source).get("renamed"),
        ]
        for source in sources
        if is_bronze(source)
    ]


def _treatment(sources: Sequence[Mapping[str, Any]]) -> Sequence[object]:
    """Return the columns of Bronze that the node reads as keyed hashes or does not read; empty if there are none."""
    about = [meta_of(source) for source in sources if is_bronze(source)]
    found = [[meta.get("hashed"), meta.get("dropped")] for meta in about if meta.get("hashed") or meta.get("dropped")]
    return [found, key_id()] if found else []


def _own_files(sources: Sequence[Mapping[str, Any]], dbt_dir: Path) -> Sequence[object]:
    """Return name, size and time of the files of sources outside Bronze; they are part of the fingerprint."""
    found: list[object] = []
    for source in sources:
        if is_bronze(source):
            continue
        location = str(meta_of(source).get("external_location") or source.get("relation_name") or "")
        location = location.replace("{name}", source["name"]).replace("${name}", source["name"])
        location = location.replace("{identifier}", source["identifier"])
        found.append(location)
        for name in re.findall(r"'([^']+)'", location) or [location]:
            for path in sorted(_matching(dbt_dir, name)):
                stat = path.stat()
                found.append([str(path), stat.st_size, stat.st_mtime_ns])
    return found


def _matching(root: Path, pattern: str) -> Sequence[Path]:
    import glob  # noqa: PLC0415
    from pathlib import Path as Path_  # noqa: PLC0415

    return [Path_(name) for name in glob.glob(str(root / pattern), recursive=True) if Path_(name).is_file()]  # noqa: PTH207


def _test(node: Mapping[str, Any], manifest: Mapping[str, Any], nodes: Mapping[str, Node]) -> Test:
    read = node_parents(node, manifest)
    parents = tuple(parent for parent in read if parent in nodes)
    sources = [manifest["sources"][parent] for parent in read if parent in manifest["sources"]]
    followed = {resource for parent in parents for resource in nodes[parent].resources}
    layer: Layer = "gold" if any(nodes[parent].layer == "gold" for parent in parents) else "silver"
    tested = nodes.get(node.get("attached_node") or "")
    stands_alone = (
        tested is not None and bool(tested.strategy) and parents == (tested.id,) and _sees_a_part(node, tested)
    )
    return Test(
        id=node["unique_id"],
        name=node["name"],
        selector="fqn:" + ".".join(node["fqn"]),
        fingerprint=test_fingerprint(node, manifest),
        path=node["original_file_path"],
        layer=layer,
        parents=parents,
        node=tested.id if tested is not None and stands_alone else None,
        always=not parents or any((source["source_name"], source["name"]) not in followed for source in sources),
    )


def _sees_a_part(node: Mapping[str, Any], tested: Node) -> bool:
    """Return whether a test that passed over the whole table may now run over the changed keys only."""
    config = node["config"]
    if (config.get("fail_calc"), config.get("error_if"), config.get("warn_if")) != ("count(*)", "!= 0", "!= 0"):
        return False
    # a row in which only `last_seen_date` has changed does not count as changed
    counts = config.get("limit") is not None or config.get("store_failures")
    if counts or "last_seen_date" in (node.get("compiled_code") or ""):
        return False
    stands_alone = (config.get("meta") or {}).get("rows_stand_alone") is True
    return stands_alone or _is_of_rows(node) or _is_of_the_key(node, tested)


def _is_of_rows(node: Mapping[str, Any]) -> bool:
    macros, name = set(node["depends_on"].get("macros", [])), (node.get("test_metadata") or {}).get("name")
    known = {**_ROW_TESTS, node["package_name"]: _OWN_ROW_TESTS}
    return any(name in names and f"macro.{package}.test_{name}" in macros for package, names in known.items())


def _is_of_the_key(node: Mapping[str, Any], tested: Node) -> bool:
    macros, about = set(node["depends_on"].get("macros", [])), node.get("test_metadata") or {}
    own = f"macro.{node['package_name']}.test_unique_combination_of_columns"
    if not macros & {"macro.dbt.test_unique", own, "macro.dbt_utils.test_unique_combination_of_columns"}:
        return False
    arguments = about.get("kwargs") or {}
    columns = arguments.get("combination_of_columns") or [arguments.get("column_name") or node.get("column_name")]
    return {str(column).strip('"').lower() for column in columns} == {key.lower() for key in tested.unique_key}
