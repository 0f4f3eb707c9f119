{#- Fails where a key that is in Bronze has no row in the staging model, or, over all rows, the other way round.

    The model's `unique_key` has to stand for the contract's primary key, column by column, up to its type. In a build
    the test looks at the partitions that changed; otherwise at all.
-#}
{% test covers_bronze(model, source_name, resource) %}

{%- set relation = source(source_name, resource) -%}
{%- if execute -%}
{%- set tested = graph.nodes[context['model'].attached_node] -%}
{%- set table = adapter.get_relation(tested.database, tested.schema, tested.alias) -%}
{%- set silver_key = key_columns(tested.config.unique_key) -%}
{%- set types = {} -%}
{%- for column in adapter.get_columns_in_relation(table) %}{% do types.update({column.name: column.dtype}) %}{% endfor -%}
{%- set whole = not tests_changed_rows() or is_rebuilt(tested.name) -%}

with

bronze_keys as (

    select distinct
        {%- for column in bronze_key(source_name, resource) %}
        cast({{ column }} as {{ types[silver_key[loop.index0]] }}) as {{ silver_key[loop.index0] }}{{ "," if not loop.last }}
        {%- endfor %}
    from {{ bronze_rows(relation, 'all' if whole else 'changed') }}

),

counted as (

    select
        (select count(*) from bronze_keys) as bronze_key_count,
        (
            select count(*) from {{ table }}
            {% if not whole %}where {{ in_keys(silver_key, 'bronze_keys') }}{% endif %}
        ) as silver_row_count

)

select *
from counted
where bronze_key_count != silver_row_count

{%- else -%}
select 1 from {{ relation }}, {{ model }}
{%- endif -%}

{% endtest %}
