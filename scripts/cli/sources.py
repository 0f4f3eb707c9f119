"""Commands for the catalog of sources: check, generate, new, export, import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts.cli import options
from scripts.cli.new_source import sources_new
from scripts.cli.odcs import sources_export, sources_import

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def wanted_files() -> Mapping[Path, str]:
    """Return the content of every generated file by its path."""
    from scripts.admin import generated_files
    from scripts.cli import main, reference

    return {**generated_files.generated_files(), reference.PAGE: reference.cli_page(main.cli)}


@click.group()
def sources() -> None:
    """The catalog of sources in scripts/sources/."""


@sources.command("check")
def sources_check() -> int:
    """Check every contract, and that the generated files are up to date."""
    from scripts.admin import generated_files
    from scripts.bronze.loaded_contracts import outdated_days
    from scripts.contracts import catalog
    from scripts.errors import ContractError, naming_partition
    from scripts.extract.functions import functions_of, load_function
    from scripts.extract.rows import RowReader
    from scripts.loading.rule_checks import RuleChecker

    loaded = catalog.load()
    for source in loaded.values():
        for name, resource in source.resources.items():
            with naming_partition(f"{source.source}/{name}"):
                RowReader(resource)
                RuleChecker(resource)
                for function in functions_of(source, resource):
                    load_function(function)
    if stale := generated_files.stale_files(wanted_files()):
        raise ContractError(
            f"out of date: {', '.join(str(path) for path in stale)}",
            where="generated files",
            hint="`pipeline sources generate`",
        )
    for source in loaded.values():
        click.echo(f"{source.source}: {', '.join(source.resources)}")
    for days in outdated_days(options.start_run().store, loaded.values()):
        click.echo(f"{days}; {days.remedy}, {days.consequence}")
    return 0


@sources.command("generate")
def sources_generate() -> int:
    """Write the files that are generated from contracts, settings and commands: dbt's sources, the reference pages."""
    from scripts.admin import generated_files

    for path in generated_files.write_files(wanted_files()):
        click.echo(str(path))
    return 0


for _command in (sources_new, sources_export, sources_import):
    sources.add_command(_command)
