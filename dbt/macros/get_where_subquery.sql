{#- Tests of a build look at the rows that the build changed: the others were tested when they were written.

    `where: changed_rows`, the project's default, means that; it means all rows where the model was made from scratch,
    where the build was asked for full tests, and outside of a build.
-#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') -%}
    {%- if where != 'changed_rows' -%}
        {{ return(default__get_where_subquery(relation)) }}
    {%- endif -%}
    {%- set tested = graph.nodes.get(model.attached_node) if execute and model.attached_node else none -%}
    {%- if tested is none or not tested.config.unique_key or not tests_changed_rows() or is_rebuilt(tested.name) -%}
        {{ return(relation) }}
    {%- endif -%}
    {%- set key = key_columns(tested.config.unique_key) -%}
    {%- set window = in_keys(key, "changes." ~ tested.name) if table_exists('changes', tested.name) else "false" -%}
    {{ return("(select * from " ~ relation ~ " where " ~ window ~ ") as changed_rows") }}
{%- endmacro %}

{% macro tests_changed_rows() -%}
    {%- if not table_exists('meta', 'build') -%}
        {{ return(false) }}
    {%- endif -%}
    {{ return(run_query("select not bool_or(full_tests) from meta.build").columns[0].values()[0]) }}
{%- endmacro %}
