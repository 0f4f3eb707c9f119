"""What a worker that only loads needs, in Airflow and in Prefect: Bronze in a bucket."""

from __future__ import annotations

import sys

from scripts.config import settings


def refuse_a_folder() -> None:
    """Exit with the reason if Bronze is in a folder: the worker shares none with the other machines."""
    config = settings()
    if not config.is_in_bucket:
        sys.exit(
            f"Bronze is in the folder {config.bronze_location}, which only this worker would have; "
            "set BRONZE_DIR to a bucket, such as s3://bucket/prefix"
        )
