(() => {
  // Whether a request that got no answer has started its backfill all the same.
  let document = null;
  try { document = JSON.parse($json.data); } catch (error) { return false; }
  return $json.statusCode === 202 && typeof document?.backfill_id === 'number';
})()
