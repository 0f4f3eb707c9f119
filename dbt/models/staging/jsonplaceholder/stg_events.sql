{{ config(unique_key='event_id') }}

with

source as (

    select * from {{ latest_row_per_key('jsonplaceholder', 'posts') }}

),

renamed as (

    select
        ---------- ids
        cast(id as varchar) as event_id,
        cast(userId as varchar) as user_id,

        ---------- strings
        title as event_title,
        body,
        _extra as extra_fields_json,

        ---------- timestamps
        createdAt at time zone 'UTC' as created_at,

        ---------- dates
        first_seen_date,
        last_seen_date
    from source

)

select * from renamed
