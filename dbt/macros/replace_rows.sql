{#- Replace the rows of some keys, and note in `changes.<model>` what that takes away and puts in.

    The keys are those of the new rows and those in the table `keys`. A row that is put back as it was is no change;
    `last_seen_date` does not count, since every load of a snapshot moves it for every row.
-#}
{% macro replace_rows(target, new_rows, key, keys, columns) -%}
    {%- set names = columns | map(attribute='quoted') | list -%}
    {%- set compared = names | reject('equalto', '"last_seen_date"') | join(', ') -%}
    {%- set touched = in_keys(key, keys) ~ " or " ~ in_keys(key, new_rows) -%}
    create table if not exists changes.{{ target.identifier }} as select {{ compared }} from {{ target }} limit 0;
    insert into changes.{{ target.identifier }}
    with

    before as (

        select {{ compared }} from {{ target }} where {{ touched }}

    ),

    after as (

        select {{ compared }} from {{ new_rows }}

    ),

    taken_away as (

        select * from before except select * from after

    ),

    put_in as (

        select * from after except select * from before

    )

    select * from taken_away
    union all
    select * from put_in;

    delete from {{ target }} where {{ touched }};

    insert into {{ target }} ({{ names | join(', ') }})
    select {{ names | join(', ') }} from {{ new_rows }}
{%- endmacro %}

{% macro key_columns(unique_key) -%}
    {{ return([unique_key] if unique_key is string else unique_key) }}
{%- endmacro %}

{% macro in_keys(key, relation) -%}
    ({{ key | join(', ') }}) in (select {{ key | join(', ') }} from {{ relation }})
{%- endmacro %}

{% macro prefixed(columns, alias) -%}
    {%- for column in columns %}{{ alias }}.{{ column }}{{ ", " if not loop.last }}{% endfor -%}
{%- endmacro %}

{% macro quoted(values) -%}
    '{{ values | join("', '") }}'
{%- endmacro %}
