"""Commands that look after an installation: init, doctor, demo."""

from __future__ import annotations

from pathlib import Path

import click

from scripts.cli import options


@click.command()
@click.option("--file", "path", type=click.Path(path_type=Path), help="The file.  [default: .env of the repository]")
@click.option(
    "--secrets-dir", type=click.Path(path_type=Path), help="Write each secret of it to a file of its own, too."
)
def init(path: Path | None, secrets_dir: Path | None) -> int:
    """Make the secrets, the user and the ports that .env lacks; what is set stays as it is."""
    from scripts.admin.env_file import ENV_FILE, init_env, write_secret_files

    made = init_env(path or ENV_FILE)
    click.echo(f"{path or ENV_FILE}: {f'added {len(made)} values' if made else 'nothing was missing'}")
    if secrets_dir is not None:
        click.echo(f"{secrets_dir}: {len(write_secret_files(secrets_dir, path or ENV_FILE))} files")
    return 0


@click.command()
@click.option("--docker", is_flag=True, help="Check what `make up` needs, too.")
@click.option("--deep", is_flag=True, help="Read every block of the published warehouse, too.")
@options.json_option
def doctor(docker: bool, deep: bool, as_json: bool) -> int:
    """Check this installation; each problem comes with its fix."""
    from scripts.admin import airflow_doctor, docker_doctor
    from scripts.admin.doctor import examine
    from scripts.cli.printing import show_findings

    more = docker_doctor.examine() if docker else ()
    return show_findings([*examine(deep=deep), *airflow_doctor.examine(), *more], as_json=as_json)


@click.command()
def demo() -> int:
    """Three days from the sample API to the warehouse in data/demo, with faults on the way."""
    from scripts.cli.demo import run_demo

    return run_demo()
