MODEL (
  name gold.fct_events,
  kind INCREMENTAL_BY_UNIQUE_KEY (unique_key event_id),
  audits (
    unique_values(columns := (event_id)),
    not_null(columns := (event_id, user_id, event_title, comment_count, occurred_at, event_date, arrival_lag_days)),
  )
);

WITH events AS (
  SELECT * FROM silver.stg_events WHERE last_seen_date BETWEEN @start_date AND @end_date
), comments_per_event AS (
  SELECT c.event_id, COUNT(*) AS comment_count
  FROM silver.stg_comments AS c
  INNER JOIN events AS e ON c.event_id = e.event_id
  GROUP BY c.event_id
), events_dated AS (
  SELECT *, COALESCE(created_at, first_seen_date::TIMESTAMP) AS occurred_at FROM events
)
SELECT
  e.event_id::VARCHAR AS event_id,
  e.user_id::VARCHAR AS user_id,
  e.event_title::VARCHAR AS event_title,
  LENGTH(e.body)::BIGINT AS body_length_chars,
  COALESCE(p.comment_count, 0)::BIGINT AS comment_count,
  e.occurred_at::TIMESTAMP AS occurred_at,
  e.occurred_at::DATE AS event_date,
  DATE_DIFF('DAY', e.occurred_at::DATE, e.first_seen_date)::BIGINT AS arrival_lag_days
FROM events_dated AS e
LEFT JOIN comments_per_event AS p ON e.event_id = p.event_id
