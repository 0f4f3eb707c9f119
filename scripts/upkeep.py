"""The commands that look after an installation: quarantine, rollback, sources, secrets, health, documentation, dbt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.ledger import Partition
    from scripts.runs import Run

Command = TypeVar("Command", bound="Callable[..., Any]")


def json_option(command: Command) -> Command:
    """Add the option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")(command)


def start_run() -> Run:
    """Return a run of the command line."""
    from scripts.runs import Run

    return Run.start(door="cli")


@click.group()
def quarantine() -> None:
    """Rows that were received and not admitted."""


def _some_days(command: Command) -> Command:
    for option in (
        click.option("--end-date", metavar="YYYY-MM-DD", help="Last day (UTC), included.  [default: the last loaded]"),
        click.option("--start-date", metavar="YYYY-MM-DD", help="First day (UTC).  [default: the first loaded]"),
        click.option("--resource", "resources", multiple=True, help="Resource, may be repeated.  [default: all]"),
        click.option("--source", "sources", multiple=True, help="Source, may be repeated.  [default: all]"),
    ):
        command = option(command)
    return command


@quarantine.command("list")
@_some_days
@json_option
def quarantine_list(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None, as_json: bool
) -> int:
    """Count quarantined rows by partition and rule."""
    from scripts.views import show_quarantine

    started = start_run()
    show_quarantine(started.store, _loaded(started, sources, resources, start_date, end_date), as_json=as_json)
    return 0


@quarantine.command("show")
@_some_days
def quarantine_show(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None
) -> int:
    """Print quarantined rows as JSON Lines: raw JSON, rule, reason, partition, run."""
    from scripts.bronze import quarantined_rows
    from scripts.quarantine import encode

    started = start_run()
    for partition in _loaded(started, sources, resources, start_date, end_date):
        if (entry := started.store.entry(partition)) is not None:
            sys.stdout.write(encode(quarantined_rows(started.store, entry)).decode())
    return 0


@quarantine.command("replay")
@_some_days
@json_option
def quarantine_replay(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None, as_json: bool
) -> int:
    """Admit the quarantined rows that pass now; `pipeline build` then takes them in."""
    from scripts import catalogue
    from scripts.replay import replay_partition
    from scripts.views import show_replay

    started = start_run()
    partitions = [
        partition
        for partition in _loaded(started, sources, resources, start_date, end_date)
        if started.store.quarantine(partition).exists()
    ]
    show_replay(
        [replay_partition(catalogue.pick(partition.source), partition, started) for partition in partitions],
        as_json=as_json,
    )
    return 0


@click.command()
@click.option("--to", "version", metavar="VERSION", help="Version to publish.  [default: the one before]")
@click.option("--list", "listing", is_flag=True, help="List the kept versions and do nothing.")
def rollback(version: str | None, listing: bool) -> int:
    """Publish the version before the current one; the next build starts from it."""
    from scripts.build import roll_back, warehouse
    from scripts.docs import docs_page, write_docs

    target = warehouse()
    if listing:
        for name in target.versions():
            click.echo(f"{name} published" if name == target.current() else name)
        return 0
    started = start_run()
    click.echo(roll_back(started, version))
    if docs_page().exists():
        write_docs(started)
    return 0


@click.group()
def sources() -> None:
    """The catalogue of sources in scripts/sources/."""


@sources.command("check")
def sources_check() -> int:
    """Check every contract, and that what is generated from them is up to date."""
    from scripts import catalogue, generate
    from scripts.errors import ContractError

    loaded = catalogue.load()
    if stale := generate.stale_files():
        raise ContractError(
            f"out of date: {', '.join(str(path) for path in stale)}",
            where="generated files",
            hint="`pipeline sources generate`",
        )
    for source in loaded.values():
        click.echo(f"{source.source}: {', '.join(source.resources)}")
    return 0


@sources.command("generate")
def sources_generate() -> int:
    """Write the files that are made from the contracts: the sources of the dbt project."""
    from scripts import generate

    for path in generate.write_files():
        click.echo(str(path))
    return 0


@click.command()
@click.option("--file", "path", type=click.Path(path_type=Path), help="The file.  [default: .env of the repository]")
@click.option(
    "--secrets-dir", type=click.Path(path_type=Path), help="Write each secret of it to a file of its own, too."
)
def init(path: Path | None, secrets_dir: Path | None) -> int:
    """Make the secrets, the user and the ports that .env lacks; what is set stays as it is."""
    from scripts.env_file import ENV_FILE, init_env, write_secret_files

    made = init_env(path or ENV_FILE)
    click.echo(f"{path or ENV_FILE}: {f'added {len(made)} values' if made else 'nothing was missing'}")
    if secrets_dir is not None:
        click.echo(f"{secrets_dir}: {len(write_secret_files(secrets_dir, path or ENV_FILE))} files")
    return 0


@click.command()
@json_option
def health(as_json: bool) -> int:
    """Show how fresh the data is and what is wrong; exits non-zero unless all is well."""
    from scripts.health import health as examine
    from scripts.views import show_health

    return show_health(examine(start_run().store), as_json=as_json)


@click.command()
def docs() -> int:
    """Write dbt's site for the people who use the data, and the health page that leads to it."""
    from scripts.docs import write_docs

    started = start_run()
    click.echo(str(write_docs(started)))
    _write_health(started)
    return 0


@click.command()
def report() -> int:
    """Write the health page, and the same as health.json for programs."""
    _write_health(start_run())
    return 0


def _write_health(run: Run) -> None:
    from scripts.report import write_pages

    for path in write_pages(run.store):
        click.echo(str(path))


@click.command()
@click.option("--docker", is_flag=True, help="Check what `make up` needs, too.")
@json_option
def doctor(docker: bool, as_json: bool) -> int:
    """Check this installation; each problem comes with its fix."""
    from scripts import docker_doctor
    from scripts.doctor import examine
    from scripts.views import show_findings

    return show_findings([*examine(), *(docker_doctor.examine() if docker else ())], as_json=as_json)


@click.command()
def demo() -> int:
    """Three days from the sample API to the warehouse in data/demo, with faults on the way."""
    from scripts.demo import run_demo

    return run_demo()


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dbt(arguments: Sequence[str]) -> int:
    """Run any dbt command on a private copy of the published warehouse: `pipeline dbt docs generate`."""
    from scripts.build import run_dbt_on_copy

    return run_dbt_on_copy(start_run(), arguments)


def _loaded(
    started: Run, source_names: Sequence[str], resource_names: Sequence[str], start: str | None, end: str | None
) -> Sequence[Partition]:
    from scripts import catalogue
    from scripts.days import parse_day

    for name in source_names:
        catalogue.pick(name)
    first, last = start and parse_day(start), end and parse_day(end)
    return [
        entry.partition
        for entry in started.store.entries()
        if (not source_names or entry.source in source_names)
        and (not resource_names or entry.resource in resource_names)
        and (not first or entry.day >= first)
        and (not last or entry.day <= last)
    ]


COMMANDS = (quarantine, rollback, sources, init, health, report, docs, doctor, demo, dbt)
