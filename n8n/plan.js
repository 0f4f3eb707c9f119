// Decide which workflows and credentials have to be imported: what is missing, and what nobody has changed in n8n since
// the last import. What somebody has changed stays, and is told.
//   node plan.js plan FROM TO       renders FROM, leaves in TO what to import, prints the ids to publish
//   node plan.js record FROM TO     notes what was imported, and as what n8n has stored it
// OVERWRITE=yes replaces what was changed.
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { open, workflow: stored, record: recorded, unknownNodes, write } = require('./database.js');

const hash = (value) => crypto.createHash('sha256').update(JSON.stringify(value)).digest('hex');
const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
};
const hashStored = (row) => hash(sorted([JSON.parse(row.nodes), JSON.parse(row.connections), JSON.parse(row.settings || '{}')]));
const hashCredentials = () => {
  // keyed, so that nobody finds a secret by trying
  const secret = require('./secret.js');
  const names = ['BACKFILL_WEBHOOK_SECRET', 'AIRFLOW_SERVICE_PASSWORD', 'ALERT_SERVICE_SECRET'];
  return crypto.createHmac('sha256', secret('N8N_ENCRYPTION_KEY')).update(JSON.stringify(names.map(secret))).digest('hex');
};
const values = () => {
  const e = process.env;
  return {
    airflow_url: e.AIRFLOW_URL,
    ui_url: e.AIRFLOW_UI_URL,
    webhook_url: e.BACKFILL_WEBHOOK_URL,
    alert_url: e.ALERT_URL,
    max_days: e.BACKFILL_MAX_DAYS && Number(e.BACKFILL_MAX_DAYS),
  };
};

// Return the workflows of a folder with the values of this installation in the nodes called Settings.
const render = (from) =>
  fs.readdirSync(from).filter((name) => name.endsWith('.json')).map((file) => {
    const workflow = JSON.parse(fs.readFileSync(path.join(from, file), 'utf8'));
    for (const node of workflow.nodes.filter((candidate) => candidate.name === 'Settings')) {
      for (const setting of node.parameters.assignments.assignments) setting.value = values()[setting.name] || setting.value;
    }
    return workflow;
  });
const canBePublished = (workflow) =>
  workflow.nodes.some((node) => /\.(webhook|errorTrigger|scheduleTrigger)$/.test(node.type) && !node.disabled);

const why = (row, known, rendered) => {
  // why a workflow is not to be imported; nothing if it is
  if (!row) return null;
  const overwrite = process.env.OVERWRITE === 'yes';
  if (row.isArchived && !overwrite) return 'was archived in n8n and stays so';
  if (known && hashStored(row) !== known.stored && !overwrite) return 'was changed in n8n and stays as it is';
  return known && known.rendered === rendered && hashStored(row) === known.stored && !row.isArchived ? '' : null;
};

const plan = (from, to) => {
  const database = open(true), known = database ? recorded(database) : {};
  for (const workflow of render(from)) {
    const row = database && stored(database, workflow.id);
    const reason = why(row, known[workflow.id], hash(workflow));
    if (reason) {
      console.error(`n8n: workflow ${workflow.name} ${reason}; \`make n8n-export\` brings it into the repository, \`make n8n-import OVERWRITE=yes\` replaces it`);
    }
    if (reason !== null) continue;
    // n8n publishes no archived workflow
    fs.writeFileSync(path.join(to, `${workflow.id}.json`), JSON.stringify({ ...workflow, isArchived: false }));
    // one that somebody has switched off stays off
    const off = row && known[workflow.id] && !row.active && process.env.OVERWRITE !== 'yes';
    if (canBePublished(workflow) && !off) console.log(workflow.id);
  }
  const count = database ? database.prepare("select count(*) as n from credentials_entity where id in ('bfWebhookCaller1', 'bfAirflowLogin01', 'bfAlertService01')").get().n : 0;
  if (count < 3 || known.credentials !== hashCredentials()) fs.writeFileSync(path.join(to, 'credentials'), '');
};

const record = (from, to) => {
  const database = open(false), known = recorded(database), imported = [];
  for (const workflow of render(from)) {
    if (fs.existsSync(path.join(to, `${workflow.id}.json`))) {
      known[workflow.id] = { rendered: hash(workflow), stored: hashStored(stored(database, workflow.id)) };
      imported.push(workflow.name);
    }
  }
  if (imported.length) console.log(`n8n: imported ${imported.join(', ')}`);
  write(database, { ...known, credentials: hashCredentials() });
  for (const [name, types] of Object.entries(unknownNodes(database, JSON.parse(process.env.NODES_INCLUDE)))) {
    const names = types.map((type) => type.replace('n8n-nodes-base.', '')).join(',');
    console.error(`n8n: workflow ${name} uses node types that are not allowed; N8N_EXTRA_NODES=${names} in .env allows them`);
  }
};

const [command, ...options] = process.argv.slice(2);
({ plan, record })[command](...options);
