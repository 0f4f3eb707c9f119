// n8n's database, read and written beside n8n: node:sqlite is part of Node.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { DatabaseSync } = require('node:sqlite');

const file = path.join(process.env.N8N_USER_FOLDER || os.homedir(), '.n8n', 'database.sqlite');
const RECORD = 'dataPipeline.imported';

// The open database; null before the first start of n8n.
exports.open = (readOnly) => {
  if (!fs.existsSync(file)) return null;
  const database = new DatabaseSync(file, { readOnly, timeout: 10000 });
  const tables = database.prepare("select count(*) as n from sqlite_master where name in ('workflow_entity', 'settings')").get();
  return tables.n === 2 ? database : null;
};

// A workflow as n8n holds it, or undefined.
exports.workflow = (database, id) =>
  database.prepare('select name, active, isArchived, nodes, connections, settings from workflow_entity where id = ?').get(id);

// The node types that published workflows use and n8n does not load, by the workflow's name.
exports.unknownNodes = (database, allowed) =>
  Object.fromEntries(
    database.prepare('select name, nodes from workflow_entity where active and not isArchived').all()
      .map(({ name, nodes }) => [name, [...new Set(JSON.parse(nodes).map((node) => node.type))].filter((type) => !allowed.includes(type))])
      .filter(([, types]) => types.length > 0),
  );

// What was imported, and as what n8n stored it: by id, two hashes.
exports.record = (database) => {
  const row = database.prepare('select value from settings where key = ?').get(RECORD);
  return row ? JSON.parse(row.value) : {};
};

exports.write = (database, record) =>
  database
    .prepare('insert into settings (key, value, loadOnStartup) values (?, ?, 0) on conflict (key) do update set value = excluded.value')
    .run(RECORD, JSON.stringify(record));
