{{ config(unique_key='comment_id') }}

with

source as (

    select * from {{ latest_row_per_key('jsonplaceholder', 'comments') }}

),

renamed as (

    select
        ---------- ids
        cast(id as string) as comment_id,
        cast(postId as string) as event_id,

        ---------- strings
        name as title,
        email as author_email,
        body,
        _extra as extra_fields_json,

        ---------- dates
        first_seen_date,
        last_seen_date
    from source

)

select * from renamed
