{#- Deleted rows stay in Silver; `deleted_date` is the day. A mart leaves them out with `where {{ not_deleted() }}`. -#}

{#- Return the condition on a staging model, given by its alias if it has one, that a row is not deleted. -#}
{% macro not_deleted(alias='') -%}
    {{ alias ~ '.' if alias }}deleted_date is null
{%- endmacro %}

{#- Return the contract's `deletes`: `detect`, a mapping with the column that marks deleted rows, or none. -#}
{% macro bronze_deletes(source_name, table_name) -%}
    {{ return(bronze_meta(source_name, table_name).deletes or none) }}
{%- endmacro %}

{#- Return the SQL of `deleted_date` for rows of Bronze in which a column marks deleted rows. -#}
{% macro deleted_date_of_tombstone(tombstone) -%}
    {%- set column = adapter.quote(tombstone.column) -%}
    {%- if tombstone.is_moment -%}
        cast({{ column }} as date)
    {%- elif tombstone['values'] -%}
        {%- set literals = [] -%}
        {%- for value in tombstone['values'] -%}
            {%- do literals.append(string_literal(value) if value is string else value | string | lower) -%}
        {%- endfor -%}
        case when {{ column }} in ({{ literals | join(', ') }}) then dt end
    {%- else -%}
        case when {{ column }} then dt end
    {%- endif -%}
{%- endmacro %}

{#- Return a relation with each day of a resource as `last_seen_date`, and the next day with a complete load as
    `deleted_date`: a row whose last day is `last_seen_date` is deleted on `deleted_date`. Days without such a next day
    are left out.
-#}
{% macro deleted_after(source_name, table_name) -%}
    {%- set found = namespace(next=none) -%}
    {%- set pairs = [] -%}
    {%- for day, is_complete in loaded_days(source_name, table_name) -%}
        {%- if found.next -%}
            {%- do pairs.append("(date '" ~ day ~ "', date '" ~ found.next ~ "')") -%}
        {%- endif -%}
        {%- if is_complete %}{% set found.next = day %}{% endif -%}
    {%- endfor -%}
    {%- if pairs -%}
        {{ return('(values ' ~ pairs | join(', ') ~ ')') }}
    {%- endif -%}
    {{ return('(select cast(null as date), cast(null as date) where false)') }}
{%- endmacro %}

{#- Return the days that the model is built from, latest first, and whether each load is complete. A load with rows in
    quarantine is not complete: it does not show that a key is deleted.
-#}
{% macro loaded_days(source_name, table_name) -%}
    {{ return(adapter.dispatch('loaded_days')(source_name, table_name)) }}
{%- endmacro %}

{% macro default__loaded_days(source_name, table_name) -%}
    {%- set records = ledger_records(source_name ~ '/' ~ table_name) -%}
    {%- if pipeline_mode() == 'build' -%}
        {%- set query -%}
            select cast(dt as varchar), not ends_with(content_hash, 'in quarantine')
            from _pipeline.partitions
            where source = {{ string_literal(source_name) }} and resource = {{ string_literal(table_name) }}
                and status = 'validated'
            order by dt desc
        {%- endset -%}
    {%- elif run_query('select count(*) from glob(' ~ string_literal(records) ~ ')').columns[0].values()[0] > 0 -%}
        {%- set query -%}
            select cast(day as varchar), quarantined = 0 from read_json(
                {{ string_literal(records) }},
                columns = {'status': 'varchar', 'day': 'date', 'quarantined': 'bigint'},
                hive_partitioning = false
            )
            where status = 'validated'
            order by day desc
        {%- endset -%}
    {%- endif -%}
    {{ return(run_query(query).rows if query else []) }}
{%- endmacro %}

{#- Set `deleted_date` in `merged`, the rows that a build replaces in `target`, and add to it the rows of `target` whose
    `deleted_date` changes because of the loaded days.
-#}
{% macro mark_deleted(target, merged, key, lost, columns, days) -%}
    update {{ merged }} as __row set deleted_date = (
        select __days.deleted_date from {{ days }} as __days(last_seen_date, deleted_date)
        where __days.last_seen_date = __row.last_seen_date
    );

    insert into {{ merged }} by name
    select __target.* replace (__days.deleted_date as deleted_date)
    from {{ target }} as __target
    left join {{ days }} as __days(last_seen_date, deleted_date) on __days.last_seen_date = __target.last_seen_date
    where __target.deleted_date is distinct from __days.deleted_date
        and not {{ has_key_in(key, '__target', merged) }}
        and not {{ has_key_in(key, '__target', lost) }};
{%- endmacro %}
