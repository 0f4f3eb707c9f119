"""A dbt project as plain data, which random edits change as its users would, and which is written as files.

Each model gives the columns `id` (text, unique), `g` and `n` (whole numbers), so that each can read each other one.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

FILTER = '{{{{% if is_incremental() %}}}}where {{{{{{{{ in_affected_keys(["{key}"]) }}}}}}}}{{{{% endif %}}}}'
SQL = {
    # staging: one resource, with a filter, of two resources, on another staging model
    "staged": "select cast(id as varchar) as id, g, n + {number} as n, first_seen_date, last_seen_date from {staged}",
    "filtered": "select cast(id as varchar) as id, g, n, last_seen_date from {staged} where n % 5 <> {number} % 5",
    "united": "select 'i' || id as id, g, n from {staged} union all select 'o' || id as id, g, {number} as n"
    " from {{{{ latest_row_per_key('demo', 'others') }}}}",
    "restaged": "select id, g, n - {number} as n from {first}",
    "history": "select id || '|' || dt as id, g, n + {number} as n from {{{{ bronze_rows('demo', 'items',"
    " 'changed' if is_incremental() else 'all') }}}}",
    # marts that follow the changed keys
    "rows": "select id, g, n + {number} as n from {first} " + FILTER.format(key="id"),
    "sums": "select 's' || g as id, g, sum(n)::bigint + {number} as n from {first} "
    + FILTER.format(key="'s' || g")
    + " group by g",
    "zero as null": "select coalesce('z' || nullif(g, 0), '') as id, nullif(g, 0) as g, count(*) + {number} as n"
    " from {first} " + FILTER.format(key="nullif(g, 0)") + " group by nullif(g, 0)",
    "both": "select a.id, a.g, a.n + coalesce(b.n, {number}) as n from {first} as a left join {second} as b using (id) "
    + FILTER.format(key="a.id"),
    "one of both": "select a.id, a.g, a.n + coalesce(b.n, {number}) as n from {first} as a"
    " left join {second} as b using (id) " + FILTER.format(key="a.id"),
    "seeded": "select a.id, a.g, a.n + coalesce(s.m, 0) + {number} as n from {first} as a"
    " left join {{{{ ref('weights') }}}} as s using (g) " + FILTER.format(key="a.id"),
    "by macro": "select id, g, {{{{ added('n') }}}} + {number} as n from {first} " + FILTER.format(key="id"),
    "by variable": "select id, g, n * {{{{ var('factor') }}}} + {number} as n from {first} " + FILTER.format(key="id"),
    # what does not say which rows changed
    "ranked": "select id, g, row_number() over (order by id) + {number} as n from {first}",
    "newer": "select id, g, n + {number} as n from {first}"
    " {{% if is_incremental() %}}where n > (select max(t.n) from {{{{ this }}}} as t){{% endif %}}",
    "joined": "select a.id, a.g, a.n + coalesce(b.n, {number}) as n from {first} as a"
    " left join {second} as b using (id)",
}
PYTHON = (
    "def model(dbt, session):\n"
    "    dbt.config(materialized='table', contract={{'enforced': False}}, schema='gold')\n"
    "    return dbt.ref('{first}').project('id, g, n + {number} as n')\n"
)
STAGING = ("staged", "filtered", "united", "restaged")
MARTS = ("rows", "sums", "zero as null", "both", "one of both", "seeded", "by macro", "by variable", "joined", "ranked")
FOLDERS = {"staging": "models/staging/own", "history": "models/history", "marts": "models/marts/own"}
READS_TWO = ("both", "one of both", "joined")
FREE = ("table", "view", "ephemeral", "append", "delete+insert", "merge")
"""How a mart is materialized that does not follow the changed keys."""
TESTS: dict[str, tuple[str, str]] = {
    "unique": ("{name}.yml", "unique"),
    "no null": ("{name}.yml", "not_null"),
    "few rows": ("own_tests/{name}_few.sql", "select count(*) as c from {ref} having count(*) > {number} + 12"),
    "low numbers": ("own_tests/{name}_low.sql", "select id, n from {ref} where n > 60 + {number}"),
    "low sum": ("own_tests/{name}_sum.sql", "select sum(n) as s from {ref} having sum(n) > 400 + {number}"),
}


@dataclasses.dataclass
class Model:
    """A model: which SQL, of which models, and how it is configured."""

    kind: str
    reads: list[str]
    number: int = 0
    materialized: str = ""
    comment: str = ""
    alias: str = ""
    schema: str = ""
    is_enabled: bool = True
    tests: list[str] = dataclasses.field(default_factory=list)
    is_broken: bool = False


@dataclasses.dataclass
class RandomProject:
    """Models by their names, a seed, a macro and a variable."""

    models: dict[str, Model]
    weights: dict[int, int] = dataclasses.field(default_factory=lambda: {0: 1, 1: 2})
    added: int = 1
    factor: int = 2
    has_snapshot: bool = False
    count: int = 0

    def copy(self) -> RandomProject:
        """Return a copy that edits of this one do not change."""
        return copy.deepcopy(self)

    def readers(self, name: str) -> list[str]:
        """Return the models that read a model."""
        return [other for other, model in self.models.items() if name in model.reads]

    def histories(self) -> set[str]:
        """Return the relations that dbt itself keeps by history: a fresh build has other rows."""
        return {'"gold"."item_versions"'} if self.has_snapshot else set()

    def write(self, home: Path) -> None:
        """Write the files of the project, and remove those of the last state."""
        for folder in (*FOLDERS.values(), "seeds", "snapshots", "macros/own", "own_tests"):
            shutil.rmtree(home / folder, ignore_errors=True)
        for path, text in self._files().items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        settings = (home / "dbt_project.yml").read_text().partition("\nvars:")[0]
        settings = settings.replace('test-paths: ["tests"]', 'test-paths: ["tests", "own_tests"]')
        (home / "dbt_project.yml").write_text(f"{settings}\nvars: {{factor: {self.factor}}}\n")

    def _files(self) -> dict[str, str]:
        files = {
            "seeds/weights.csv": "g,m\n" + "".join(f"{g},{m}\n" for g, m in self.weights.items()),
            "macros/own/added.sql": f"{{% macro added(name) %}}{{{{ name }}}} + {self.added}{{% endmacro %}}",
        }
        for name, model in self.models.items():
            files |= _model_files(name, model)
        if self.has_snapshot:
            of = next(name for name, model in self.models.items() if model.kind == "staged")
            files["snapshots/item_versions.yml"] = (
                f"snapshots: [{{name: item_versions, relation: \"ref('{of}')\", config: {{schema: gold, unique_key: id,"
                " strategy: check, check_cols: [n]}}]"
            )
        return files


def _model_files(name: str, model: Model) -> dict[str, str]:
    folder = FOLDERS["staging" if model.kind in STAGING else "history" if model.kind == "history" else "marts"]
    refs = [f"{{{{ ref('{read}') }}}}" for read in model.reads]
    values = {"number": model.number, "first": refs[0] if refs else "", "second": refs[-1] if refs else ""}
    if model.kind == "python":
        code = PYTHON.format(number=model.number, first=model.reads[0])
        files = {f"{folder}/{name}.py": f"# {model.comment}\n{code}"}
        config = {"enabled": model.is_enabled} | ({"alias": model.alias} if model.alias else {})
    else:
        resource = model.reads[0] if model.kind in ("staged", "filtered") else "items"
        values["staged"] = f"{{{{ latest_row_per_key('demo', '{resource}') }}}}"
        code = SQL[model.kind].format(**values)
        if model.is_broken:
            code = code.replace("select ", "select nosuch, ", 1)
        config = _config(model)
        if not model.is_enabled and model.number % 2:
            # dbt then reads the tests in its YAML file before it knows
            del config["enabled"]
            code = f"{{{{ config(enabled=false) }}}}\n{code}"
        files = {f"{folder}/{name}.sql": f"-- {model.comment}\n{code}\n"}
    properties: dict[str, Any] = {"name": name, "config": config}
    if generic := [TESTS[test][1] for test in model.tests if TESTS[test][0].endswith(".yml")]:
        properties["columns"] = [{"name": "id", "data_tests": generic}]
    files[f"{folder}/{name}.yml"] = json.dumps({"models": [properties]})
    for test in model.tests:
        path, sql = TESTS[test]
        if path.endswith(".sql"):
            text = sql.format(ref=f"{{{{ ref('{name}') }}}}", number=model.number)
            files[path.format(name=name)] = text
    return files


def _config(model: Model) -> dict[str, Any]:
    config: dict[str, Any] = {"enabled": model.is_enabled, "contract": {"enforced": False}, "unique_key": "id"}
    config |= {key: value for key in ("alias", "schema") if (value := getattr(model, key))}
    if model.materialized in ("table", "view", "ephemeral"):
        del config["unique_key"]
        return config | {"materialized": model.materialized}
    if model.materialized:
        return config | {"materialized": "incremental", "incremental_strategy": model.materialized}
    columns = {"sums": "'s' || g", "zero as null": "nullif(g, 0)"}.get(model.kind, "id")
    if model.kind == "zero as null":
        config["unique_key"] = "g"
    read = dict.fromkeys(model.reads if model.kind == "both" else model.reads[:1])
    if model.kind not in (*STAGING, "history", "ranked", "joined", "newer"):
        config["meta"] = {"affected_by": {name: [columns] for name in read}}
    return config


def first_project(chance: random.Random) -> RandomProject:
    """Return a project of a staging model for each resource, and some marts."""
    project = RandomProject({"stg_items": Model("staged", ["items"]), "stg_others": Model("staged", ["others"])})
    for _ in range(chance.randint(3, 7)):
        add_model(project, chance)
    for model in project.models.values():
        # `affected_by` cannot name an ephemeral model: the first build is not refused
        for read in model.reads:
            if read in project.models and project.models[read].materialized == "ephemeral":
                project.models[read].materialized = "view"
    project.has_snapshot = chance.random() < 0.3
    return project


def add_model(project: RandomProject, chance: random.Random) -> str:
    """Add a model that reads models of the project."""
    project.count += 1
    name = f"m{project.count}_{chance.choice(['x', 'order', 'Mixed'])}"
    kind = chance.choice([*MARTS, *MARTS, "newer", "python", "filtered", "united", "restaged", "history"])
    enabled = [other for other, model in project.models.items() if model.is_enabled]
    if kind == "restaged":
        reads = [chance.choice([other for other in enabled if project.models[other].kind in STAGING])]
    elif kind == "filtered":
        reads = ["items"]
    elif kind in ("united", "history"):
        reads = []
    else:
        reads = [chance.choice(enabled) for _ in range(2 if kind in READS_TWO else 1)]
    project.models[name] = Model(kind, reads, chance.randint(0, 3))
    if kind in ("ranked", "joined", "newer"):
        project.models[name].materialized = "delete+insert" if kind == "newer" else chance.choice(FREE[:3])
    elif kind in MARTS and chance.random() < 0.25:
        project.models[name].materialized = chance.choice(FREE)
    return name


def _change_number(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    project.models[name].number += 1
    return f"the number of {name}"


def _change_comment(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    project.models[name].comment += "c"
    return f"the comment of {name}"


def _change_macro(project: RandomProject, _: random.Random) -> str:
    project.added += 1
    return "the macro"


def _change_variable(project: RandomProject, _: random.Random) -> str:
    project.factor += 1
    return "the variable"


def _change_seed(project: RandomProject, chance: random.Random) -> str:
    project.weights[chance.randint(0, 3)] = chance.randint(0, 9)
    return "the seed"


def _change_alias(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    project.models[name].alias = chance.choice(["", f"{name} alias", f"{name}-2"])
    return f"the alias of {name}"


def _change_schema(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    if project.models[name].kind != "python":
        project.models[name].schema = chance.choice(["", "gold", "lab"])
    return f"the schema of {name}"


def _change_materialization(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    model = project.models[name]
    if model.kind in MARTS:
        model.materialized = chance.choice(FREE if model.kind in ("ranked", "joined") else ("", *FREE))
    return f"the materialization of {name} to {model.materialized or 'the default'}"


def _change_tests(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    model, test = project.models[name], chance.choice([*TESTS])
    if test in model.tests:
        model.tests.remove(test)
    else:
        model.tests.append(test)
    return f"the test `{test}` of {name}"


def _rename(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    project.count += 1
    new = f"r{project.count}"
    project.models = {new if key == name else key: model for key, model in project.models.items()}
    for model in project.models.values():
        model.reads = [new if read == name else read for read in model.reads]
    return f"{name} is called {new}"


def _delete(project: RandomProject, chance: random.Random) -> str:
    leaves = [name for name in project.models if not project.readers(name) and not name.startswith("stg_")]
    if leaves:
        name = chance.choice(leaves)
        del project.models[name]
        return f"{name} is deleted"
    return "nothing"


def _disable(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    project.models[name].is_enabled = not project.models[name].is_enabled
    return f"{name} is {'en' if project.models[name].is_enabled else 'dis'}abled"


def _break(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    project.models[name].is_broken = project.models[name].kind != "python"
    return f"{name} selects a column that does not exist"


def _add(project: RandomProject, chance: random.Random) -> str:
    return f"{add_model(project, chance)} is new"


def _swap_reads(project: RandomProject, chance: random.Random) -> str:
    name = chance.choice([*project.models])
    model = project.models[name]
    earlier = [*project.models][: [*project.models].index(name)]
    if model.kind in (*MARTS, "newer", "python") and earlier:
        model.reads[chance.randrange(len(model.reads))] = chance.choice(earlier)
    return f"{name} reads {model.reads}"


EDITS: list[Callable[[RandomProject, random.Random], str]] = [
    _change_number,
    _change_number,
    _change_comment,
    _change_macro,
    _change_variable,
    _change_seed,
    _change_alias,
    _change_schema,
    _change_materialization,
    _change_tests,
    _change_tests,
    _rename,
    _delete,
    _disable,
    _break,
    _add,
    _swap_reads,
]
"""What a person does to the project; each returns what it did, in words."""
