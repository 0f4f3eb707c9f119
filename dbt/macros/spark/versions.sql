{#- Versions on Spark, which `pipeline build` and `pipeline rollback` call with `dbt run-operation`.

    silver__000123, gold__000123    the tables of a version
    pipeline__000123                the ledger that it is built from
    pipeline_versions.version_…     a view for each complete version, with what it was built from
    pipeline_versions.published     a view with the number of the published version: replacing it is the publication
    pipeline_versions.shown         a view with the number of the version that all views below lead to
    silver, gold                    views of the tables of the published version
-#}

{#- Start a version, and write the ledger to it. Do nothing if the published version was built from the same `inputs`. -#}
{% macro begin_version(inputs, partitions, is_forced) -%}
    {%- do run_query('create schema if not exists pipeline_versions') -%}
    {%- do complete_switch() -%}
    {%- set versions, published = complete_versions(), published_version() -%}
    {%- if published and not is_forced and inputs_of(published) == inputs -%}
        {{ return(tell({'version': none, 'published': published})) }}
    {%- endif -%}
    {%- set numbers = [published | default('0', true) | int] -%}
    {%- for schema in version_schemas() -%}
        {%- do numbers.append(schema[-6:] | int) -%}
        {%- if schema[-6:] not in versions -%}
            {%- do run_query('drop schema if exists ' ~ schema ~ ' cascade') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set version = '%06d' % (numbers | max + 1) -%}
    {%- set schema = 'pipeline__' ~ version -%}
    {%- do run_query('create schema ' ~ schema) -%}
    {%- do run_query(
        'create table ' ~ schema ~ '.partitions'
        ~ ' (source string, resource string, dt date, path string, row_count bigint, is_complete boolean)'
    ) -%}
    {%- for batch in partitions | batch(1000) -%}
        {%- set rows = [] -%}
        {%- for source_name, table_name, day, path, row_count, is_complete in batch -%}
            {%- do rows.append(
                '(' ~ string_literal(source_name) ~ ', ' ~ string_literal(table_name) ~ ", date '" ~ day ~ "', "
                ~ string_literal(path) ~ ', ' ~ row_count ~ ', ' ~ is_complete | lower ~ ')'
            ) -%}
        {%- endfor -%}
        {%- do run_query('insert into ' ~ schema ~ '.partitions values ' ~ rows | join(', ')) -%}
    {%- endfor -%}
    {%- do tell({'version': version}) -%}
{%- endmacro %}

{#- Check that the version of this run holds the rows that follow from the ledger, publish it, and drop old versions. -#}
{% macro publish_version(inputs, keep) -%}
    {%- set version = env_var('SPARK_VERSION') -%}
    {%- set rows = account_for_rows() -%}
    {%- do run_query(
        'create view pipeline_versions.version_' ~ version ~ ' as select ' ~ string_literal(inputs) ~ ' as inputs'
    ) -%}
    {%- do show_version(version) -%}
    {%- set others = complete_versions() | reject('equalto', version) | list -%}
    {%- for old in others[:1 - keep] -%}
        {%- do run_query('drop view pipeline_versions.version_' ~ old) -%}
        {%- for schema in version_schemas() if schema[-6:] == old -%}
            {%- do run_query('drop schema ' ~ schema ~ ' cascade') -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do tell({'rows': rows}) -%}
{%- endmacro %}

{#- Publish a kept version: the wanted one or, without it, the one before the published one. -#}
{% macro roll_back_version(wanted) -%}
    {%- do run_query('create schema if not exists pipeline_versions') -%}
    {%- set versions, published = complete_versions(), published_version() -%}
    {%- set earlier = [] -%}
    {%- for name in versions if name < (published or '') %}{% do earlier.append(name) %}{% endfor -%}
    {%- set wanted = wanted or (earlier[-1] if earlier else none) -%}
    {%- set exists = wanted in versions -%}
    {%- if exists %}{% do show_version(wanted) %}{% endif -%}
    {%- do tell({'versions': versions, 'published': published, 'shown': wanted if exists else none}) -%}
{%- endmacro %}

{#- Return the versions, for `pipeline rollback --list`. -#}
{% macro list_versions() -%}
    {%- do run_query('create schema if not exists pipeline_versions') -%}
    {%- do tell({'versions': complete_versions(), 'published': published_version(), 'shown': none}) -%}
{%- endmacro %}

{#- Make a version the published one. The first statement decides; if a process dies after it, the next one completes
    the views.
-#}
{% macro show_version(version) -%}
    {%- do run_query("create or replace view pipeline_versions.published as select '" ~ version ~ "' as version") -%}
    {%- do complete_switch() -%}
{%- endmacro %}

{#- Let the views of every layer lead to the published version, unless they do. -#}
{% macro complete_switch() -%}
    {%- set version, shown = published_version(), only_value('shown', 'version') -%}
    {%- if not version or version == shown -%}
        {{ return('') }}
    {%- endif -%}
    {%- set schemas = version_schemas() -%}
    {%- for schema in schemas if schema[-6:] == version and schema != 'pipeline__' ~ version -%}
        {%- set layer = schema[:-8] -%}
        {%- do run_query('create schema if not exists ' ~ layer) -%}
        {%- set tables = names_in('tables', schema) -%}
        {%- for table in tables -%}
            {%- set name = adapter.quote(table) -%}
            {%- do run_query('create or replace view ' ~ layer ~ '.' ~ name ~ ' as select * from ' ~ schema ~ '.' ~ name) -%}
        {%- endfor -%}
        {#- views that somebody else made in the schema stay -#}
        {%- set before = layer ~ '__' ~ (shown or '') -%}
        {%- set ours = names_in('tables', before) if before in schemas else [] -%}
        {%- for view in names_in('views', layer) if view in ours and view not in tables -%}
            {%- do run_query('drop view ' ~ layer ~ '.' ~ adapter.quote(view)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do run_query("create or replace view pipeline_versions.shown as select '" ~ version ~ "' as version") -%}
{%- endmacro %}

{#- Compare the rows of each partition with the ledger, and the rows of each model with the layer below; return the row
    count of each model.
-#}
{% macro account_for_rows() -%}
    {%- do strict_session() -%}
    {%- for node in graph.sources.values() if (node.config.meta or node.meta).primary_key -%}
        {%- set wrong = run_query(
            'select coalesce(known.dt, read.dt), known.row_count, read.row_count from'
            ~ ' (select dt, row_count from ' ~ pipeline_schema() ~ '.partitions where '
            ~ of_resource(node.source_name, node.name) ~ ') as known full outer join'
            ~ ' (select dt, count(*) as row_count from ' ~ spark__rows_of_ledger(node.source_name, node.name, 'all')
            ~ ' group by dt) as read on known.dt = read.dt'
            ~ ' where coalesce(known.row_count, 0) != coalesce(read.row_count, 0) limit 1'
        ).rows -%}
        {%- if wrong -%}
            {{ exceptions.raise_compiler_error(
                'row accounting: Spark reads ' ~ (wrong[0][2] or 0) ~ ' rows of ' ~ node.source_name ~ '/' ~ node.name ~ '/'
                ~ wrong[0][0] ~ '; expected ' ~ (wrong[0][1] or 0) ~ ', which the ledger recorded'
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- set counted = {} -%}
    {%- for node in graph.nodes.values()
        if node.resource_type in ('model', 'seed', 'snapshot') and node.config.materialized != 'ephemeral' -%}
        {%- set rows = run_query('select count(*) from ' ~ node.relation_name).columns[0].values()[0] -%}
        {%- set query = (node.config.meta or {}).expected_rows_sql -%}
        {%- set expected = run_query(in_this_version(query)).columns[0].values()[0] if query else rows -%}
        {%- if rows != expected -%}
            {{ exceptions.raise_compiler_error(
                'row accounting of ' ~ node.original_file_path ~ ': model `' ~ node.name ~ '` has ' ~ rows
                ~ ' rows; expected ' ~ expected ~ ': ' ~ node.config.meta.expected_rows_reason
            ) }}
        {%- endif -%}
        {%- do counted.update({node.name: rows | int}) -%}
    {%- endfor -%}
    {{ return(counted) }}
{%- endmacro %}

{#- Return a query with the schemas of this version instead of `silver` and `gold`. -#}
{% macro in_this_version(query) -%}
    {%- set version = '__' ~ env_var('SPARK_VERSION') -%}
    {%- set found = namespace(query=query) -%}
    {%- for schema in graph.nodes.values() | map(attribute='schema') | unique if schema.endswith(version) -%}
        {%- set found.query = modules.re.sub('\\b' ~ schema[:-8] ~ '\\.', schema ~ '.', found.query) -%}
    {%- endfor -%}
    {{ return(found.query) }}
{%- endmacro %}

{% macro complete_versions() -%}
    {%- set names = [] -%}
    {%- for view in names_in('views', 'pipeline_versions') if view.startswith('version_') -%}
        {%- do names.append(view[-6:]) -%}
    {%- endfor -%}
    {{ return(names | sort) }}
{%- endmacro %}

{% macro published_version() -%}
    {{ return(only_value('published', 'version')) }}
{%- endmacro %}

{% macro inputs_of(version) -%}
    {{ return(only_value('version_' ~ version, 'inputs')) }}
{%- endmacro %}

{#- Return the value in a view of `pipeline_versions`; none if there is no such view. -#}
{% macro only_value(view, column) -%}
    {%- if view not in names_in('views', 'pipeline_versions') -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return(run_query('select ' ~ column ~ ' from pipeline_versions.' ~ view).columns[0].values()[0] | string) }}
{%- endmacro %}

{#- Return the names of all schemas that belong to a version: they begin with a schema of the project, so that no other
    schema of the catalog is ever dropped.
-#}
{% macro version_schemas() -%}
    {%- set layers = ['pipeline'] -%}
    {%- for node in graph.nodes.values() if node.resource_type in ('model', 'seed', 'snapshot') -%}
        {%- do layers.append(modules.re.sub('__(dev|[0-9]{6})$', '', node.schema) | lower) -%}
    {%- endfor -%}
    {%- set found = [] -%}
    {%- for schema in run_query("show schemas like '*__*'").columns[0].values() -%}
        {%- if modules.re.fullmatch('.+__[0-9]{6}', schema) and schema[:-8] | lower in layers -%}
            {%- do found.append(schema) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{#- Return the names of the tables or the views in a schema, without views of a session. -#}
{% macro names_in(kind, schema) -%}
    {%- set names = [] -%}
    {%- for row in run_query('show ' ~ kind ~ ' in ' ~ schema).rows if not row[2] %}{% do names.append(row[1]) %}{% endfor -%}
    {{ return(names) }}
{%- endmacro %}

{#- Pass a result to the pipeline, which reads it from dbt's log. -#}
{% macro tell(result) -%}
    {%- do log('pipeline: ' ~ tojson(result), info=true) -%}
{%- endmacro %}
