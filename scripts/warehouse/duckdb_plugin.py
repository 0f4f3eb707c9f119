"""The plugin of dbt-duckdb in `dbt/profiles.yml`: file access, the bucket of Bronze, the key of pseudonyms."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin
from typing_extensions import override

from scripts.warehouse.bucket_access import register_bucket
from scripts.warehouse.file_access import confine
from scripts.warehouse.pseudonyms import hand_over_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb


class Plugin(BasePlugin):
    """Limits the file access of each database and passes the key to each connection, before a model runs."""

    _folders: Sequence[str] = ()
    _pseudonym_key = ""
    _bronze = ""
    _bucket = ""

    @override
    def initialize(self, plugin_config: dict[str, Any]) -> None:
        listed = ",".join(map(str, plugin_config["folders"])).split(",")
        output_folder = os.environ.get(plugin_config["output_folder_variable"], "../data/dev_files")
        self._folders = [*(folder.strip() for folder in listed if folder.strip()), output_folder, *_linked_packages()]
        self._pseudonym_key = str(plugin_config.get("pseudonym_key") or "")
        self._bronze = str(plugin_config.get("bronze") or "")
        self._bucket = str(plugin_config.get("bucket") or "")

    @override
    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        register_bucket(conn, self._bronze, json.loads(self._bucket) if self._bucket else None)
        confine(conn, self._folders)

    @override
    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        hand_over_key(cursor, self._pseudonym_key)


def _linked_packages() -> Sequence[str]:
    """Return the folders of packages of this machine, which dbt installs as links; DuckDB looks where a link leads."""
    installed = Path("dbt_packages")
    return [str(path.resolve()) for path in installed.iterdir() if path.is_symlink()] if installed.is_dir() else []
