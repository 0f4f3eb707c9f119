{{ config(unique_key='todo_id') }}

with

source as (

    select * from {{ latest_row_per_key('jsonplaceholder', 'todos') }}

),

renamed as (

    select
        ---------- ids
        cast(id as string) as todo_id,
        cast(userId as string) as user_id,

        ---------- strings
        title,
        _extra as extra_fields_json,

        ---------- booleans
        completed as is_completed,

        ---------- dates
        first_seen_date,
        last_seen_date
    from source

)

select * from renamed
