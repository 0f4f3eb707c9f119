{#- Return the rows of a Bronze resource without sensitive values: with pseudonyms in columns with `sensitive: hash`,
    and without columns with `sensitive: drop`. `_extra` is then null: a field that the contract does not name may be such a
    column under another name, or a value of it that has another type.
-#}
{% macro without_sensitive_values(source_name, table_name, rows) -%}
    {%- set about = bronze_meta(source_name, table_name) -%}
    {%- set hashed, dropped = about.hashed or [], about.dropped or [] -%}
    {%- if not hashed and not dropped -%}
        {{ rows }}
    {%- else -%}
        {{ adapter.dispatch('without_sensitive_values')(source_name, table_name, rows, hashed, dropped) }}
    {%- endif -%}
{%- endmacro %}

{% macro default__without_sensitive_values(source_name, table_name, rows, hashed, dropped) -%}
    {%- if hashed and run_query("select getvariable('pseudonym_inner') is null").columns[0].values()[0] -%}
        {{ exceptions.raise_compiler_error(
            "no key for the hashes of " ~ source_name ~ "." ~ table_name
            ~ ": set PSEUDONYM_KEY for `pipeline build`, DBT_ENV_SECRET_PSEUDONYM_KEY for dbt by hand"
        ) }}
    {%- endif -%}
    (
        select
            * {% if dropped %}exclude ({{ quoted_columns(dropped) | join(', ') }}) {% endif -%}
            replace (
                {%- for column in quoted_columns(hashed) %}
                {{ pseudonym(column) }} as {{ column }},
                {%- endfor %}
                cast(null as varchar) as _extra
            )
        from {{ rows }}
    )
{%- endmacro %}

{#- Return the SQL of the HMAC-SHA256 of a value's text, in hexadecimal digits; null stays null. -#}
{% macro pseudonym(value) -%}
    sha256(getvariable('pseudonym_outer') || unhex(sha256(
        getvariable('pseudonym_inner') || encode(cast({{ value }} as varchar))
    )))
{%- endmacro %}
