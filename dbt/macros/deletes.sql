{#- Deleted rows stay in Silver, with the day in `deleted_date`. A mart leaves them out by `where {{ not_deleted() }}`. -#}

{#- A condition on the rows of a staging model, called by its alias where it has one: the source still has the row. -#}
{% macro not_deleted(alias='') -%}
    {{ alias ~ '.' if alias }}deleted_date is null
{%- endmacro %}

{#- How the contract says that rows are deleted: `detect`, the column that says so, or none. -#}
{% macro bronze_deletes(source_name, table_name) -%}
    {%- for node in graph.sources.values() if node.source_name == source_name and node.name == table_name -%}
        {{ return(node.config.meta.deletes or node.meta.deletes or none) }}
    {%- endfor -%}
    {{ return(none) }}
{%- endmacro %}

{#- The SQL of `deleted_date` in a row of Bronze whose column says whether it is deleted. -#}
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

{#- A relation of each day of a resource as `last_seen_date`, with the next day whose load lacks no row of the source as
    `deleted_date`: a row that was seen last on the one was deleted by the other. Days without a next one are left out.
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

{#- The days that the model is made from, the latest first, and whether each load brought all rows of the source into
    Bronze: one with rows in quarantine does not say that a key is gone. A day that the model holds, and that is loaded
    again and not validated yet, counts as it was.
-#}
{% macro loaded_days(source_name, table_name) -%}
    {%- set root = env_var('BRONZE_DIR', '../data/bronze') -%}
    {%- set records = root ~ '/_ledger/' ~ source_name ~ '/' ~ table_name ~ '/[0-9]*.json' -%}
    {%- if pipeline_mode() == 'build' -%}
        {%- set query -%}
            with states as (
                select dt, content_hash from _pipeline.partitions
                where source = {{ string_literal(source_name) }} and resource = {{ string_literal(table_name) }}
                    and status = 'validated'
                union all
                select held.dt, held.content_hash from _pipeline.held as held
                inner join _pipeline.partitions as partitions using (source, resource, dt)
                where held.node = {{ string_literal(model.unique_id) }}
                    and source = {{ string_literal(source_name) }} and resource = {{ string_literal(table_name) }}
                    and partitions.status <> 'validated'
            )
            select cast(dt as varchar), not ends_with(content_hash, 'in quarantine') from states order by dt desc
        {%- endset -%}
    {%- elif run_query('select count(*) from glob(' ~ string_literal(records) ~ ')').columns[0].values()[0] > 0 -%}
        {%- set query -%}
            select cast(day as varchar), quarantined = 0 from read_json(
                {{ string_literal(records) }}, columns = {'status': 'varchar', 'day': 'date', 'quarantined': 'bigint'}
            )
            where status = 'validated'
            order by day desc
        {%- endset -%}
    {%- endif -%}
    {{ return(run_query(query).rows if query else []) }}
{%- endmacro %}

{#- Put into `merged`, the rows that a build replaces in `target`, those whose `deleted_date` another set of days changes;
    the rows that are there get theirs.
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
