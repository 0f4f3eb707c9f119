"""dlt at its best on two cores, to Parquet on disk; it reads its settings from the environment when it is imported."""

import os

os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    # resources in parallel, large buffers and files, no schema to guess
    "EXTRACT__WORKERS": "8",
    "EXTRACT__MAX_PARALLEL_ITEMS": "20",
    "NORMALIZE__WORKERS": "2",
    "NORMALIZE__START_METHOD": "fork",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
    "DATA_WRITER__FILE_MAX_ITEMS": "250000",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false",
    "DATA_WRITER__COMPRESSION": "zstd",
}

import dlt


def load(resources, out):
    """Load resources of dlt into a folder."""
    destination = dlt.destinations.filesystem(bucket_url=f"file://{out}/data")
    pipeline = dlt.pipeline("bench", pipelines_dir=f"{out}/state", destination=destination)
    pipeline.run(resources, loader_file_format="parquet")
