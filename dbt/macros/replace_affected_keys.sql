{#- Incremental strategy of marts: the rows of the keys that a change upstream affects are computed again.

    `meta.affected_by` names, for each upstream model, its columns that make up this model's key. The model filters
    with `in_affected_keys(...)`; this strategy replaces exactly those keys, so that a row that has lost its reason
    goes too.
-#}
{% macro get_incremental_replace_affected_keys_sql(arg_dict) -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {%- set affected = temporary_table('affected keys') -%}
    create or replace temp table {{ affected }} as
    select * from ({{ affected_keys() }}) as __affected({{ quoted_columns(key) | join(', ') }});

    {{ replace_rows(arg_dict['target_relation'], arg_dict['temp_relation'], key, affected, arg_dict['dest_columns']) }}
{%- endmacro %}

{#- A condition on the columns that make up the model's key: whether this build has to compute their row again. -#}
{% macro in_affected_keys(columns) -%}
    {%- if not is_planned_incremental(model.unique_id) -%}
        {{ return('true') }}
    {%- endif -%}
    {%- set names, conditions = numbered_columns(columns), [] -%}
    {%- for column in columns -%}
        {%- do conditions.append(
            '__affected.' ~ names[loop.index0] ~ ' is not distinct from (' ~ quoted_expression(column) ~ ')'
        ) -%}
    {%- endfor -%}
    exists (
        select 1 from ({{ affected_keys() }}) as __affected({{ names | join(', ') }}) where {{ conditions | join(' and ') }}
    )
{%- endmacro %}

{#- A query for the keys to compute again, from the changes of the upstream models. -#}
{% macro affected_keys() -%}
    {%- set queries = [] -%}
    {%- for upstream, columns in (model.config.meta.affected_by or {}).items() -%}
        {%- for unique_id, plan in build_plan().items() if plan.changes and unique_id in upstream_nodes() -%}
            {%- if graph.nodes[unique_id].name == upstream -%}
                {%- set names = [] -%}
                {%- for column in columns %}{% do names.append(quoted_expression(column)) %}{% endfor -%}
                {%- do queries.append('select ' ~ names | join(', ') ~ ' from ' ~ plan.changes) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set nothing = 'select ' ~ quoted_columns(key_columns(model.config.unique_key)) | join(', ') ~ ' from ' ~ this ~ ' limit 0' -%}
    {{ return(queries | join(' union ') if queries else nothing) }}
{%- endmacro %}

{#- The nodes that the model reads, also through ephemeral models. -#}
{% macro upstream_nodes() -%}
    {%- set found = [] -%}
    {%- set waiting = [model.unique_id] -%}
    {%- for unique_id in waiting -%}
        {%- for parent in (graph.nodes.get(unique_id) or model).depends_on.nodes if parent in graph.nodes -%}
            {%- if graph.nodes[parent].config.materialized == 'ephemeral' -%}
                {%- do waiting.append(parent) -%}
            {%- else -%}
                {%- do found.append(parent) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}
