{{
    config(
        unique_key=['coin', 'price_date'],
        meta={
            'affected_by': {'stg_coin_prices__prices': ['coin', 'price_date']},
            'expected_rows_sql': 'select count(*) from silver.stg_coin_prices__prices',
            'expected_rows_reason': 'one row per coin and day in Silver',
        },
    )
}}

with

prices as (

    select * from {{ ref('stg_coin_prices__prices') }}
    {% if is_incremental() %}
    where {{ in_affected_keys(['coin', 'price_date']) }}
    {% endif %}

),

final as (

    select
        coin,
        price_date,
        price_usd
    from prices

)

select * from final
