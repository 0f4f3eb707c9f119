{#- Incremental strategy of marts: it computes the rows again whose keys are affected by a change upstream.

    For each upstream model, `meta.affected_by` names the columns that form the key of this model. The model filters
    with `in_affected_keys(...)`, and this strategy replaces all rows with these keys. So it also deletes rows that the
    model no longer returns.
-#}
{% macro get_incremental_replace_affected_keys_sql(arg_dict) -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {%- set affected = temporary_table('affected keys') -%}
    create or replace temp table {{ affected }} as
    select * from ({{ affected_keys() }}) as __affected({{ quoted_columns(key) | join(', ') }});

    {{ replace_rows(arg_dict['target_relation'], arg_dict['temp_relation'], key, affected, arg_dict['dest_columns']) }}
{%- endmacro %}

{#- Return the condition on the columns of the model's key that this build has to compute the row again. -#}
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

{#- Return a query for the keys to compute again, from the tables of changes of the upstream models. -#}
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

{#- Return the nodes that the model reads, directly or through ephemeral models. -#}
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
