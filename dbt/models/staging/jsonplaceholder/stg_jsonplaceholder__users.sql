{{ config(unique_key='user_id') }}

with

source as (

    select * from {{ latest_row_per_key('jsonplaceholder', 'users') }}

),

renamed as (

    select
        ---------- ids
        cast(id as string) as user_id,

        ---------- strings
        name,
        username,
        email,
        phone,
        website,
        {{ json_text('address', '$.city') }} as city,
        {{ json_text('company', '$.name') }} as company_name,
        _extra as extra_fields_json,

        ---------- dates
        first_seen_date,
        last_seen_date
    from source

)

select * from renamed
