{{
    config(
        unique_key='event_id',
        meta={
            'affected_by': {
                'stg_events': ['event_id'],
                'stg_jsonplaceholder__comments': ['event_id'],
            },
            'expected_rows_sql': 'select count(*) from silver.stg_events',
            'expected_rows_reason': 'one row per event in Silver',
        },
    )
}}

with

events as (

    select * from {{ ref('stg_events') }}
    {% if is_incremental() %}
    where {{ in_affected_keys(['event_id']) }}
    {% endif %}

),

comments as (

    select * from {{ ref('stg_jsonplaceholder__comments') }}

),

comments_per_event as (

    select
        comments.event_id,
        count(*) as comment_count
    from comments
    inner join events
        on comments.event_id = events.event_id
    group by comments.event_id

),

events_dated as (

    select
        *,
        coalesce(
            created_at, cast(first_seen_date as timestamp)
        ) as occurred_at
    from events

),

final as (

    select
        events_dated.event_id,
        events_dated.user_id,
        events_dated.event_title,
        cast(length(events_dated.body) as bigint) as body_length_chars,
        coalesce(comments_per_event.comment_count, 0) as comment_count,
        events_dated.occurred_at,
        cast(events_dated.occurred_at as date) as event_date,
        {{ days_between('cast(events_dated.occurred_at as date)', 'events_dated.first_seen_date') }} as arrival_lag_days
    from events_dated
    left join comments_per_event
        on events_dated.event_id = comments_per_event.event_id

)

select * from final
