(() => {
  // The day of the run, and where to watch it.
  const run = JSON.parse($json.data), settings = $('Settings').first().json;
  const page = `${settings.ui_url}/dags/${settings.dag_id}/runs/${encodeURIComponent(run.dag_run_id)}`;
  return { day: run.partition_key, ui_url: page };
})()
