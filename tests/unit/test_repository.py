"""The repository itself: folders named like libraries, documented targets, pins, generated files."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from scripts.admin import generated_files
from scripts.cli.sources import wanted_files
from scripts.config import PROJECT_DIR

MAKEFILE = (PROJECT_DIR / "Makefile").read_text()


@pytest.mark.parametrize("name", ["airflow", "prefect", "dbt"])
def test_a_folder_that_is_named_like_a_library_does_not_hide_it(name):
    """Without `__init__.py` in the folder, importing the name still finds the library."""
    assert not (PROJECT_DIR / name / "__init__.py").exists()
    spec = importlib.util.find_spec(name)
    assert "site-packages" in str(spec.origin or next(iter(spec.submodule_search_locations)))


def test_each_library_has_the_same_major_version_on_every_python():
    """The tests run on one version of Python, and the image has another one."""
    needed = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=~! ]", line)[0].lower().replace("_", "-") for line in needed}
    locked = tomllib.loads((PROJECT_DIR / "uv.lock").read_text())["package"]
    majors = {name: {item["version"].split(".")[0] for item in locked if item["name"] == name} for name in names}

    assert {name: found for name, found in majors.items() if len(found) != 1} == {}


def test_no_module_is_called_like_a_dbt_plugin():
    """dbt imports every module called `dbt_…` that it finds."""
    assert list((PROJECT_DIR / "scripts").rglob("dbt_*.py")) == []


def test_every_target_that_people_call_is_documented():
    targets = set(re.findall(r"^\.PHONY: ([a-z0-9-]+)$", MAKEFILE, flags=re.MULTILINE))
    listed = subprocess.run(["make"], cwd=PROJECT_DIR, text=True, capture_output=True, check=True).stdout
    documented = {line.split()[0] for line in listed.splitlines()}

    assert targets - documented == {"core"}


def test_what_is_generated_from_the_catalogue_is_up_to_date():
    assert generated_files.stale_files(wanted_files()) == []


def test_one_duckdb_version_everywhere():
    lock = tomllib.loads((PROJECT_DIR / "uv.lock").read_text())
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())
    (locked,) = [package["version"] for package in lock["package"] if package["name"] == "duckdb"]

    assert f"duckdb=={locked}" in project["project"]["dependencies"]


def test_the_lock_names_no_registry_but_the_public_one():
    hosts = set(re.findall(r"https?://([^/\"]+)", (PROJECT_DIR / "uv.lock").read_text()))

    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def dbt_documents():
    return {
        path: yaml.safe_load(path.read_text())
        for folder in ("models", "snapshots")
        for path in sorted((PROJECT_DIR / "dbt" / folder).rglob("*.yml"))
    }


def test_every_model_has_a_file_beside_it_that_states_its_grain_and_columns():
    described = {model["name"]: model for document in dbt_documents().values() for model in document.get("models", [])}
    models = [path for folder in ("models", "snapshots") for path in (PROJECT_DIR / "dbt" / folder).rglob("*.sql")]

    assert {path.stem for path in models} == set(described)
    for path in models:
        assert path.with_suffix(".yml").exists()
        model = described[path.stem]
        assert re.match(r"One row per ", model["description"]), path.stem
        assert all(column["description"] for column in model["columns"])


def test_every_macro_is_described_with_its_arguments():
    folders = ("macros", "tests/generic")
    text = "".join(path.read_text() for name in folders for path in (PROJECT_DIR / "dbt" / name).rglob("*.sql"))
    written = {
        ("test_" if kind == "test" else "") + name: [part.partition("=")[0].strip() for part in arguments.split(",")]
        for kind, name, arguments in re.findall(r"\{%-?\s*(macro|test)\s+(\w+)\(([^)]*)\)", text)
        # what `adapter.dispatch` calls does what the macro of that name says
        if not name.startswith(("default__", "spark__"))
    }
    document = yaml.safe_load((PROJECT_DIR / "dbt" / "macros" / "_macros.yml").read_text())
    described = {macro["name"]: [item["name"] for item in macro["arguments"]] or [""] for macro in document["macros"]}

    assert described == written
    for macro in document["macros"]:
        assert macro["description"], macro["name"]
        # an unquoted comma in `{…}` would make a key of its own, which dbt refuses
        assert all(set(item) == {"name", "type", "description"} for item in macro["arguments"]), macro["name"]
        assert all(item["type"] and item["description"] for item in macro["arguments"]), macro["name"]


def test_what_exposures_use_is_public():
    documents = list(dbt_documents().values())
    exposures = [item for document in documents for item in document.get("exposures", [])]
    used = {name for item in exposures for link in item["depends_on"] for name in re.findall(r"ref\('(\w+)'\)", link)}
    models = {item["name"]: item for document in documents for item in document.get("models", [])}

    assert used
    assert {models[name]["config"]["access"] for name in used} == {"public"}


def test_every_mart_says_how_many_rows_it_has_and_why():
    for path in (PROJECT_DIR / "dbt" / "models" / "marts").glob("*.sql"):
        text = path.read_text()
        assert "expected_rows_sql" in text, path.stem
        assert "expected_rows_reason" in text, path.stem
        assert "affected_by" in text, path.stem


def test_every_setting_of_a_contract_is_documented():
    """`docs/adding-a-source.md` is the reference of the catalog's keys."""
    from scripts.contracts import source  # noqa: PLC0415 — the classes are looked up by their base

    text = (PROJECT_DIR / "docs" / "adding-a-source.md").read_text()
    models = [value for value in vars(source).values() if isinstance(value, type)]
    keys = {key for model in models for key in getattr(model, "model_fields", {})}

    assert sorted(key for key in keys if f"`{key}`" not in text and f"{key}:" not in text) == []


def test_the_readme_names_targets_and_commands_that_exist():
    text = "".join((PROJECT_DIR / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    targets = set(re.findall(r"\bmake ([a-z][a-z0-9-]+)", text))
    known = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, flags=re.MULTILINE))

    assert targets <= known
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (PROJECT_DIR / link).exists(), link


def test_modules_stay_small_enough_to_read():
    sizes = {path.name: len(path.read_text().splitlines()) for path in Path(PROJECT_DIR / "scripts").rglob("*.py")}

    assert {name: size for name, size in sizes.items() if size > 400} == {}
