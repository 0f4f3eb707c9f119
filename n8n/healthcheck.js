// Exits 0 when the webhook is live: it refuses a request without a password, and nothing else happens. Where somebody has
// switched the webhook off in n8n, exits 0 when n8n itself is ready.
const { open, workflow } = require('./database.js');
const root = `http://127.0.0.1:${process.env.N8N_PORT || 5678}`;
const database = open(true), row = database && workflow(database, 'backfillTrigger1');
const ask = row && (!row.active || row.isArchived)
  ? fetch(`${root}/healthz/readiness`).then((answer) => answer.status === 200)
  : fetch(`${root}/webhook/backfill`, { method: 'POST' }).then((answer) => answer.status === 401);
ask.then((well) => process.exit(well ? 0 : 1), () => process.exit(1));
