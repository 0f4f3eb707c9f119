#!/bin/sh
# Remove the containers and volumes of the stack: infra/reset.sh CONFIRM COMPOSE...
set -eu
confirm=$1
shift
if [ "$confirm" != yes ]; then
    echo "this would remove every container and these volumes; data/ and .env stay. To do it: make reset CONFIRM=yes"
    "$@" --profile '*' config --volumes
    exit 0
fi
"$@" --profile '*' down --volumes --remove-orphans
