{#-
    The history of users, computed from the days in Bronze and not from the times of builds. So it is the same for any
    order of loads, and it is complete also if one build processes many days. dbt's own snapshots only record the state
    at each run. The columns have the names of dbt's snapshots.

    Days after all built days extend the open versions; for any other day, the table is rebuilt in full.
-#}
{{ config(unique_key='dbt_scd_id') }}

with

source as (

    select *
    from {{ bronze_rows('jsonplaceholder', 'users', 'changed' if is_incremental() else 'all') }}
    qualify row_number() over (partition by id, dt order by _row desc) = 1

),

renamed as (

    select
        cast(id as string) as user_id,
        name,
        username,
        email,
        phone,
        website,
        {{ json_text('address', '$.city') }} as city,
        {{ json_text('company', '$.name') }} as company_name,
        dt as dbt_valid_from
    from source

),

versions as (

    select * from renamed
    {% if is_incremental() %}
    union all by name
    select {{ all_except(['dbt_valid_to', 'dbt_scd_id']) }}
    from {{ this }}
    where dbt_valid_to is null
    {% endif %}

),

compared as (

    select
        *,
        {{ row_of(['name', 'username', 'email', 'phone', 'website', 'city', 'company_name']) }} as version_values
    from versions

),

changed as (

    select {{ all_except(['version_values']) }}
    from compared
    qualify version_values is distinct from lag(version_values) over (
        partition by user_id order by dbt_valid_from
    )

),

bounded as (

    select
        *,
        lead(dbt_valid_from) over (
            partition by user_id order by dbt_valid_from
        ) as dbt_valid_to,
        md5(user_id || '|' || cast(dbt_valid_from as string)) as dbt_scd_id
    from changed

)

-- the columns of open versions come from the table itself
select * from bounded -- noqa: AM04
