#!/bin/sh
# Deploy a release, and go back to the previous one if it does not become healthy:
#   infra/deploy.sh IMAGE COMMIT COMPOSE...     IMAGE: by digest, ghcr.io/OWNER/data-pipeline@sha256:…
#                                               COMMIT: of the release; empty: the files do not change
# PIPELINE_IMAGE in .env records the deployed image. Going back restores the previous image, commit and .env.
# Exit codes: 0 deployed; 1 nothing changed, or it went back; 2 neither release is healthy, a person has to repair it.
set -eu

record() ( # record IMAGE: writes the image to .env, atomically; in a subshell, so that the umask ends with it
    umask 077
    { grep -v '^PIPELINE_IMAGE=' .env; [ -z "$1" ] || echo "PIPELINE_IMAGE=$1"; } >.env.new
    mv .env.new .env
)

start() {
    mkdir -p data
    # adds the values that the release needs and .env lacks, and writes the files of secrets
    make init >/dev/null
    SECRETS_VERSION=$(cat .secrets/* | cksum | cut -d ' ' -f 1)
    export SECRETS_VERSION
    "$@" up --detach --no-build --remove-orphans --wait --wait-timeout "${DEPLOY_TIMEOUT:-600}"
}

# a function, since the checkout replaces this file: the shell reads a whole function before it runs it
deploy() {
    image=$1 commit=$2
    shift 2
    [ -n "$image" ] || { echo "IMAGE is not set: make deploy IMAGE=ghcr.io/OWNER/data-pipeline@sha256:…" >&2; exit 1; }
    .venv/bin/python infra/compose_up.py --check || exit 1
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
