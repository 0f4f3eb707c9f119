{{
    config(
        unique_key=['user_id', 'activity_date'],
        meta={
            'affected_by': {'fct_events': ['user_id', 'event_date']},
            'expected_rows_sql': 'select count(*) from (select distinct user_id, event_date from gold.fct_events)',
            'expected_rows_reason': 'one row per user and day with events',
        },
    )
}}

with

events as (

    select * from {{ ref('fct_events') }}
    {% if is_incremental() %}
    where {{ in_affected_keys(['user_id', 'event_date']) }}
    {% endif %}

),

activity_per_user_and_day as (

    select
        user_id,
        event_date as activity_date,
        count(*) as event_count,
        cast(sum(comment_count) as bigint) as comments_received_count,
        cast(sum(body_length_chars) as bigint) as body_length_chars
    from events
    group by user_id, event_date

)

select * from activity_per_user_and_day
