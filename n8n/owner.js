// Print the bcrypt hash of the owner's password, which is all that n8n takes: node owner.js PATH-OF-N8N
const fs = require('node:fs');
const { createRequire } = require('node:module');
const secret = require('./secret.js');
const bcrypt = createRequire(fs.realpathSync(process.argv[2]))('bcryptjs');
process.stdout.write(bcrypt.hashSync(secret('N8N_OWNER_PASSWORD'), 10));
