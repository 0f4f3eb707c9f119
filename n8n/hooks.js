// Keep the caller's password out of n8n's database: n8n writes what a webhook was sent, headers and all, before a
// workflow starts. n8n loads this file (EXTERNAL_HOOK_FILES) in its own process; the password was checked already.
const { createRequire } = require('node:module');
const { Webhook } = createRequire(require.main.filename)('n8n-nodes-base/dist/nodes/Webhook/Webhook.node.js');
const SECRET_HEADERS = ['authorization', 'proxy-authorization', 'cookie'];
const original = Webhook.prototype.webhook;

Webhook.prototype.webhook = async function webhook(context) {
  const answer = await original.call(this, context);
  for (const item of (answer.workflowData ?? []).flat()) {
    if (!item?.json?.headers) continue;
    item.json.headers = { ...item.json.headers };
    for (const name of SECRET_HEADERS) delete item.json.headers[name];
  }
  return answer;
};

module.exports = {};
