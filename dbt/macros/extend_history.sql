{#- Incremental strategy of histories: versions of days in order extend the table, all others make it anew. -#}
{% macro get_incremental_extend_history_sql(arg_dict) -%}
    {%- set target, versions = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {%- set source_name, table_name = model.sources[0] -%}
    {%- set keys = versions if is_in_order(source_name, table_name) else target -%}
    {{ replace_rows(target, versions, key, keys, arg_dict['dest_columns']) }}
{%- endmacro %}
