MODEL (
  name gold.fct_user_activity_daily,
  kind INCREMENTAL_BY_TIME_RANGE (time_column activity_date),
  audits (
    unique_combination_of_columns(columns := (user_id, activity_date)),
    not_null(columns := (user_id, activity_date, event_count)),
  )
);

SELECT
  user_id::VARCHAR AS user_id,
  event_date::DATE AS activity_date,
  COUNT(*)::BIGINT AS event_count,
  SUM(comment_count)::BIGINT AS comments_received_count,
  SUM(body_length_chars)::BIGINT AS body_length_chars
FROM gold.fct_events
WHERE event_date BETWEEN @start_date AND @end_date
GROUP BY user_id, event_date
