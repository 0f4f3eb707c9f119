{#- Incremental strategy of marts: the rows of the keys that a change upstream touches are computed again.

    `meta.affected_by` names, for each upstream model, its columns that make up this model's key. The model filters
    with `in_affected_keys(...)`; this strategy replaces exactly those keys, so that a row that has lost its reason goes too.
-#}
{% macro get_incremental_replace_affected_keys_sql(arg_dict) -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {%- set touched = model.name ~ '__touched' -%}
    {%- set keys = affected_keys() -%}
    {%- set all_keys = "select " ~ key | join(', ') ~ " from " ~ arg_dict['target_relation'] -%}
    create or replace temp table {{ touched }} as
    select * from ({{ keys if keys is not none else all_keys }}) as keys({{ key | join(', ') }});

    {{ replace_rows(arg_dict['target_relation'], arg_dict['temp_relation'], key, touched, arg_dict['dest_columns']) }}
{%- endmacro %}

{#- A condition on the columns that make up the model's key: whether this build has to compute their row again. -#}
{% macro in_affected_keys(columns) -%}
    {%- set keys = affected_keys() if execute else none -%}
    {%- if keys is none -%}
        true
    {%- else -%}
        ({{ columns | join(', ') }}) in ({{ keys }})
    {%- endif -%}
{%- endmacro %}

{#- A query for the keys to compute again, or none where all are: an upstream model was made from scratch. -#}
{% macro affected_keys() -%}
    {%- set queries = [] -%}
    {%- for upstream, columns in config.get('meta').affected_by.items() -%}
        {%- if is_rebuilt(upstream) -%}
            {{ return(none) }}
        {%- endif -%}
        {%- if table_exists('changes', upstream) -%}
            {%- do queries.append("select " ~ columns | join(', ') ~ " from changes." ~ upstream) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set nothing = "select " ~ key_columns(config.get('unique_key')) | join(', ') ~ " from " ~ this ~ " limit 0" -%}
    {{ return(queries | join(' union ') if queries else nothing) }}
{%- endmacro %}
