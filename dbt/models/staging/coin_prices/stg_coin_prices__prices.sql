{{ config(unique_key=['coin', 'price_date']) }}

with

source as (

    select * from {{ latest_row_per_key('coin_prices', 'prices') }}

),

renamed as (

    select
        ---------- strings
        coin,
        _extra as extra_fields_json,

        ---------- numerics
        usd as price_usd,

        ---------- dates
        last_seen_date as price_date,
        first_seen_date,
        last_seen_date
    from source

)

select * from renamed
