{{
    config(
        unique_key='user_id',
        meta={
            'affected_by': {
                'stg_jsonplaceholder__users': ['user_id'],
                'stg_jsonplaceholder__todos': ['user_id'],
            },
            'expected_rows_sql': 'select count(*) from silver.stg_jsonplaceholder__users',
            'expected_rows_reason': 'one row per user in Silver',
        },
    )
}}

with

users as (

    select * from {{ ref('stg_jsonplaceholder__users') }}
    {% if is_incremental() %}
    where {{ in_affected_keys(['user_id']) }}
    {% endif %}

),

todos as (

    select * from {{ ref('stg_jsonplaceholder__todos') }}

),

todos_per_user as (

    select
        todos.user_id,
        count(*) as todo_count,
        count(*) filter (where todos.is_completed) as completed_todo_count
    from todos
    inner join users
        on todos.user_id = users.user_id
    group by todos.user_id

),

final as (

    select
        users.user_id,
        users.name,
        users.username,
        users.email,
        users.phone,
        users.website,
        users.city,
        users.company_name,
        coalesce(todos_per_user.todo_count, 0) as todo_count,
        coalesce(todos_per_user.completed_todo_count, 0) as completed_todo_count,
        users.first_seen_date
    from users
    left join todos_per_user
        on users.user_id = todos_per_user.user_id

)

select * from final
