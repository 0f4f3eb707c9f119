{#- Incremental strategy of staging models: the latest version of each key wins, in any order of loads.

    The model returns the versions of keys in the changed partitions. A version replaces the row of the table, unless
    that row is of a later day; `first_seen_date` only becomes earlier. If the first or last day of a row was loaded
    again without its key, the row is computed again from all partitions; only this case reads all partitions.
-#}
{% macro get_incremental_latest_wins_sql(arg_dict) -%}
    {%- set target, versions = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {%- set columns = arg_dict['dest_columns'] -%}
    {%- set lost, merged = temporary_table('lost keys'), temporary_table('merged rows') -%}
    {%- set source_name, table_name = bronze_source_of_model() -%}
    {%- do find_lost_keys(target, versions, key, lost, reloaded_days(source_name, table_name)) -%}
    {%- if run_query('select count(*) from ' ~ lost).columns[0].values()[0] > 0 -%}
        {%- do read_from_history(versions, key, lost, source_name, table_name) -%}
    {%- endif -%}

    create or replace temp table {{ merged }} as
    select
        {%- for column in columns | map(attribute='quoted') %}
        {%- if column == '"first_seen_date"' %}
        case
            when __lost.__is_lost then __new.first_seen_date
            else least(__new.first_seen_date, coalesce(__known.first_seen_date, __new.first_seen_date))
        end as first_seen_date
        {%- else %}
        case
            when __known.last_seen_date > __new.last_seen_date and __lost.__is_lost is null then __known.{{ column }}
            else __new.{{ column }}
        end as {{ column }}
        {%- endif %}{{ "," if not loop.last }}
        {%- endfor %}
    from {{ versions }} as __new
    left join {{ target }} as __known on {{ same_key(key, '__new', '__known') }}
    left join (select true, * from {{ lost }}) as __lost(__is_lost, {{ numbered_columns(key) | join(', ') }})
        on {{ same_key(key, '__new', '__lost', numbered_columns(key)) }};

    {% if bronze_deletes(source_name, table_name) is string -%}
        {{ mark_deleted(target, merged, key, lost, columns, deleted_after(source_name, table_name)) }}
    {%- endif %}

    {{ replace_rows(target, merged, key, lost, columns) }}
{%- endmacro %}

{#- Write to the table `lost` the keys whose first or last day is in `days` and no longer has the key. -#}
{% macro find_lost_keys(target, versions, key, lost, days) -%}
    {%- set dates = [] -%}
    {%- for day in days %}{% do dates.append("date '" ~ day ~ "'") %}{% endfor -%}
    {%- set query -%}
        create or replace temp table {{ lost }} as
        select {% for column in quoted_columns(key) %}__target.{{ column }}{{ ", " if not loop.last }}{% endfor %}
        from {{ target }} as __target
        {%- if days %}
        left join {{ versions }} as __new on {{ same_key(key, '__target', '__new') }}
        where (
            __target.first_seen_date in ({{ dates | join(', ') }})
            and (__new.first_seen_date is null or __new.first_seen_date > __target.first_seen_date)
        ) or (
            __target.last_seen_date in ({{ dates | join(', ') }})
            and (__new.last_seen_date is null or __new.last_seen_date < __target.last_seen_date)
        )
        {%- else %}
        limit 0
        {%- endif %}
    {%- endset -%}
    {%- do run_query(query) -%}
{%- endmacro %}

{#- Replace the versions of lost keys: run the query of the model over all files and take their versions from it. -#}
{% macro read_from_history(versions, key, lost, source_name, table_name) -%}
    {%- set from_history = model.compiled_code | replace(
        bronze_rows(source_name, table_name, 'changed'), bronze_rows(source_name, table_name, 'all')
    ) -%}
    {%- do run_query(
        'delete from ' ~ versions ~ ' as __new where ' ~ has_key_in(key, '__new', lost)
    ) -%}
    {%- do run_query(
        'insert into ' ~ versions ~ ' by name select * from (' ~ from_history ~ ') as __new where '
        ~ has_key_in(key, '__new', lost)
    ) -%}
{%- endmacro %}

{#- Return the source and the name of the one Bronze resource that the model reads, also through an ephemeral model. -#}
{% macro bronze_source_of_model() -%}
    {%- set found = [] -%}
    {%- set waiting = [model.unique_id] -%}
    {%- for unique_id in waiting -%}
        {%- for parent in (graph.nodes.get(unique_id) or model).depends_on.nodes -%}
            {%- if parent in graph.sources and graph.sources[parent].config.meta.primary_key -%}
                {%- do found.append([graph.sources[parent].source_name, graph.sources[parent].name]) -%}
            {%- elif parent in graph.nodes and graph.nodes[parent].config.materialized == 'ephemeral' -%}
                {%- do waiting.append(parent) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found[0]) }}
{%- endmacro %}
