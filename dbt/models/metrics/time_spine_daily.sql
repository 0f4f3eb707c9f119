{{
    config(
        materialized='view',
        schema='metrics',
        meta={
            'expected_rows_sql': "select date_diff('day', date '2000-01-01', date '2100-01-01')",
            'expected_rows_reason': 'one row per day of a century',
        },
    )
}}

select cast(range as date) as date_day
from range(date '2000-01-01', date '2100-01-01', interval 1 day)
