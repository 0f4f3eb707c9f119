#!/bin/sh
# Start n8n with its owner's account and without the secrets that init.sh has put into its database.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
N8N_INSTANCE_OWNER_PASSWORD_HASH=$(node "$here/owner.js" "$(command -v n8n)")
NODES_INCLUDE=$(node "$here/nodes.js")
# without Code nodes no runners; with them n8n starts its own, which takes 115 MB more
case $NODES_INCLUDE in *n8n-nodes-base.code\"*) export N8N_RUNNERS_MODE=internal ;; esac
# nobody has to know this token
N8N_RUNNERS_AUTH_TOKEN=$(node -p 'crypto.randomBytes(16).toString("hex")')
export EXTERNAL_HOOK_FILES="$here/hooks.js"
export NODES_INCLUDE N8N_INSTANCE_OWNER_PASSWORD_HASH N8N_RUNNERS_AUTH_TOKEN
unset N8N_OWNER_PASSWORD BACKFILL_WEBHOOK_SECRET AIRFLOW_SERVICE_PASSWORD ALERT_SERVICE_SECRET
exec n8n start
