{#- If dbt is run by hand, read the ledger into a table that `dbt source freshness` and people can query. -#}
{% macro read_ledger() -%}
    {{ return(adapter.dispatch('read_ledger')()) }}
{%- endmacro %}

{% macro default__read_ledger() -%}
    {%- if execute and pipeline_mode() == '' and flags.WHICH not in ('compile', 'parse', 'list', 'show') -%}
        {%- set records = ledger_records('*/*') -%}
        {%- set columns -%}
            {
                'source': 'varchar', 'resource': 'varchar', 'day': 'date', 'status': 'varchar', 'path': 'varchar',
                'content_hash': 'varchar'
            }
        {%- endset -%}
        create schema if not exists _pipeline;
        create or replace table _pipeline.partitions (
            source varchar, resource varchar, dt date, status varchar, path varchar, content_hash varchar
        );
        {% if run_query('select count(*) from glob(' ~ string_literal(records) ~ ')').columns[0].values()[0] > 0 %}
        insert into _pipeline.partitions
        select * from read_json({{ string_literal(records) }}, columns = {{ columns }}, hive_partitioning = false);
        {% endif %}
    {%- endif -%}
{%- endmacro %}
