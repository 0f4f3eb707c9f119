(() => {
  // Whether Airflow has made the run.
  try { return $json.statusCode === 200 && typeof JSON.parse($json.data).dag_run_id === 'string'; } catch (error) { return false; }
})()
