"""Commands that exchange contracts with other tools: export, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("export")
@click.argument("names", metavar="[SOURCE]...", nargs=-1)
@click.option("--odcs", is_flag=True, required=True, help="In the Open Data Contract Standard 3.1, as YAML.")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write SOURCE.odcs.yaml files to this folder.  [default: print them]",
)
def sources_export(names: Sequence[str], odcs: bool, output_dir: Path | None) -> int:  # noqa: ARG001 — the only format
    """Write contracts in a standard that other tools read; without names, all of them."""
    from scripts.admin.odcs_files import odcs_text
    from scripts.contracts import catalog
    from scripts.utils.files import make_dir, write_atomically

    texts = {name: odcs_text(catalog.pick(name)) for name in dict.fromkeys(names or catalog.load())}
    if output_dir is None:
        click.echo("---\n".join(texts.values()), nl=False)
        return 0
    make_dir(output_dir)
    for name, text in texts.items():
        path = output_dir / f"{name}.odcs.yaml"
        write_atomically(path, text.encode())
        click.echo(str(path))
    return 0


@click.command("import")
@click.option(
    "--odcs",
    "path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of the Open Data Contract Standard 3, as YAML.",
)
@click.option("--name", help="Name of the source.  [default: the name in the file]")
def sources_import(path: Path, name: str | None) -> int:
    """Write the contract that a file describes, with its models, and print what is to be filled in."""
    from scripts.admin import generated_files, new_source
    from scripts.admin.odcs_files import read_odcs
    from scripts.cli.sources import wanted_files

    source, text, to_fill_in = read_odcs(path, name)
    written = new_source.write_source(source.source, text)
    for file in dict.fromkeys([*written, *generated_files.write_files(wanted_files())]):
        click.echo(f"wrote {file}")
    for item in to_fill_in:
        click.echo(f"to fill in: {item}")
    return 0
