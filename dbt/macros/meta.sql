{#- What `pipeline build` tells a build: tables of the schema `meta`, which scripts/warehouse/build_state.py writes.

    meta.build           one row while a build runs: its id, and whether tests look at all rows
    meta.partitions      the ledger, with the content that the tables already hold (`built_hash`)
    meta.rebuilt_models  models that this build made from scratch
    changes.<model>      rows that this build took away from, or put into, a model
-#}

{% macro require_build() -%}
    {%- if execute and flags.WHICH in ('build', 'run', 'test', 'seed', 'snapshot') and not table_exists('meta', 'build') -%}
        {{ exceptions.raise_compiler_error(
            "this project builds from the pipeline's ledger: run `pipeline build`, or `pipeline dbt " ~ flags.WHICH ~ "`"
        ) }}
    {%- endif -%}
{%- endmacro %}

{% macro table_exists(schema_name, table_name) -%}
    {%- set query -%}
        select count(*) from duckdb_tables()
        where schema_name = '{{ schema_name }}' and table_name = '{{ table_name }}' and not internal
    {%- endset -%}
    {{ return(run_query(query).columns[0].values()[0] > 0) }}
{%- endmacro %}

{% macro mark_rebuilt() -%}
    {%- if execute and not is_incremental() -%}
        drop table if exists changes.{{ this.identifier }};
        insert into meta.rebuilt_models values ('{{ this.identifier }}');
    {%- else -%}
        select 1
    {%- endif -%}
{%- endmacro %}

{% macro is_rebuilt(model_name) -%}
    {%- set query = "select count(*) from meta.rebuilt_models where model = '" ~ model_name ~ "'" -%}
    {{ return(run_query(query).columns[0].values()[0] > 0) }}
{%- endmacro %}
