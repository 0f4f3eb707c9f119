#!/bin/sh
# Copy the state of the running stack to a new folder: infra/backup.sh FOLDER COMPOSE...
# It pauses all tasks during the copy, so that databases, Bronze and warehouse are of the same moment.
set -eu
folder=$1
shift
umask 077
[ ! -e "$folder" ] || { echo "$folder exists; give another name: make backup TO=FOLDER" >&2; exit 1; }
[ -n "$("$@" ps --quiet postgres)" ] || { echo "the stack does not run; make up starts it" >&2; exit 1; }
mkdir -p "$folder.part"
writers=$("$@" --profile '*' ps --services --status running | grep -E '^(scheduler|prefect-worker)$' || true)
# the names of services, one word each
# shellcheck disable=SC2086
resume() { [ -z "$writers" ] || "$@" --profile '*' unpause $writers >/dev/null 2>&1 || true; }
trap 'resume "$@"' EXIT
# shellcheck disable=SC2086
[ -z "$writers" ] || "$@" --profile '*' pause $writers >/dev/null 2>&1

for database in airflow prefect; do
    "$@" exec -T postgres pg_dump -U airflow -Fc "$database" >"$folder.part/$database.dump"
done
"$@" exec -T n8n node /opt/n8n/backup.js >"$folder.part/n8n.sqlite"
# work in progress is left out: the next run does it again
tar -C . -cf "$folder.part/data.tar" --exclude='*/_staging' --exclude='*/builds/.next' --exclude='*/builds/.spare' \
    --exclude='data/demo' \
    --exclude='data/airflow' --exclude='data/postgres' --exclude='data/n8n' --exclude='data/prefect' data
cp .env "$folder.part/env"
mv "$folder.part" "$folder"
echo "$folder: $(du -sh "$folder" | cut -f1); it holds every secret, so keep it private"
