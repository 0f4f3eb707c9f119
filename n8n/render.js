// Copy the workflows of one folder to another, named by their ids, with the values of this installation in the nodes
// called Settings, and print the ids of those to publish: node render.js FROM TO
const fs = require('node:fs');
const path = require('node:path');
const [from, to] = process.argv.slice(2);
const e = process.env;
const values = {
  airflow_url: e.AIRFLOW_URL,
  ui_url: e.AIRFLOW_UI_URL,
  webhook_url: e.BACKFILL_WEBHOOK_URL,
  max_days: e.BACKFILL_MAX_DAYS && Number(e.BACKFILL_MAX_DAYS),
};
for (const file of fs.readdirSync(from).filter((name) => name.endsWith('.json'))) {
  const workflow = JSON.parse(fs.readFileSync(path.join(from, file), 'utf8'));
  for (const node of workflow.nodes.filter((candidate) => candidate.name === 'Settings')) {
    for (const setting of node.parameters.assignments.assignments) setting.value = values[setting.name] || setting.value;
  }
  const triggers = workflow.nodes.filter((node) => /\.(webhook|errorTrigger|scheduleTrigger)$/.test(node.type) && !node.disabled);
  if (triggers.length > 0) console.log(workflow.id);
  fs.writeFileSync(path.join(to, `${workflow.id}.json`), JSON.stringify(workflow));
}
