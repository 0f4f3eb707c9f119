-- Runs once, when the volume is new: Prefect's database beside Airflow's.
create database prefect;
\connect prefect
create extension pg_trgm;
