{#- Fails if a key in Bronze has no row in the staging model; over all rows, also if a row has no key in Bronze. If the
    model has `first_seen_date` and `last_seen_date`, it fails too if a row is not of the last day of its key: then a
    day is missing in the model although other days have its keys.

    The columns of the model's `unique_key` must correspond to the columns of the contract's primary key, in the same
    order; their types may differ. The test reads all partitions or, if the plan says so, only the changed partitions.
-#}
{% test covers_bronze(model, source_name, resource) %}

{%- set relation = builtins.source(source_name, resource) -%}
{%- if execute -%}
{%- set test_node = context['model'] -%}
{%- set tested = graph.nodes[test_node.attached_node] -%}
{%- set silver_key = key_columns(tested.config.unique_key) -%}
{%- set bronze_columns = quoted_columns(bronze_key(source_name, resource)) -%}
{%- set changed = is_planned_incremental(test_node.unique_id) -%}
{%- set silver = api.Relation.create(database=tested.database, schema=tested.schema, identifier=tested.alias) -%}
{#- the fingerprint of the test must not depend on whether the table exists -#}
{%- set columns = [] if pipeline_mode() == 'fingerprint' else adapter.get_columns_in_relation(silver) -%}
{%- set names = columns | map(attribute='name') | list -%}
{%- set has_days = 'first_seen_date' in names and 'last_seen_date' in names -%}

with

bronze_keys as (

    select
        {%- for column in silver_key %}
        {{ as_in_silver('__bronze.' ~ bronze_columns[loop.index0], column, columns) }} as {{ adapter.quote(column) }},
        {%- endfor %}
        min(__bronze.dt) as __first_day,
        max(__bronze.dt) as __last_day
    from {{ bronze_rows(source_name, resource, 'changed' if changed else 'all') }} as __bronze
    left join (select * from {{ silver }} limit 0) as __silver on true
    group by all

),

counted as (

    select
        (select count(*) from bronze_keys) as bronze_key_count,
        (
            select count(*) from {{ silver }} as __silver
            {% if changed %}where {{ has_key_in(silver_key, '__silver', 'bronze_keys') }}{% endif %}
        ) as silver_row_count,
        {%- if has_days %}
        (
            select count(*) from {{ silver }} as __silver
            inner join bronze_keys as __bronze on {{ same_key(silver_key, '__bronze', '__silver') }}
            where __silver.first_seen_date {{ '>' if changed else '!=' }} __bronze.__first_day
                or __silver.last_seen_date {{ '<' if changed else '!=' }} __bronze.__last_day
        )
        {%- else %}
        0
        {%- endif %} as rows_of_another_day

)

select *
from counted
where bronze_key_count != silver_row_count or rows_of_another_day > 0

{%- else -%}
select 1 from {{ relation }}, {{ model }}
{%- endif -%}

{% endtest %}
