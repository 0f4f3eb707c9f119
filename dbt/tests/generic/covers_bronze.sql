{#- Fails if a key in Bronze has no row in the staging model; over all rows, also if a row has no key in Bronze.

    The columns of the model's `unique_key` must correspond to the columns of the contract's primary key, in the same
    order; their types may differ. The test reads all partitions or, if the plan says so, only the changed partitions.
-#}
{% test covers_bronze(model, source_name, resource) %}

{%- set relation = builtins.source(source_name, resource) -%}
{%- if execute -%}
{%- set test_node = context['model'] -%}
{%- set tested = graph.nodes[test_node.attached_node] -%}
{%- set table = adapter.quote(tested.database) ~ '.' ~ adapter.quote(tested.schema) ~ '.' ~ adapter.quote(tested.alias) -%}
{%- set silver_key = key_columns(tested.config.unique_key) -%}
{%- set bronze_columns = quoted_columns(bronze_key(source_name, resource)) -%}
{%- set changed = is_planned_incremental(test_node.unique_id) -%}

with

bronze_keys as (

    select distinct
        {%- for column in quoted_columns(silver_key) %}
        cast_to_type(__bronze.{{ bronze_columns[loop.index0] }}, __silver.{{ column }}) as {{ column }}
        {{- "," if not loop.last }}
        {%- endfor %}
    from {{ bronze_rows(source_name, resource, 'changed' if changed else 'all') }} as __bronze
    left join (select * from {{ table }} limit 0) as __silver on true

),

counted as (

    select
        (select count(*) from bronze_keys) as bronze_key_count,
        (
            select count(*) from {{ table }} as __silver
            {% if changed %}where {{ has_key_in(silver_key, '__silver', 'bronze_keys') }}{% endif %}
        ) as silver_row_count

)

select *
from counted
where bronze_key_count != silver_row_count

{%- else -%}
select 1 from {{ relation }}, {{ model }}
{%- endif -%}

{% endtest %}
