{#- dbt-spark turns ANSI mode off. With it, a value that does not fit is an error as in DuckDB, and "x" is a name. So each
    statement of a model or a test turns it on first.
-#}
{% macro strict_session() -%}
    {%- do run_query('set spark.sql.ansi.enabled = true') -%}
{%- endmacro %}

{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {%- do strict_session() -%}
    {{ return(dbt.spark__create_table_as(temporary, relation, compiled_code, language)) }}
{%- endmacro %}

{% macro spark__create_view_as(relation, sql) -%}
    {%- do strict_session() -%}
    {{ return(dbt.spark__create_view_as(relation, sql)) }}
{%- endmacro %}

{% macro spark__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
    {%- do strict_session() -%}
    {{ return(dbt.default__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit)) }}
{%- endmacro %}
