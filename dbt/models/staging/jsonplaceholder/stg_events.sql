{{ config(unique_key='event_id') }}

with

source as (

    select * from {{ latest_row_per_key('jsonplaceholder', 'posts') }}

),

renamed as (

    select
        ---------- ids
        cast(id as string) as event_id,
        cast(userId as string) as user_id,

        ---------- strings
        title as event_title,
        body,
        _extra as extra_fields_json,

        ---------- timestamps
        {{ utc_timestamp('createdAt') }} as created_at,

        ---------- dates
        first_seen_date,
        last_seen_date
    from source

)

select * from renamed
