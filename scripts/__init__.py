"""The pipeline's core: every door (CLI, Airflow, Prefect, n8n) calls the functions of this package."""
