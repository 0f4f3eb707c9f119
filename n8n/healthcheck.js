// Exits 0 when the webhook is live: it refuses a request without a password.
fetch(`http://127.0.0.1:${process.env.N8N_PORT || 5678}/webhook/backfill`, { method: 'POST' }).then(
  (answer) => process.exit(answer.status === 401 ? 0 : 1),
  () => process.exit(1),
);
