{#- The schemas have the names silver and gold in every target: each target has its own file instead. On Spark, which has
    no such file, a build writes to the schemas of its version: silver__000123 and gold__000123.
-#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ return(adapter.dispatch('schema_of_build')(custom_schema_name | trim if custom_schema_name else target.schema)) }}
{%- endmacro %}

{% macro default__schema_of_build(name) -%}
    {{ return(name) }}
{%- endmacro %}

{% macro spark__schema_of_build(name) -%}
    {{ return(name ~ '__' ~ env_var('SPARK_VERSION', 'dev')) }}
{%- endmacro %}
