(() => {
  // The pipeline's own answer, with the address at which the caller can ask for progress.
  const document = JSON.parse($json.data);
  const id = document.backfill_id ?? null;
  return id === null ? document : { ...document, status_url: `${$('Settings').first().json.webhook_url}?id=${id}` };
})()
