{#- What DuckDB and Spark write differently; a model calls these macros, so that it has one source for both. -#}

{#- Return `*` without some columns. -#}
{% macro all_except(columns) -%}
    {{ return(adapter.dispatch('all_except')(columns)) }}
{%- endmacro %}

{% macro default__all_except(columns) -%}
    {{ return('* exclude (' ~ columns | join(', ') ~ ')') }}
{%- endmacro %}

{% macro spark__all_except(columns) -%}
    {{ return('* except (' ~ columns | join(', ') ~ ')') }}
{%- endmacro %}

{#- Return the text of a value in a JSON column: `json_text('address', '$.city')`. -#}
{% macro json_text(column, path) -%}
    {{ return(adapter.dispatch('json_text')(column, path)) }}
{%- endmacro %}

{% macro default__json_text(column, path) -%}
    {{ return('json_extract_string(' ~ column ~ ', ' ~ string_literal(path) ~ ')') }}
{%- endmacro %}

{% macro spark__json_text(column, path) -%}
    {{ return('get_json_object(' ~ column ~ ', ' ~ string_literal(path) ~ ')') }}
{%- endmacro %}

{#- Return a moment of Bronze as a timestamp in UTC. In Spark, the session's time zone is UTC. -#}
{% macro utc_timestamp(column) -%}
    {{ return(adapter.dispatch('utc_timestamp')(column)) }}
{%- endmacro %}

{% macro default__utc_timestamp(column) -%}
    {{ return(column ~ " at time zone 'UTC'") }}
{%- endmacro %}

{% macro spark__utc_timestamp(column) -%}
    {{ return('cast(' ~ column ~ ' as timestamp)') }}
{%- endmacro %}

{#- Return the days from one date to a later one, as a bigint; null if a date is null. -#}
{% macro days_between(first, last) -%}
    {{ return(adapter.dispatch('days_between')(first, last)) }}
{%- endmacro %}

{% macro default__days_between(first, last) -%}
    {{ return("date_diff('day', " ~ first ~ ', ' ~ last ~ ')') }}
{%- endmacro %}

{% macro spark__days_between(first, last) -%}
    {{ return('cast(datediff(' ~ last ~ ', ' ~ first ~ ') as bigint)') }}
{%- endmacro %}

{#- Return one value of several columns, which can be compared with `is distinct from`. -#}
{% macro row_of(columns) -%}
    {{ return(adapter.dispatch('row_of')(columns)) }}
{%- endmacro %}

{% macro default__row_of(columns) -%}
    {{ return('row(' ~ columns | join(', ') ~ ')') }}
{%- endmacro %}

{% macro spark__row_of(columns) -%}
    {{ return('struct(' ~ columns | join(', ') ~ ')') }}
{%- endmacro %}

{#- Return a relation with a row for each day from the first one to the one before `end`, as `date_day`. -#}
{% macro each_day(first, end) -%}
    {{ return(adapter.dispatch('each_day')("date '" ~ first ~ "'", "date '" ~ end ~ "'")) }}
{%- endmacro %}

{% macro default__each_day(first, end) -%}
    {{ return('(select cast(range as date) as date_day from range(' ~ first ~ ', ' ~ end ~ ', interval 1 day))') }}
{%- endmacro %}

{% macro spark__each_day(first, end) -%}
    {{ return('(select explode(sequence(' ~ first ~ ', date_sub(' ~ end ~ ', 1))) as date_day)') }}
{%- endmacro %}

{% macro string_literal(text) -%}
    {{ return(adapter.dispatch('literal_of_text')(text)) }}
{%- endmacro %}

{% macro default__literal_of_text(text) -%}
    {{ return("'" ~ text | string | replace("'", "''") ~ "'") }}
{%- endmacro %}

{% macro spark__literal_of_text(text) -%}
    {{ return("'" ~ text | string | replace('\\', '\\\\') | replace("'", "\\'") ~ "'") }}
{%- endmacro %}

{#- Return a column of Bronze in the type of a column of Silver, whose relation has the alias `__silver`. -#}
{% macro as_in_silver(value, column, silver_columns) -%}
    {{ return(adapter.dispatch('as_in_silver')(value, column, silver_columns)) }}
{%- endmacro %}

{% macro default__as_in_silver(value, column, silver_columns) -%}
    {{ return('cast_to_type(' ~ value ~ ', __silver.' ~ adapter.quote(column) ~ ')') }}
{%- endmacro %}

{% macro spark__as_in_silver(value, column, silver_columns) -%}
    {%- for known in silver_columns if known.name | lower == column | lower -%}
        {{ return('cast(' ~ value ~ ' as ' ~ known.dtype ~ ')') }}
    {%- endfor -%}
    {{ return(value) }}
{%- endmacro %}
