(() => {
  // Whether this is an answer of the pipeline: progress, a plan, a backfill, or a refusal with its code.
  let document = null;
  try { document = JSON.parse($json.data); } catch (error) { return false; }
  const isObject = document !== null && typeof document === 'object';
  const done = [200, 202].includes($json.statusCode) && isObject && typeof document.dag_id === 'string';
  const refused = [400, 404, 409].includes($json.statusCode) && isObject && typeof document.error?.code === 'string';
  return done || refused;
})()
