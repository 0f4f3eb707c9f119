// Print the node types that n8n loads, for NODES_INCLUDE: those of the workflows, and those that N8N_EXTRA_NODES names,
// such as "slack,code" or "n8n-nodes-base.slack".
const extra = (process.env.N8N_EXTRA_NODES || '').split(',').map((name) => name.trim()).filter(Boolean);
const full = extra.map((name) => (name.includes('.') ? name : `n8n-nodes-base.${name}`));
process.stdout.write(JSON.stringify([...new Set([...JSON.parse(process.env.NODES_INCLUDE), ...full])]));
