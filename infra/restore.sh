#!/usr/bin/env bash
# Restore a backup into an installation without state: infra/restore.sh FOLDER COMPOSE...
# It restores the secrets too: without the keys of the backup, its databases cannot be read.
# An encrypted backup opens with BACKUP_PASSPHRASE, from the environment or .env.
set -euo pipefail
folder=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
umask 077
export BACKUP_PASSPHRASE=${BACKUP_PASSPHRASE:-$(.venv/bin/dotenv --file .env get BACKUP_PASSPHRASE 2>/dev/null || true)}
if [ -f "$folder/airflow.dump.gpg" ]; then
    part() { "$here/sealed.sh" open <"$folder/$1.gpg"; }
    [ -n "$BACKUP_PASSPHRASE" ] || { echo "'$folder' is encrypted; set BACKUP_PASSPHRASE to its passphrase" >&2; exit 1; }
    command -v gpg >/dev/null || { echo "gpg is missing, which opens '$folder': apt-get install gnupg" >&2; exit 1; }
elif [ -f "$folder/airflow.dump" ]; then
    part() { cat "$folder/$1"; }
else
    echo "'$folder' is not a backup; use: make restore FROM=backups/..." >&2
    exit 1
fi
project=$("$@" config | sed -n 's/^name: //p')
if [ -n "$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project")" ]; then
    echo "volumes of $project exist; a restore overwrites nothing: make reset CONFIRM=yes removes them" >&2
    exit 1
fi
if [ -e data/bronze ] || [ -e data/warehouse.duckdb ]; then
    echo "data/ holds data; a restore overwrites nothing: move it away first" >&2
    exit 1
fi
for name in env airflow.dump prefect.dump n8n.sqlite data.tar; do
    part "$name" >/dev/null 2>&1 || {
        echo "'$folder': $name does not open: BACKUP_PASSPHRASE is wrong, or the file is damaged; nothing was changed" >&2
        exit 1
    }
done
# the secrets come from the backup; the user and the ports come from this machine
machine='^(HOST_UID|(AIRFLOW|N8N|DOCS|PREFECT|GRAFANA|PROMETHEUS|SAMPLE_API)_PORT)='
[ ! -f .env ] || cp -p .env .env.before-restore
{ part env | grep -vE "$machine"; grep -E "$machine" .env; } >.env.new
chmod 600 .env.new
mv .env.new .env
# writes the secret files, which production mounts
make init

part data.tar | tar -xf - --no-same-owner
"$@" up --detach --wait postgres
for database in airflow prefect; do
    part "$database.dump" |
        "$@" exec -T postgres pg_restore -U airflow --clean --if-exists --no-owner -d "$database"
done
# the container runs as n8n's user, who owns the volume and must own the file
part n8n.sqlite |
    "$@" run --rm --no-deps -T --entrypoint sh n8n-init -c 'umask 077; cat > /home/node/.n8n/database.sqlite'
"$@" stop postgres
echo "restored from $folder; make up starts it"
