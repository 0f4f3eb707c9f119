{#- Return the path of the file of an `external` model: in a build, it is in the folder of the new version. -#}
{% macro external_location(relation, config) -%}
    {%- set folder = env_var('WAREHOUSE_FILES', '../data/dev_files') -%}
    {%- set name = relation.schema ~ '.' ~ relation.identifier -%}
    {%- if (config.get('options') or {}).get('partition_by') is none -%}
        {{ return(folder ~ '/' ~ name ~ '.' ~ config.get('format', 'parquet')) }}
    {%- endif -%}
    {{ return(folder ~ '/' ~ name) }}
{%- endmacro %}
