#!/bin/sh
# Take an installation to a release, and back to the former one when it does not become healthy:
#   infra/deploy.sh IMAGE COMPOSE...     IMAGE: by digest, ghcr.io/OWNER/data-pipeline@sha256:…
# .env records what is deployed, as PIPELINE_IMAGE. Exits 0: deployed; 1: nothing changed, or it went back; 2: neither
# release is healthy, a person has to look.
set -eu
image=$1
shift
[ -n "$image" ] || { echo "which release? make deploy IMAGE=ghcr.io/OWNER/data-pipeline@sha256:…" >&2; exit 1; }
former=$(sed -n 's/^PIPELINE_IMAGE=//p' .env)

if ! docker image inspect "$image" >/dev/null 2>&1 && ! docker pull --quiet "$image"; then
    echo "$image cannot be fetched; nothing was changed" >&2
    exit 1
fi

record() { # record IMAGE: in .env, atomically
    { grep -v '^PIPELINE_IMAGE=' .env; [ -z "$1" ] || echo "PIPELINE_IMAGE=$1"; } >.env.new
    chmod 600 .env.new
    mv .env.new .env
}

start() {
    mkdir -p data
    "$@" up --detach --no-build --wait --wait-timeout "${DEPLOY_TIMEOUT:-600}"
}

record "$image"
if start "$@"; then
    echo "deployed $image"
    exit 0
fi
echo "$image did not become healthy:" >&2
"$@" ps --all >&2
"$@" logs --no-color --tail 20 >&2
record "$former"
echo "going back to ${former:-the image that was built here}" >&2
start "$@" || { echo "the former release is not healthy either" >&2; exit 2; }
echo "went back to ${former:-the image that was built here}; it is healthy" >&2
exit 1
