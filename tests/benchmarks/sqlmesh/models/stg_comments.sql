MODEL (
  name silver.stg_comments,
  kind INCREMENTAL_BY_UNIQUE_KEY (unique_key comment_id),
  audits (not_null(columns := (comment_id, event_id)))
);

SELECT
  id::VARCHAR AS comment_id,
  "postId"::VARCHAR AS event_id,
  dt::DATE AS last_seen_date
FROM READ_PARQUET(@bronze || '/jsonplaceholder/comments/dt=*/*.parquet', hive_partitioning = TRUE)
WHERE dt BETWEEN @start_date AND @end_date
