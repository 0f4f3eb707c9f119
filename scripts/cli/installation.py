"""Commands for an installation: init, doctor, demo."""

from __future__ import annotations

from pathlib import Path

import click

from scripts.cli import options


@click.command()
@click.option("--file", "path", type=click.Path(path_type=Path), help="The file.  [default: .env of the repository]")
@click.option(
    "--secrets-dir", type=click.Path(path_type=Path), help="Also write each secret to its own file in this folder."
)
def init(path: Path | None, secrets_dir: Path | None) -> int:
    """Add the secrets, the user and the ports that .env lacks; existing values stay."""
    from scripts.admin.env_file import ENV_FILE, init_env, write_secret_files

    made = init_env(path or ENV_FILE)
    click.echo(f"{path or ENV_FILE}: {f'added {len(made)} values' if made else 'nothing was missing'}")
    if secrets_dir is not None:
        click.echo(f"{secrets_dir}: {len(write_secret_files(secrets_dir, path or ENV_FILE))} files")
    return 0


@click.command()
@click.option("--docker", is_flag=True, help="Also check what `make up` needs.")
@click.option("--deep", is_flag=True, help="Also read every block of the published warehouse.")
@options.json_option
def doctor(docker: bool, deep: bool, as_json: bool) -> int:
    """Check this installation, and print each problem with its fix."""
    from scripts.admin import airflow_doctor, docker_doctor
    from scripts.admin.doctor import examine
    from scripts.cli.printing import show_findings

    more = docker_doctor.examine() if docker else ()
    return show_findings([*examine(deep=deep), *airflow_doctor.examine(), *more], as_json=as_json)


@click.command()
def demo() -> int:
    """Load three days from the sample API, which injects faults, and build a warehouse in data/demo."""
    from scripts.cli.demo import run_demo

    return run_demo()
