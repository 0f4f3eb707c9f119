{#- Return rows of a Bronze resource in which each column has its present name in the contract.

    If a column has `was` in the contract, it has its old name in the files of days that were loaded before the change.
-#}
{% macro with_new_names(source_name, table_name, rows) -%}
    {%- set renamed = bronze_meta(source_name, table_name).renamed or {} -%}
    {%- if not renamed -%}
        {{ rows }}
    {%- else -%}
        {{ adapter.dispatch('with_new_names')(rows, renamed) }}
    {%- endif -%}
{%- endmacro %}

{% macro default__with_new_names(rows, renamed) -%}
    {%- set names = renamed.items() | map('join', "', '") | join("', '") -%}
    (
        select
            columns(lambda name: name not in ('{{ names }}'))
            {%- for new_name, old_name in renamed.items() %},
            coalesce(*columns(lambda name: name in ('{{ new_name }}', '{{ old_name }}'))) as "{{ new_name }}"
            {%- endfor %}
        from {{ rows }}
    )
{%- endmacro %}
