{#- Bronze on Spark. A build has written the ledger that it read to the table `partitions` of its version. -#}

{% macro spark__rows_of_ledger(source_name, table_name, which) -%}
    {%- set found = run_query(
        'select path from ' ~ pipeline_schema() ~ '.partitions where ' ~ of_resource(source_name, table_name) ~ ' order by dt'
    ) -%}
    {%- set files = ['dt=0001-01-01/schema.parquet'] -%}
    {%- for path in found.columns[0].values() -%}
        {%- do files.append(path | replace(source_name ~ '/' ~ table_name ~ '/', '', 1)) -%}
    {%- endfor -%}
    {%- set folder = env_var('SPARK_BRONZE_URL') ~ '/' ~ source_name ~ '/' ~ table_name -%}
    {#- Spark takes one path: the braces hold the exact files. It reads the columns from the first one, which has no rows;
        old names of columns are only in older files.
    -#}
    (
        select
            *,
            cast(regexp_extract(_metadata.file_path, 'dt=([0-9-]{10})/[^/]*$', 1) as date) as dt
        from parquet.`{{ folder }}/{{ '{' ~ files | join(',') ~ '}' }}`
        {%- if bronze_meta(source_name, table_name).renamed %} with ('mergeSchema' = 'true'){% endif %}
    )
{%- endmacro %}

{% macro spark__with_new_names(rows, renamed) -%}
    {%- set names = quoted_columns(renamed.keys() | list + renamed.values() | list) -%}
    (
        select
            * except ({{ names | join(', ') }})
            {%- for new_name, old_name in renamed.items() %},
            coalesce({{ adapter.quote(new_name) }}, {{ adapter.quote(old_name) }}) as {{ adapter.quote(new_name) }}
            {%- endfor %}
        from {{ rows }}
    )
{%- endmacro %}

{% macro spark__without_sensitive_values(source_name, table_name, rows, hashed, dropped) -%}
    {%- if hashed -%}
        {{ exceptions.raise_compiler_error(
            source_name ~ '.' ~ table_name ~ ' has columns with `sensitive: hash`, which a build on Spark does not support:'
            ~ " Spark shows the text of queries, and so the key, to everyone who may open its pages"
        ) }}
    {%- endif -%}
    (
        select
            {{ all_except(quoted_columns(dropped) + ['_extra']) }},
            cast(null as string) as _extra
        from {{ rows }}
    )
{%- endmacro %}

{% macro spark__loaded_days(source_name, table_name) -%}
    {{ return(run_query(
        'select cast(dt as string), is_complete from ' ~ pipeline_schema() ~ '.partitions where '
        ~ of_resource(source_name, table_name) ~ ' order by dt desc'
    ).rows) }}
{%- endmacro %}

{#- A build on Spark writes the ledger before dbt starts. -#}
{% macro spark__read_ledger() -%}{%- endmacro %}

{% macro of_resource(source_name, table_name) -%}
    {{ return('source = ' ~ string_literal(source_name) ~ ' and resource = ' ~ string_literal(table_name)) }}
{%- endmacro %}

{#- Return the schema with the ledger of the version that is built. -#}
{% macro pipeline_schema() -%}
    {%- if not env_var('SPARK_VERSION', '') -%}
        {{ exceptions.raise_compiler_error(
            'on Spark, models and tests run in `pipeline build` alone, which first writes the ledger to a new version'
        ) }}
    {%- endif -%}
    {{ return('pipeline__' ~ env_var('SPARK_VERSION')) }}
{%- endmacro %}
