-- PostgreSQL runs this once, when the volume is new: it creates Prefect's database in addition to Airflow's.
create database prefect;
\connect prefect
create extension pg_trgm;
