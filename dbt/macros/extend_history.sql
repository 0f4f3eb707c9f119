{#- Incremental strategy of histories: days after all built days extend the table.

    If other days change, the plan rebuilds the table in full.
-#}
{% macro get_incremental_extend_history_sql(arg_dict) -%}
    {%- set target, versions = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {{ replace_rows(target, versions, key, versions, arg_dict['dest_columns']) }}
{%- endmacro %}
