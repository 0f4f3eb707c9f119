#!/bin/sh
# Export every secret file of the container as a variable of the same name, and start a command; see
# docker-compose.prod.yml.
set -eu
for file in /run/secrets/[A-Z]*; do
    [ ! -f "$file" ] || export "$(basename "$file")=$(cat "$file")"
done
exec "$@"
