#!/bin/sh
# The health check of Redis: whether it takes the password and answers.
set -eu
url=${BROKER_URL:-$(cat /run/secrets/BROKER_URL)}
password=${url#*://*:}
REDISCLI_AUTH=${password%%@*} redis-cli ping | grep -q PONG
