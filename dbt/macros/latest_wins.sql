{#- Incremental strategy of staging models: the latest version of each key wins, in whatever order days are loaded.

    The model gives the versions that changed partitions hold. A version replaces the row of the table unless that is
    of a later day; `first_seen_date` only moves back. A row whose first or last day was loaded again without it is
    read once more from all partitions; this alone reads history.
-#}
{% macro get_incremental_latest_wins_sql(arg_dict) -%}
    {%- set target, versions = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
    {%- set key = key_columns(arg_dict['unique_key']) -%}
    {%- set lost = model.name ~ '__lost' -%}
    {%- set merged = model.name ~ '__merged' -%}
    {%- set source_name, table_name = model.sources[0] -%}
    {%- set days = reloaded_days(source_name, table_name) -%}

    {%- do run_query("create or replace temp table " ~ lost ~ " as select " ~ key | join(', ') ~ " from " ~ target ~ " limit 0") -%}
    {%- if days -%}
        {%- set find_lost -%}
            insert into {{ lost }}
            select {{ prefixed(key, 'target') }}
            from {{ target }} as target
            left join {{ versions }} as versions using ({{ key | join(', ') }})
            where (
                target.first_seen_date in ({{ quoted(days) }})
                and (versions.first_seen_date is null or versions.first_seen_date > target.first_seen_date)
            ) or (
                target.last_seen_date in ({{ quoted(days) }})
                and (versions.last_seen_date is null or versions.last_seen_date < target.last_seen_date)
            )
        {%- endset -%}
        {%- do run_query(find_lost) -%}
        {%- if run_query("select count(*) from " ~ lost).columns[0].values()[0] > 0 -%}
            {%- set relation = source(source_name, table_name) -%}
            {%- set from_history = model.compiled_code | replace(
                bronze_files(relation, 'changed'), bronze_files(relation, 'all')
            ) -%}
            {%- do run_query("delete from " ~ versions ~ " where " ~ in_keys(key, lost)) -%}
            {%- do run_query(
                "insert into " ~ versions ~ " by name select * from (" ~ from_history ~ ") where " ~ in_keys(key, lost)
            ) -%}
        {%- endif -%}
    {%- endif -%}

    create or replace temp table {{ merged }} as
    select
        {%- for column in arg_dict['dest_columns'] | map(attribute='quoted') %}
        {%- if column == '"first_seen_date"' %}
        case
            when known.is_lost then versions.first_seen_date
            else least(versions.first_seen_date, coalesce(known.first_seen_date, versions.first_seen_date))
        end as first_seen_date
        {%- else %}
        case when known.is_later then known.{{ column }} else versions.{{ column }} end as {{ column }}
        {%- endif %}{{ "," if not loop.last }}
        {%- endfor %}
    from {{ versions }} as versions
    left join (
        select *, last_seen_date > newest_date and not is_lost as is_later
        from (
            select target.*, newest.last_seen_date as newest_date, {{ in_keys(key, lost) }} as is_lost
            from {{ target }} as target
            inner join {{ versions }} as newest using ({{ key | join(', ') }})
        )
    ) as known using ({{ key | join(', ') }});

    {{ replace_rows(target, merged, key, lost, arg_dict['dest_columns']) }}
{%- endmacro %}
