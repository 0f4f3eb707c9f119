#!/bin/sh
# Restore a backup into an installation without state: infra/restore.sh FOLDER COMPOSE...
# It restores the secrets too: without the keys of the backup, its databases cannot be read.
set -eu
folder=$1
shift
[ -f "$folder/airflow.dump" ] || { echo "'$folder' is not a backup; use: make restore FROM=backups/..." >&2; exit 1; }
project=$("$@" config | sed -n 's/^name: //p')
if [ -n "$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project")" ]; then
    echo "volumes of $project exist; a restore overwrites nothing: make reset CONFIRM=yes removes them" >&2
    exit 1
fi
if [ -e data/bronze ] || [ -e data/warehouse.duckdb ]; then
    echo "data/ holds data; a restore overwrites nothing: move it away first" >&2
    exit 1
fi
# the secrets come from the backup; the user and the ports come from this machine
machine='^(HOST_UID|(AIRFLOW|N8N|DOCS|PREFECT|GRAFANA|PROMETHEUS|SAMPLE_API)_PORT)='
[ ! -f .env ] || cp -p .env .env.before-restore
{ grep -vE "$machine" "$folder/env"; grep -E "$machine" .env; } >.env.new
chmod 600 .env.new
mv .env.new .env
# writes the secret files, which production mounts
make init

tar -xf "$folder/data.tar" --no-same-owner
"$@" up --detach --wait postgres
for database in airflow prefect; do
    "$@" exec -T postgres pg_restore -U airflow --clean --if-exists --no-owner -d "$database" <"$folder/$database.dump"
done
# the container runs as n8n's user, who owns the volume and must own the file
"$@" run --rm --no-deps -T --entrypoint sh n8n-init -c 'umask 077; cat > /home/node/.n8n/database.sqlite' \
    <"$folder/n8n.sqlite"
"$@" stop postgres
echo "restored from $folder; make up starts it"
