#!/usr/bin/env bash
# Copy the state of the running stack to a new folder: infra/backup.sh FOLDER COMPOSE...
# It pauses all tasks during the copy, so that databases, Bronze and warehouse are of the same moment.
# With BACKUP_PASSPHRASE, from the environment or .env, every file is encrypted before it is written.
set -euo pipefail
folder=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
umask 077
[ ! -e "$folder" ] || { echo "$folder exists; give another name: make backup TO=FOLDER" >&2; exit 1; }
[ -n "$("$@" ps --quiet postgres)" ] || { echo "the stack does not run; make up starts it" >&2; exit 1; }
export BACKUP_PASSPHRASE=${BACKUP_PASSPHRASE:-$(.venv/bin/dotenv --file .env get BACKUP_PASSPHRASE 2>/dev/null || true)}
if [ -n "$BACKUP_PASSPHRASE" ]; then
    command -v gpg >/dev/null || { echo "gpg is missing, which encrypts with BACKUP_PASSPHRASE: apt-get install gnupg" >&2; exit 1; }
    keep() { "$here/sealed.sh" seal >"$folder.part/$1.gpg"; }
else
    keep() { cat >"$folder.part/$1"; }
fi
mkdir -p "$folder.part"
writers=$("$@" --profile '*' ps --services --status running | grep -E '^(scheduler|worker|warehouse-worker|prefect-worker|prefect-load-worker)$' || true)
# the names of services, one word each
# shellcheck disable=SC2086
resume() { [ -z "$writers" ] || "$@" --profile '*' unpause $writers >/dev/null 2>&1 || true; }
trap 'resume "$@"' EXIT
# shellcheck disable=SC2086
[ -z "$writers" ] || "$@" --profile '*' pause $writers >/dev/null 2>&1

for database in airflow prefect; do
    "$@" exec -T postgres pg_dump -U airflow -Fc "$database" </dev/null | keep "$database.dump"
done
"$@" exec -T n8n node /opt/n8n/backup.js </dev/null | keep n8n.sqlite
# work in progress is left out: the next run does it again
tar -C . -cf - --exclude='*/_staging' --exclude='*/builds/.next' --exclude='*/builds/.spare' \
    --exclude='data/demo' \
    --exclude='data/airflow' --exclude='data/postgres' --exclude='data/n8n' --exclude='data/prefect' data | keep data.tar
keep env <.env
mv "$folder.part" "$folder"
if [ -n "$BACKUP_PASSPHRASE" ]; then
    echo "$folder: $(du -sh "$folder" | cut -f1); it opens only with BACKUP_PASSPHRASE, so keep that elsewhere"
else
    echo "$folder: $(du -sh "$folder" | cut -f1); it holds every secret, so keep it private"
fi
