// What n8n's webhooks do beside n8n's own: they limit wrong passwords (password_limit.js), and keep the caller's password
// out of n8n's database: n8n writes what a webhook was sent, headers and all, before a workflow starts. n8n loads this
// file (EXTERNAL_HOOK_FILES) in its own process; the password was checked already.
const { createRequire } = require('node:module');
const { Webhook } = createRequire(require.main.filename)('n8n-nodes-base/dist/nodes/Webhook/Webhook.node.js');
const PasswordLimit = require('./password_limit.js');
const SECRET_HEADERS = ['authorization', 'proxy-authorization', 'cookie'];
const original = Webhook.prototype.webhook;
const limit = new PasswordLimit();

Webhook.prototype.webhook = async function webhook(context) {
  const request = context.getRequestObject(), response = context.getResponseObject();
  const wait = limit.wait(request.ip);
  if (wait) {
    response.writeHead(429, { 'Retry-After': String(wait), 'Content-Type': 'text/plain; charset=utf-8' });
    response.end(`too many wrong passwords; wait ${wait} seconds\n`);
    return { noWebhookResponse: true };
  }
  const answer = await original.call(this, context);
  if (request.headers.authorization && [401, 403].includes(response.statusCode)) limit.note(request.ip);
  for (const item of (answer.workflowData ?? []).flat()) {
    if (!item?.json?.headers) continue;
    item.json.headers = { ...item.json.headers };
    for (const name of SECRET_HEADERS) delete item.json.headers[name];
  }
  return answer;
};

module.exports = {};
