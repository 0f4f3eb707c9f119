{{
    config(
        materialized='view',
        schema='metrics',
        meta={
            'expected_rows_sql': 'select 36525',
            'expected_rows_reason': 'one row per day of a century',
        },
    )
}}

select date_day
from {{ each_day('2000-01-01', '2100-01-01') }} as every_day
