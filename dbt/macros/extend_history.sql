{#- Incremental strategy of histories: days that come after all built ones extend the table.

    Where other days change, the plan has the table made in full.
-#}
{% macro get_incremental_extend_history_sql(arg_dict) -%}
    {%- set target, versions = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {{ replace_rows(target, versions, key, versions, arg_dict['dest_columns']) }}
{%- endmacro %}
