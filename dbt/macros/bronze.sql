{#- The rows of a Bronze resource for its staging model: one per key, the latest version.

    Reads the partitions that changed since the version that this build starts from, or all of them when the model is
    made from scratch; the list of files stands in the compiled SQL. Adds `first_seen_date` and `last_seen_date`: the
    first and the last day (UTC) whose rows have the key, among the files read.
-#}
{% macro latest_row_per_key(source_name, table_name) -%}
    {%- set relation = source(source_name, table_name) -%}
    {%- if execute -%}
        {%- set key = bronze_key(source_name, table_name) | join(', ') -%}
        (
        select
            * exclude (dt, _row),
            min(dt) over (partition by {{ key }}) as first_seen_date,
            dt as last_seen_date
        from {{ bronze_rows(relation, 'changed' if is_incremental() else 'all') }}
        qualify row_number() over (partition by {{ key }} order by dt desc, _row desc) = 1
    )
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{#- All rows of a Bronze resource, with their day as `dt`: `which` is `changed` or `all`. -#}
{% macro bronze_rows(relation, which) -%}
    {%- if not execute or relation.is_cte -%}
        {{ relation }}
    {%- else -%}
        read_parquet({{ bronze_files(relation, which) }}, hive_partitioning = true, hive_types = {'dt': date}, union_by_name = true)
    {%- endif -%}
{%- endmacro %}

{#- The files of a resource as a SQL list; the first holds the contract's schema and no rows. -#}
{% macro bronze_files(relation, which) -%}
    {%- set query -%}
        select path from meta.partitions
        where source = '{{ relation.schema }}' and resource = '{{ relation.identifier }}' and status = 'validated'
            {{ "and content_hash is distinct from built_hash" if which == 'changed' }}
        order by dt
    {%- endset -%}
    {%- set root = env_var('BRONZE_DIR', '../data/bronze') | replace("'", "''") -%}
    {%- set paths = [relation.schema ~ '/' ~ relation.identifier ~ '/dt=0001-01-01/schema.parquet'] -%}
    {%- do paths.extend(run_query(query).columns[0].values()) -%}
    ['{{ root }}/{{ paths | join("', '" ~ root ~ "/") }}']
{%- endmacro %}

{#- The primary key that the contract declares. -#}
{% macro bronze_key(source_name, table_name) -%}
    {%- for node in graph.sources.values() if node.source_name == source_name and node.name == table_name -%}
        {{ return(node.config.meta.primary_key or node.meta.primary_key) }}
    {%- endfor -%}
{%- endmacro %}

{#- Days of a resource that were built before and are loaded again with other rows, or taken away, as a SQL list. -#}
{% macro reloaded_days(source_name, table_name) -%}
    {%- set query -%}
        select cast(dt as varchar) from meta.partitions
        where source = '{{ source_name }}' and resource = '{{ table_name }}' and status in ('validated', 'removed')
            and built_hash is not null and content_hash is distinct from built_hash
    {%- endset -%}
    {{ return(run_query(query).columns[0].values()) }}
{%- endmacro %}

{#- Whether every changed day of a resource comes after every day that was built before. -#}
{% macro is_in_order(source_name, table_name) -%}
    {%- set query -%}
        select coalesce(bool_and(built_hash is null and dt > coalesce(last_built, date '0001-01-01')), true)
        from (
            select *, max(dt) filter (where built_hash is not null) over () as last_built
            from meta.partitions
            where source = '{{ source_name }}' and resource = '{{ table_name }}'
        )
        where status in ('validated', 'removed') and content_hash is distinct from built_hash
    {%- endset -%}
    {{ return(run_query(query).columns[0].values()[0]) }}
{%- endmacro %}
