// The value of a secret from the environment: NAME itself, or the content of the file that NAME_FILE names.
const fs = require('node:fs');
module.exports = (name) => process.env[name] || fs.readFileSync(process.env[`${name}_FILE`], 'utf8').trim();
