#!/bin/sh
# Put the credentials (from the environment) and the workflows into n8n's database and publish them. Runs before n8n
# starts; run again, it brings all of it up to date, which is how secrets are rotated.
# Uses only sh, node and n8n: the official image has little else.
set -eu
for name in N8N_ENCRYPTION_KEY BACKFILL_WEBHOOK_SECRET AIRFLOW_SERVICE_PASSWORD; do
    eval ": \"\${$name:-\${${name}_FILE:?and $name are not set; make init makes it}}\""
done
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# through a pipe, so that no plain secret touches the disk
node "$here/credentials.js" | n8n import:credentials --input=/dev/stdin

published=$(node "$here/render.js" "$here/workflows" "$work")
for file in "$work"/*.json; do
    # n8n 2.40 refuses to import over a published workflow; in a new database there is none yet
    n8n unpublish:workflow --id="$(basename "$file" .json)" >/dev/null 2>&1 || true
done
n8n import:workflow --separate --input="$work"
# a workflow whose only triggers are by hand or switched off cannot be published
for id in $published; do
    n8n publish:workflow --id="$id"
done
