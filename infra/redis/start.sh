#!/bin/sh
# Redis with the password in BROKER_URL: of the environment, or in production of the file. The settings come by
# the standard input, since anyone may read the arguments of a process.
set -eu
url=${BROKER_URL:-$(cat /run/secrets/BROKER_URL)}
password=${url#*://*:}
exec redis-server - <<EOF
requirepass ${password%%@*}
dir /data
appendonly yes
maxmemory-policy noeviction
EOF
