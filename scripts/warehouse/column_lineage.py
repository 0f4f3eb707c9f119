"""Column lineage: which columns each column of a model is computed from, read from compiled SQL.

`column_lineage` is a pure function of a manifest (dbt's own, or the one that a version keeps) and returns plain data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from scripts.warehouse.column_origins import ColumnOrigin, Input, ModelColumns, Step, stronger
from scripts.warehouse.manifest import is_bronze, meta_of, node_parents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scripts.warehouse.column_origins import Kind

    _Found = Iterator[tuple[tuple[str, str | None], Kind]]

_DIALECT = "duckdb"
_BRONZE_FUNCTIONS = {"latest_row_per_key", "bronze_rows"}
_DAYS = ("first_seen_date", "last_seen_date", "deleted_date")


def column_lineage(manifest: Mapping[str, Any], *, only: Iterable[str] | None = None) -> dict[str, ModelColumns]:
    """Return what each column of each model is computed from, by dbt's `unique_id`.

    Args:
        manifest: A manifest with compiled code: `nodes` and `sources`.
        only: Read only these models, and what they read.
    """
    found: dict[str, ModelColumns] = {}
    for unique_id in _with_parents(manifest, only):
        node = manifest["nodes"].get(unique_id)
        if node is not None and node["resource_type"] in {"model", "snapshot", "seed"}:
            found[unique_id] = _of_node(node, manifest, found)
    return found


def table_columns(node: Mapping[str, Any]) -> Sequence[str]:
    """Return the columns that the YAML of a node or source names."""
    return [column["name"] for column in (node.get("columns") or {}).values()]


def _with_parents(manifest: Mapping[str, Any], only: Iterable[str] | None) -> Iterator[str]:
    done: set[str] = set()

    def visit(unique_id: str) -> Iterator[str]:
        node = manifest["nodes"].get(unique_id)
        if unique_id in done or node is None:
            return
        done.add(unique_id)
        for parent in node_parents(node, manifest):
            yield from visit(parent)
        yield unique_id

    for unique_id in sorted(manifest["nodes"]) if only is None else only:
        if manifest["nodes"].get(unique_id, {}).get("resource_type") in {"model", "snapshot", "seed"}:
            yield from visit(unique_id)


def _of_node(node: Mapping[str, Any], manifest: Mapping[str, Any], known: Mapping[str, ModelColumns]) -> ModelColumns:
    described = {name: ColumnOrigin((), ()) for name in table_columns(node)}
    if node["resource_type"] == "seed":
        return ModelColumns(described)
    reads = tuple(node_parents(node, manifest))
    if node.get("language") == "python":
        return ModelColumns(described, (), reads, "it is a Python model")
    if not (code := node.get("compiled_code")):
        return ModelColumns(described, (), reads, "dbt compiled no SQL for it")
    try:
        return _Reader(node, manifest, known).read(code)
    except Exception as error:  # noqa: BLE001 — no SQL that dbt builds may fail because it cannot be analyzed
        line = (str(error).splitlines() or [type(error).__name__])[0]
        return ModelColumns(described, (), reads, f"its SQL could not be analyzed: {line}")


class _Reader:
    """Reads the SQL of one node."""

    def __init__(self, node: Mapping[str, Any], manifest: Mapping[str, Any], known: Mapping[str, ModelColumns]) -> None:
        self._node, self._manifest = node, manifest
        self._is_whole = True
        self._tables: dict[str, tuple[str, Sequence[str]]] = {}
        """By the name of a table in lower case: the node or source, and its columns."""
        self._spelling: dict[str, str] = {}
        """How the SQL writes a name, by the name in lower case."""
        for parent in node_parents(node, manifest):
            if parent in manifest["sources"]:
                self._add_source(parent, manifest["sources"][parent])
            elif parent in manifest["nodes"]:
                read = manifest["nodes"][parent]
                name = f"{read['schema']}.{read.get('alias') or read['name']}".lower()
                columns = list(known[parent].columns) if parent in known else table_columns(read)
                self._tables[name] = (parent, columns)

    def _add_source(self, unique_id: str, source: Mapping[str, Any]) -> None:
        columns = table_columns(source)
        name = f"{source['schema']}.{source.get('identifier') or source['name']}".lower()
        self._tables[name] = (unique_id, columns)
        if is_bronze(source):
            days = _DAYS if meta_of(source).get("deletes") else _DAYS[:2]
            latest = [column for column in columns if column not in {"dt", "_row"}]
            self._tables[_bronze_name("latest_row_per_key", source["source_name"], source["name"])] = (
                unique_id,
                [*latest, *days],
            )
            self._tables[_bronze_name("bronze_rows", source["source_name"], source["name"])] = (unique_id, columns)

    def read(self, code: str) -> ModelColumns:
        tree = sqlglot.parse_one(code, dialect=_DIALECT).transform(self._named)
        _drop_marks(tree)
        # `qualify` writes every name in lower case
        for _, columns in self._tables.values():
            self._spelling |= {name.lower(): name for name in columns}
        for found in tree.find_all(exp.Identifier):
            self._spelling.setdefault(found.name.lower(), found.name)
        for alias in tree.find_all(exp.Alias):
            self._spelling[alias.alias.lower()] = alias.alias
        schema: dict[str, dict[str, object]] = {}
        for name, (_, columns) in self._tables.items():
            place, _, table = name.partition(".")
            schema.setdefault(place, {})[table] = dict.fromkeys(columns, "unknown")
        for read in tree.find_all(exp.Table):
            read.set("catalog", None)
        qualified = qualify(
            tree,
            schema=dict(schema),
            dialect=_DIALECT,
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        scope = build_scope(qualified)
        if scope is None:
            raise SqlglotError("it is no query")
        outputs = _query(scope).named_selects
        if "*" in outputs:
            raise SqlglotError("`*` of a table whose columns are not known")
        origins = {self._spelled(name): self._origin(scope, name) for name in outputs}
        return ModelColumns(origins, self._filters(scope), tuple(node_parents(self._node, self._manifest)))

    def _filters(self, scope: Scope) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for query in scope.traverse():
            for kind in ("where", "having", "qualify"):
                if (condition := query.expression.args.get(kind)) is not None and condition.this != exp.true():
                    found[f"{kind} {self._text(condition.this)}"] = None
            for join in query.expression.args.get("joins") or ():
                if join.args.get("on") is not None and join.side not in {"LEFT", "FULL"}:
                    found[f"join {self._spelled(join.alias_or_name)} on {self._text(join.args['on'])}"] = None
        return tuple(found)

    def _text(self, value: exp.Expr) -> str:
        return self._short(value).sql(dialect=_DIALECT, normalize_functions="lower", comments=False)

    def _named(self, found: exp.Expr) -> exp.Expr:
        """Return a table in place of a call that stands for Bronze, so that its columns are known."""
        call = found.this if isinstance(found, exp.Table) else None
        if isinstance(call, exp.Anonymous) and call.name.lower() in _BRONZE_FUNCTIONS:
            arguments = [argument.name for argument in call.expressions]
            if len(arguments) == 2:  # noqa: PLR2004 — source and resource
                schema, _, name = _bronze_name(call.name.lower(), *arguments).partition(".")
                # no alias of its own would be a name that other queries may use too
                return exp.table_(name, db=schema, alias=found.alias or name)
        return found

    def _origin(self, scope: Scope, column: str) -> ColumnOrigin:
        inputs: dict[tuple[str, str | None], Kind] = {}
        steps: list[Step] = []
        self._is_whole = True
        for place, kind in self._follow(scope, column, "same", steps, "", set()):
            inputs[place] = stronger(inputs[place], kind) if place in inputs else kind
        found = (Input(*place, kind) for place, kind in inputs.items())
        return ColumnOrigin(tuple(sorted(found, key=Input.place)), tuple(steps), self._is_whole)

    def _follow(
        self, scope: Scope, column: str, kind: Kind, steps: list[Step], name: str, seen: set[tuple[int, str]]
    ) -> _Found:
        """Yield the inputs of a column of a query, and add its expressions to the steps."""
        if (id(scope), column) in seen:
            return
        seen.add((id(scope), column))
        for part, own_name in _parts(scope, column):
            yield from self._follow(part, own_name, kind, steps, name, seen)
        value = _selected(scope, column)
        if value is None:
            return
        own = _kind_of(value)
        if not isinstance(value, exp.Column):
            self._note(value, column, name, steps)
        kind = stronger(kind, own)
        columns = [found for found in value.find_all(exp.Column) if isinstance(found.this, exp.Identifier)]
        if not columns and _counts_rows(value):
            for _, read in scope.selected_sources.values():
                yield from self._rows_of(read, set())
        for found in columns:
            yield from self._read(scope, found, kind, steps, seen)

    def _read(
        self, scope: Scope, found: exp.Column, kind: Kind, steps: list[Step], seen: set[tuple[int, str]]
    ) -> _Found:
        """Yield the inputs of a column that an expression of a query names."""
        source = _source(scope, found.table)
        if isinstance(source, exp.Table):
            yield from self._input(source, found, kind)
        elif isinstance(source, Scope) and isinstance(source.expression, exp.Query):
            yield from self._follow(source, found.name, kind, steps, found.table, seen)
        elif isinstance(source, Scope):
            # a function that returns rows, such as `unnest`, of columns of the same query
            for inner in source.expression.find_all(exp.Column):
                if inner.table != found.table:
                    yield from self._read(scope, inner, stronger(kind, "computed"), steps, seen)
        elif found.find_ancestor(exp.Lambda) is None:
            self._is_whole = False

    def _note(self, value: exp.Expr, column: str, name: str, steps: list[Step]) -> None:
        own_name = self._spelled(column)
        step = Step(f"{self._spelled(name)}.{own_name}" if name else own_name, self._text(value))
        if step not in steps:
            steps.append(step)

    def _rows_of(self, source: exp.Table | Scope | None, seen: set[int]) -> _Found:
        if isinstance(source, exp.Table):
            if (table := self._table(source)) is not None:
                yield (table, None), "rows"
        elif isinstance(source, Scope) and id(source) not in seen:
            seen.add(id(source))
            for part in source.set_operation_scopes:
                yield from self._rows_of(part, seen)
            for _, inner in source.selected_sources.values():
                yield from self._rows_of(inner, seen)

    def _input(self, table: exp.Table, found: exp.Column, kind: Kind) -> _Found:
        known = self._tables.get(f"{table.db}.{table.name}".lower())
        if known is None:
            self._is_whole = False
        else:
            names = {name.lower(): name for name in known[1]}
            yield (known[0], names.get(found.name.lower(), self._spelled(found.name))), kind

    def _table(self, table: exp.Table) -> str | None:
        known = self._tables.get(f"{table.db}.{table.name}".lower())
        return known[0] if known else None

    def _spelled(self, name: str) -> str:
        return self._spelling.get(name, name)

    def _short(self, value: exp.Expr) -> exp.Expr:
        """Return an expression as it is shown: without names of tables, if that does not make two columns alike."""
        copied = value.copy()
        found = list(copied.find_all(exp.Column))
        if len({column.name for column in found}) == len({(column.table, column.name) for column in found}):
            for column in found:
                column.set("table", None)
        for identifier in copied.find_all(exp.Identifier):
            identifier.set("this", self._spelled(identifier.name))
        return copied


def _drop_marks(tree: exp.Expr) -> None:
    """Remove the text that stands for `deleted_date` beside a call for Bronze, which has this column itself."""
    for select in tree.find_all(exp.Select):
        read = select.find(exp.From)
        if read is not None and isinstance(read.this, exp.Table) and read.this.db == "latest_row_per_key":
            kept = [item for item in select.expressions if not isinstance(item.unalias(), exp.Literal)]
            select.set("expressions", kept)


def _query(scope: Scope) -> exp.Query:
    if not isinstance(scope.expression, exp.Query):
        message = "it is no query"
        raise TypeError(message)
    return scope.expression


def _parts(scope: Scope, column: str) -> Sequence[tuple[Scope, str]]:
    """Return the queries of a union, with the name that each gives to a column of the union; none for other queries."""
    names = _query(scope).named_selects
    if column not in names:
        return []
    place = names.index(column)
    parts = [(part, _query(part).named_selects) for part in scope.set_operation_scopes]
    return [(part, own[place]) for part, own in parts if place < len(own)]


def _source(scope: Scope, name: str) -> exp.Table | Scope | None:
    """Return the table or query that an expression of a query names, also inside the queries of the expression."""
    found = (inner.sources[name] for inner in (scope, *scope.subquery_scopes) if name in inner.sources)
    source: exp.Table | Scope | None = next(found, None)
    return source


def _selected(scope: Scope, column: str) -> exp.Expr | None:
    """Return the expression of a column of a query; None for a union."""
    if scope.set_operation_scopes:
        return None
    found = next((item for item in _query(scope).selects if item.alias_or_name == column), None)
    return found.unalias() if found is not None else None


def _bronze_name(function: str, source: str, resource: str) -> str:
    return f"{function}.{source}__{resource}".lower()


def _kind_of(value: exp.Expr) -> Kind:
    if value.find(exp.AggFunc, exp.Window) is not None:
        return "rows" if _counts_rows(value) else "aggregated"
    bare = value
    while isinstance(bare, (exp.Cast, exp.TryCast, exp.Paren)):
        bare = bare.this
    return "same" if isinstance(bare, exp.Column) else "computed"


def _counts_rows(value: exp.Expr) -> bool:
    return any(isinstance(found.this, exp.Star) for found in value.find_all(exp.Count))
