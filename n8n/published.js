// Print whether a workflow is published: node published.js ID
const { open, workflow } = require('./database.js');
const database = open(true), row = database && workflow(database, process.argv[2]);
console.log(row && row.active && !row.isArchived ? 'yes' : 'no');
