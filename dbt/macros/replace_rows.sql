{#- Replace the rows of some keys, and write the removed and the added rows to the model's table of changes.

    The keys are those of the new rows and those in the table `keys`. A row that does not differ from the old one is not
    a change. A different `last_seen_date` counts as a change only if a downstream model reads this column, since every
    load of a snapshot changes it. A model that is never rebuilt in full has no table of changes.
-#}
{% macro replace_rows(target, new_rows, key, keys, columns) -%}
    {%- set plan = build_plan()[model.unique_id] -%}
    {%- set names = columns | map(attribute='quoted') | list -%}
    {%- set ignored = '' if plan.compare_last_seen else '"last_seen_date"' -%}
    {%- set compared = names | reject('equalto', ignored) | join(', ') -%}
    {%- set key_names = quoted_columns(key) | join(', ') -%}
    {%- set replaced = temporary_table('replaced keys') -%}
    create or replace temp table {{ replaced }} as
    select {{ key_names }} from {{ new_rows }}
    union
    select {{ key_names }} from {{ keys }};

    {% if plan.changes -%}
    insert into {{ plan.changes }} by name
    with

    before as (

        select {{ compared }} from {{ target }} as __target where {{ has_key_in(key, '__target', replaced) }}

    ),

    after as (

        select {{ compared }} from {{ new_rows }}

    ),

    taken_away as (

        select * from before except all select * from after

    ),

    put_in as (

        select * from after except all select * from before

    )

    select * from taken_away
    union all
    select * from put_in;
    {%- endif %}

    delete from {{ target }} as __target where {{ has_key_in(key, '__target', replaced) }};

    insert into {{ target }} ({{ names | join(', ') }})
    select {{ names | join(', ') }} from {{ new_rows }}
{%- endmacro %}
