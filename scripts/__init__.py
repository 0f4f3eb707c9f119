"""The core of the pipeline: every entry point (CLI, Airflow, Prefect, n8n) calls the functions of this package."""
