(() => {
  // What did not answer, and whether something may have been started.
  // n8n gives an expression the output of another node's success (0); its error output (1) it lets nobody read.
  const answer = (name) => $(name).isExecuted ? $(name).first(0)?.json ?? {} : null;
  const request = answer('Read request'), asked = answer('Ask the pipeline'), again = answer('Look again');
  const found = asked ?? answer('Get Airflow token') ?? {};
  const status = found.statusCode ?? null;
  let text = '';
  try { text = JSON.parse(found.data)?.detail ?? ''; } catch (error) { text = ''; }
  const nothing = 'Airflow does not serve the pipeline: its plugin did not load (see `airflow plugins`, or `make doctor`)';
  const what = status === null
    ? 'Airflow could not be reached or did not answer in time'
    : asked === null ? 'Airflow gave this service no token' : status === 404 ? nothing : 'Airflow answered with an unexpected status or no JSON';
  // a request without an answer may still be under way in Airflow
  const gone = status !== null && again?.statusCode === 404 && String(again.data).includes('not_found');
  const outcome = !request.starts ? (request.method === 'GET' ? 'the progress is unknown' : 'a dry run starts nothing')
    : asked === null || gone || status === 404 ? 'nothing was started'
      : 'whether the backfill was started is unknown, and asking again is safe';
  const code = status === null ? 'airflow_unreachable' : asked === null && [401, 403].includes(status) ? 'airflow_login_failed' : 'airflow_error';
  // the error of the node before this one; an earlier node's is not to be had
  const failure = $json.error?.code ?? $json.error?.message ?? 'no answer';
  const reason = status === null ? failure : `answered ${status} ${typeof text === 'string' ? text : ''}`;
  return { error: { code, message: `${what}; ${outcome}.`, details: [{ field: 'airflow', message: String(reason).trim().slice(0, 200) }] } };
})()
