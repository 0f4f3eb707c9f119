{#- Rows of a Bronze resource with each column under the name that the contract gives it now.

    A column with `was` in the contract has its old name in the files of days that were loaded before.
-#}
{% macro with_new_names(source_name, table_name, rows) -%}
    {%- set renamed = bronze_meta(source_name, table_name).renamed or {} -%}
    {%- if not renamed -%}
        {{ rows }}
    {%- else -%}
        {%- set names = renamed.items() | map('join', "', '") | join("', '") -%}
        (
        select
            columns(lambda name: name not in ('{{ names }}'))
            {%- for new_name, old_name in renamed.items() %},
            coalesce(*columns(lambda name: name in ('{{ new_name }}', '{{ old_name }}'))) as "{{ new_name }}"
            {%- endfor %}
        from {{ rows }}
    )
    {%- endif -%}
{%- endmacro %}
