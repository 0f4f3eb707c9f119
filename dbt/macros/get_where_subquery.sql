{#- Return the rows that a test reads: the whole table or, if the plan says so, the rows that the build changed. -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') -%}
    {%- set window = none -%}
    {%- if execute and is_planned_incremental(model.unique_id) -%}
        {%- set tested = graph.nodes[model.attached_node] -%}
        {%- set changes = build_plan()[tested.unique_id].changes -%}
        {%- set window = has_key_in(key_columns(tested.config.unique_key), '__rows', changes) -%}
    {%- endif -%}
    {%- if window is none -%}
        {{ return(default__get_where_subquery(relation)) }}
    {%- endif -%}
    {%- set rows = '(select * from ' ~ relation ~ ' as __rows where ' ~ window ~ ')' -%}
    {{ return('(select * from ' ~ rows ~ ' as __changed where ' ~ where ~ ') as dbt_subquery' if where else rows ~ ' as dbt_subquery') }}
{%- endmacro %}
