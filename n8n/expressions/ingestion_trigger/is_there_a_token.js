(() => {
  // Whether Airflow has answered with a token.
  try { return $json.statusCode === 201 && typeof JSON.parse($json.data).access_token === 'string'; } catch (error) { return false; }
})()
