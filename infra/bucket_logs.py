"""Task logs of workers in the bucket: a worker shares no folder with the API server, and its container may be gone.

Airflow reads this module by `LOGGING_CONFIG_CLASS` in the workers, which write, and in the API server, which reads. A
log is in the bucket when its task has ended; while the task runs, the API server asks the worker.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.config_templates.airflow_local_settings import BASE_LOG_FOLDER, DEFAULT_LOGGING_CONFIG

from scripts.bronze.stores import open_store
from scripts.errors import PipelineError

if TYPE_CHECKING:
    import structlog
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

LOGGING_CONFIG = DEFAULT_LOGGING_CONFIG
_FOLDER = "_logs"


class BucketLogs:
    """The logs of tasks in the folder `_logs` of Bronze; the interface is Airflow's `RemoteLogIO`."""

    processors: tuple[structlog.typing.Processor, ...] = ()

    def upload(self, path: os.PathLike[str] | str, ti: RuntimeTaskInstanceProtocol | None = None) -> None:  # noqa: ARG002 — Airflow's signature
        """Move a log from the worker to the bucket; if that fails, it stays on the worker.

        The worker's process starts each task by a fork, and after a fork, the client of the bucket hangs in the new
        process if the old one has used it. So another process sends the log.
        """
        file = Path(BASE_LOG_FOLDER, path)
        if not file.is_file():
            return
        child = os.fork()
        if child == 0:
            code = 1
            try:
                open_store().document(f"{_FOLDER}/{Path(path).as_posix()}").write(file.read_bytes())
                code = 0
            finally:
                # whatever happens, this process must not go on as a second worker
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if status == 0:
            file.unlink()

    def read(self, relative_path: str, ti: RuntimeTaskInstanceProtocol) -> tuple[list[str], list[str] | None]:  # noqa: ARG002 — the same
        """Return where a log is, and its text; no text if the bucket does not have it."""
        try:
            document = open_store().document(f"{_FOLDER}/{relative_path}")
            content = document.read()
        except (PipelineError, OSError) as error:
            return [str(error)], None
        return ([], None) if content is None else ([document.place], [content.decode(errors="replace")])


REMOTE_TASK_LOG = BucketLogs()
