{#- Return the rows of a Bronze resource for its staging model: one row per key, the latest version.

    It reads the partitions that changed since the model was last built, or all partitions if the model is rebuilt in
    full. It adds `first_seen_date` and `last_seen_date`: the first and the last day (UTC) with the key in these
    partitions. If the contract has `deletes`, it adds `deleted_date`.
-#}
{% macro latest_row_per_key(source_name, table_name) -%}
    {%- set relation = builtins.source(source_name, table_name) -%}
    {%- set deletes = bronze_deletes(source_name, table_name) if execute -%}
    {%- if pipeline_mode() == 'fingerprint' -%}
        (
        select *{{ ', ' ~ string_literal(tojson(deletes)) ~ ' as deleted_date' if deletes }}
        from latest_row_per_key('{{ source_name }}', '{{ table_name }}')
    )
    {%- elif execute -%}
        {%- set key = quoted_columns(bronze_key(source_name, table_name)) | join(', ') -%}
        (
        select
            __latest.*{{ ', __days.deleted_date' if deletes is string }}
        from (
            select
                {{ all_except(['dt', '_row']) }},
                min(dt) over (partition by {{ key }}) as first_seen_date,
                dt as last_seen_date
                {%- if deletes is mapping %},
                {{ deleted_date_of_tombstone(deletes) }} as deleted_date
                {%- endif %}
            from {{ bronze_rows(source_name, table_name, 'changed' if is_incremental() else 'all') }}
            qualify row_number() over (partition by {{ key }} order by dt desc, _row desc) = 1
        ) as __latest
        {%- if deletes is string %}
        left join {{ deleted_after(source_name, table_name) }} as __days(last_seen_date, deleted_date)
            on __days.last_seen_date = __latest.last_seen_date
        {%- endif %}
    )
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{#- Return the validated rows of a Bronze resource, with their day as `dt`; `which` is `changed` or `all`. -#}
{% macro bronze_rows(source_name, table_name, which) -%}
    {%- set relation = builtins.source(source_name, table_name) -%}
    {%- if not execute or relation.is_cte -%}
        {{ return(relation) }}
    {%- elif pipeline_mode() == 'fingerprint' -%}
        {{ return("bronze_rows('" ~ source_name ~ "', '" ~ table_name ~ "')") }}
    {%- endif -%}
    {%- set rows = adapter.dispatch('rows_of_ledger')(source_name, table_name, which) -%}
    {%- set rows = with_new_names(source_name, table_name, rows) -%}
    {{ return(without_sensitive_values(source_name, table_name, rows)) }}
{%- endmacro %}

{#- Return the rows of the validated files that the ledger names, as they are in the files. -#}
{% macro default__rows_of_ledger(source_name, table_name, which) -%}
    {%- set files = bronze_files(source_name, table_name, which) -%}
    {{ return(rows_of_files(files) if files else no_rows(source_name, table_name)) }}
{%- endmacro %}

{#- Override dbt's `source()`: for a Bronze resource, return its validated rows; for other sources, dbt's result. -#}
{% macro source(source_name, table_name) -%}
    {%- set relation = builtins.source(source_name, table_name) -%}
    {%- if execute and not relation.is_cte and bronze_key(source_name, table_name) -%}
        {{ return(bronze_rows(source_name, table_name, 'all')) }}
    {%- endif -%}
    {{ return(relation) }}
{%- endmacro %}

{#- Return a query with the columns of the contract and no rows. -#}
{% macro no_rows(source_name, table_name) -%}
    {%- set columns = [] -%}
    {%- for node in graph.sources.values() if node.source_name == source_name and node.name == table_name -%}
        {%- for column in node.columns.values() -%}
            {%- do columns.append('cast(null as ' ~ column.data_type ~ ') as ' ~ adapter.quote(column.name)) -%}
        {%- endfor -%}
    {%- endfor -%}
    (select {{ columns | join(', ') }} where false)
{%- endmacro %}

{#- Return a query of files. The day comes from the file's own folder: other folders of its path may have a `=` too. -#}
{% macro rows_of_files(files) -%}
    {%- set names = [] -%}
    {%- for file in files %}{% do names.append(string_literal(literal_glob(file))) %}{% endfor -%}
    (
        select
            * exclude ("file of the partition"),
            cast(regexp_extract("file of the partition", 'dt=([0-9-]{10})/[^/]*$', 1) as date) as dt
        from read_parquet(
            [{{ names | join(', ') }}],
            union_by_name = true,
            hive_partitioning = false,
            filename = 'file of the partition'
        )
    )
{%- endmacro %}

{#- Return the files of a resource; the first one holds the schema of the contract and no rows.

    In a build, these are the files that the plan names for the node. If dbt is run by hand, these are the validated
    files in the ledger, and there are none before the first load.
-#}
{% macro bronze_files(source_name, table_name, which) -%}
    {%- set root = env_var('BRONZE_DIR', '../data/bronze') -%}
    {%- set records = ledger_records(source_name ~ '/' ~ table_name) -%}
    {%- set resource = 'source = ' ~ string_literal(source_name) ~ ' and resource = ' ~ string_literal(table_name) -%}
    {%- if pipeline_mode() == 'build' -%}
        {%- set reader = (model.attached_node or model.unique_id) if model.resource_type == 'test' else model.unique_id -%}
        {%- set query -%}
            select path from _pipeline.partitions as partitions
            where {{ resource }} and status = 'validated'
            {%- if which == 'changed' %} and not exists (
                select 1 from _pipeline.held as held
                where held.node = {{ string_literal(reader) }}
                    and (held.source, held.resource, held.dt) = (partitions.source, partitions.resource, partitions.dt)
                    and held.content_hash = partitions.content_hash
            )
            {%- endif %}
            order by dt
        {%- endset -%}
    {%- elif run_query('select count(*) from glob(' ~ string_literal(records) ~ ')').columns[0].values()[0] > 0 -%}
        {%- set query -%}
            select path from read_json(
                {{ string_literal(records) }},
                columns = {'path': 'varchar', 'status': 'varchar', 'day': 'date'},
                hive_partitioning = false
            )
            where status = 'validated'
            order by day
        {%- endset -%}
    {%- endif -%}
    {%- if not query -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set files = [root ~ '/' ~ source_name ~ '/' ~ table_name ~ '/dt=0001-01-01/schema.parquet'] -%}
    {%- for path in run_query(query).columns[0].values() -%}
        {%- do files.append(root ~ '/' ~ path) -%}
    {%- endfor -%}
    {{ return(files) }}
{%- endmacro %}

{#- Return a pattern of the records in some folders of the ledger; it matches only files that the pipeline wrote. -#}
{% macro ledger_records(folders) -%}
    {%- set day = '[0-9]' * 4 ~ '-' ~ '[0-9]' * 2 ~ '-' ~ '[0-9]' * 2 -%}
    {{ return(literal_glob(env_var('BRONZE_DIR', '../data/bronze')) ~ '/_ledger/' ~ folders ~ '/' ~ day ~ '.json') }}
{%- endmacro %}

{#- Return a pattern that matches only the given path. -#}
{% macro literal_glob(path) -%}
    {{ return(path | replace('[', '[[]') | replace('*', '[*]') | replace('?', '[?]')) }}
{%- endmacro %}

{#- Return the primary key of the contract; none for a source without a contract. -#}
{% macro bronze_key(source_name, table_name) -%}
    {{ return(bronze_meta(source_name, table_name).primary_key) }}
{%- endmacro %}

{#- Return the values of the contract of a resource that dbt needs; none in a unit test, which has no sources. -#}
{% macro bronze_meta(source_name, table_name) -%}
    {%- for node in (graph.sources or {}).values() if node.source_name == source_name and node.name == table_name -%}
        {{ return(node.config.meta or node.meta) }}
    {%- endfor -%}
    {{ return({}) }}
{%- endmacro %}

{#- Return the days of a resource that the model holds and whose rows were replaced, removed, or not validated again. -#}
{% macro reloaded_days(source_name, table_name) -%}
    {%- set query -%}
        select cast(held.dt as varchar)
        from _pipeline.held as held
        left join _pipeline.partitions as partitions using (source, resource, dt)
        where held.node = {{ string_literal(model.unique_id) }}
            and source = {{ string_literal(source_name) }} and resource = {{ string_literal(table_name) }}
            and (
                partitions.status is distinct from 'validated'
                or partitions.content_hash is distinct from held.content_hash
            )
    {%- endset -%}
    {{ return(run_query(query).columns[0].values()) }}
{%- endmacro %}
