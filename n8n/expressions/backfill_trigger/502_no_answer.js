(() => {
  // What did not answer, and whether something may have been started.
  const token = $('Get Airflow token'), request = $('Read request').first().json;
  const asked = $('Ask the pipeline').isExecuted;
  const found = asked ? $('Ask the pipeline').first().json : token.first().json;
  const status = found.statusCode ?? null;
  let text = '';
  try { text = JSON.parse(found.data)?.detail ?? ''; } catch (error) { text = ''; }
  const nothing = 'Airflow does not serve the pipeline: its plugin did not load (see `airflow plugins`, or `make doctor`)';
  const what = status === null
    ? 'Airflow could not be reached or did not answer in time'
    : !asked ? 'Airflow gave this service no token' : status === 404 ? nothing : 'Airflow answered with an unexpected status or no JSON';
  // a request without an answer may still be under way in Airflow
  const gone = status !== null && $('Look again').isExecuted && $('Look again').first().json.statusCode === 404
    && String($('Look again').first().json.data).includes('not_found');
  const outcome = !request.starts ? (request.method === 'GET' ? 'the progress is unknown' : 'a dry run starts nothing')
    : !asked || gone || status === 404 ? 'nothing was started'
      : 'whether the backfill was started is unknown, and asking again is safe';
  const code = status === null ? 'airflow_unreachable' : !asked && [401, 403].includes(status) ? 'airflow_login_failed' : 'airflow_error';
  const reason = status === null ? (found.error?.code ?? found.error?.message ?? 'no answer') : `answered ${status} ${typeof text === 'string' ? text : ''}`;
  return { error: { code, message: `${what}; ${outcome}.`, details: [{ field: 'airflow', message: String(reason).trim().slice(0, 200) }] } };
})()
