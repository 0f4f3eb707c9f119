#!/bin/sh
# Start n8n with its owner's account and without the secrets that init.sh has put into its database.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
N8N_INSTANCE_OWNER_PASSWORD_HASH=$(node "$here/owner.js" "$(command -v n8n)")
# no Code nodes, so no runners: nobody has to know this token
N8N_RUNNERS_AUTH_TOKEN=$(node -p 'crypto.randomBytes(16).toString("hex")')
export N8N_INSTANCE_OWNER_PASSWORD_HASH N8N_RUNNERS_AUTH_TOKEN
unset N8N_OWNER_PASSWORD BACKFILL_WEBHOOK_SECRET AIRFLOW_SERVICE_PASSWORD
exec n8n start
