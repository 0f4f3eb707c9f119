"""The plugin of dbt-duckdb that `dbt/profiles.yml` names: it confines dbt's database, and has the key of pseudonyms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin
from typing_extensions import override

from scripts.warehouse.file_access import confine

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb


class Plugin(BasePlugin):
    """Limits the file access of each database after dbt has opened it, before a model or a macro runs."""

    _folders: Sequence[str] = ()

    @override
    def initialize(self, plugin_config: dict[str, Any]) -> None:
        listed = ",".join(map(str, plugin_config["folders"])).split(",")
        self._folders = [folder.strip() for folder in listed if folder.strip()]

    @override
    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        confine(conn, self._folders)
