MODEL (
  name silver.stg_events,
  kind INCREMENTAL_BY_UNIQUE_KEY (unique_key event_id),
  audits (
    unique_values(columns := (event_id)),
    not_null(columns := (event_id, user_id, event_title)),
  )
);

SELECT
  id::VARCHAR AS event_id,
  "userId"::VARCHAR AS user_id,
  title::VARCHAR AS event_title,
  body::VARCHAR AS body,
  _extra::VARCHAR AS extra_fields_json,
  ("createdAt" AT TIME ZONE 'UTC')::TIMESTAMP AS created_at,
  dt::DATE AS first_seen_date,
  dt::DATE AS last_seen_date
FROM READ_PARQUET(@bronze || '/jsonplaceholder/posts/dt=2*/part-0.parquet', hive_partitioning = TRUE)
WHERE dt BETWEEN @start_date AND @end_date
QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY dt DESC, _row DESC) = 1
