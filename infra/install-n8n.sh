#!/bin/sh
# Install n8n, and Node 24 if this machine does not have it, from npm into FOLDER; takes three minutes and 1.3 GB.
#   infra/install-n8n.sh FOLDER
# If FOLDER already has what the lock files name, the script ends at once; FOLDER/installed is written at the end.
# Both come from lock files, whose hashes npm checks. infra/n8n/package.json replaces modules that the workflows never
# load (clients of AI services, of other databases) with an empty module. This halves the size and the time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
command -v npm >/dev/null || { echo "npm is missing: install Node.js (any version that has npm)" >&2; exit 1; }
npm="npm --no-audit --no-fund --no-update-notifier --loglevel=error"
mkdir -p "$folder"
wanted=$(find "$here/n8n" "$0" -type f -print0 | sort -z | xargs -0 cat | cksum; node --version; uname -m)
if [ "$(cat "$folder/installed" 2>/dev/null)" = "$wanted" ]; then
    echo "n8n is in $folder already"
    exit 0
fi
rm -f "$folder/installed"
cp -R "$here/n8n/." "$folder/"
if [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -lt 24 ]; then
    (cd "$folder/node" && $npm ci --ignore-scripts)
    node=$folder/node/node_modules/node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
    ln -sfn "$node/bin" "$folder/node/bin"
    PATH=$folder/node/bin:$PATH
    # native modules are compiled for this Node
    export npm_config_nodedir="$node"
fi
cd "$folder"
$npm ci --omit=optional --ignore-scripts
$npm rebuild sqlite3
version=$(node_modules/.bin/n8n --version)
echo "$wanted" >installed
echo "n8n $version is in $folder"
