#!/bin/sh
# Take an installation to a release, and back to the former one when it does not become healthy:
#   infra/deploy.sh IMAGE COMMIT COMPOSE...     IMAGE: by digest, ghcr.io/OWNER/data-pipeline@sha256:…
#                                               COMMIT: of the release; empty: the files stay as they are
# .env records what is deployed, as PIPELINE_IMAGE. Back means: the image, the commit and .env of before. Exits 0:
# deployed; 1: nothing changed, or it went back; 2: neither release is healthy, a person has to look.
set -eu

record() { # record IMAGE: in .env, atomically
    umask 077
    { grep -v '^PIPELINE_IMAGE=' .env; [ -z "$1" ] || echo "PIPELINE_IMAGE=$1"; } >.env.new
    mv .env.new .env
}

start() {
    mkdir -p data
    # what the release needs and .env lacks, and the files of secrets
    make init >/dev/null
    SECRETS_VERSION=$(cat .secrets/* | cksum | cut -d ' ' -f 1)
    export SECRETS_VERSION
    "$@" up --detach --no-build --remove-orphans --wait --wait-timeout "${DEPLOY_TIMEOUT:-600}"
}

# the shell reads a function whole before it runs it: the checkout replaces this file
deploy() {
    image=$1 commit=$2
    shift 2
    [ -n "$image" ] || { echo "which release? make deploy IMAGE=ghcr.io/OWNER/data-pipeline@sha256:…" >&2; exit 1; }
    former=$(sed -n 's/^PIPELINE_IMAGE=//p' .env)
    if ! docker image inspect "$image" >/dev/null 2>&1 && ! docker pull --quiet "$image"; then
        echo "$image cannot be fetched; nothing was changed" >&2
        exit 1
    fi
    former_commit=
    if [ -n "$commit" ]; then
        former_commit=$(git symbolic-ref --quiet --short HEAD || git rev-parse HEAD)
        if ! git checkout --quiet "$commit"; then
            echo "$commit cannot be checked out; nothing was changed" >&2
            exit 1
        fi
    fi
    (umask 077 && cp .env .env.former)

    record "$image"
    if start "$@"; then
        rm .env.former
        echo "deployed $image"
        exit 0
    fi
    echo "$image did not become healthy:" >&2
    "$@" ps --all >&2 || true
    "$@" logs --no-color --tail 20 >&2 || true
    echo "going back to ${former:-the image that was built here}" >&2
    [ -z "$former_commit" ] || git checkout --quiet "$former_commit"
    mv .env.former .env
    start "$@" || { echo "the former release is not healthy either" >&2; exit 2; }
    echo "went back to ${former:-the image that was built here}; it is healthy" >&2
    exit 1
}

deploy "$@"
