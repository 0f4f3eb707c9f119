#!/bin/sh
# Put the credentials (from the environment) and the workflows into n8n's database and publish them. Runs before n8n
# starts; run again, it imports only what differs, which is how secrets are rotated, and keeps what was changed in n8n
# (OVERWRITE=yes replaces that). Uses only sh, node and n8n: the official image has little else.
set -eu
umask 077
for name in N8N_ENCRYPTION_KEY BACKFILL_WEBHOOK_SECRET AIRFLOW_SERVICE_PASSWORD ALERT_SERVICE_SECRET; do
    eval ": \"\${$name:-\${${name}_FILE:?and $name are not set; make init makes it}}\""
done
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
NODES_INCLUDE=$(node "$here/nodes.js")
export NODES_INCLUDE NODE_NO_WARNINGS=1

published=$(node "$here/plan.js" plan "$here/workflows" "$work")
# it was made by a version that left it readable by others
[ ! -d "${N8N_USER_FOLDER:-$HOME}/.n8n" ] || chmod -R go-rwx "${N8N_USER_FOLDER:-$HOME}/.n8n"
if [ -e "$work/credentials" ]; then
    rm "$work/credentials"
    # through a pipe, so that no plain secret touches the disk
    node "$here/credentials.js" | n8n import:credentials --input=/dev/stdin
fi
if [ -n "$(ls "$work")" ]; then
    if [ -e "${N8N_USER_FOLDER:-$HOME}/.n8n/database.sqlite" ]; then
        for file in "$work"/*.json; do
            # n8n 2.40 refuses to import over a published workflow; in a new database there is none yet
            id=$(basename "$file" .json)
            [ "$(node "$here/published.js" "$id")" = no ] || n8n unpublish:workflow --id="$id" >/dev/null
        done
    fi
    n8n import:workflow --separate --input="$work"
    # a workflow whose only triggers are by hand or switched off cannot be published
    for id in $published; do
        n8n publish:workflow --id="$id"
    done
fi
node "$here/plan.js" record "$here/workflows" "$work"
