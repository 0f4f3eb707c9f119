// Print the credentials of the workflows as n8n imports them, from the environment.
const secret = require('./secret.js');
const login = { username: process.env.AIRFLOW_SERVICE_USER || 'n8n', password: secret('AIRFLOW_SERVICE_PASSWORD') };
process.stdout.write(JSON.stringify([
  {
    id: 'bfWebhookCaller1',
    name: 'Backfill webhook caller',
    type: 'httpBasicAuth',
    data: { user: 'backfill', password: secret('BACKFILL_WEBHOOK_SECRET') },
  },
  {
    id: 'bfAirflowLogin01',
    name: 'Airflow API login',
    type: 'httpCustomAuth',
    data: { json: JSON.stringify({ body: login }) },
  },
  {
    id: 'bfAlertService01',
    name: 'Alert service',
    type: 'httpBasicAuth',
    data: { user: 'alerts', password: secret('ALERT_SERVICE_SECRET') },
  },
]));
