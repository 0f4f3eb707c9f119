#!/bin/sh
# Install the parts of the SQL page from npm into FOLDER, 42 MB: DuckDB for the browser, its reader of Parquet, charts.
#   infra/install-sql-page.sh FOLDER
# They come from a lock file, whose hashes npm checks; no package runs a script. If FOLDER already has what the lock file
# names, the script ends at once. Browsers load everything from FOLDER, and nothing from the internet.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
command -v npm >/dev/null || { echo "npm is missing: install Node.js 18 or later" >&2; exit 1; }
wanted=$(find "$here/sql_page" "$0" -type f -print0 | sort -z | xargs -0 cat | cksum)
if [ "$(cat "$folder/installed" 2>/dev/null)" = "$wanted" ]; then
    echo "the parts of the SQL page are in $folder already"
    exit 0
fi
rm -f "$folder/installed"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/sql_page/* "$work/"
cd "$work"
npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null
node_modules/.bin/esbuild sql.js --bundle --minify --format=esm --log-level=error --outfile="$folder/sql.js"
cp node_modules/@duckdb/duckdb-wasm/dist/duckdb-browser-eh.worker.js node_modules/@duckdb/duckdb-wasm/dist/duckdb-eh.wasm \
    node_modules/parquet-wasm/esm/parquet_wasm_bg.wasm "$folder/"
for file in "$folder"/*.js "$folder"/*.wasm; do
    gzip -9 -c "$file" >"$file.gz"
done
# the licenses of everything that was bundled
# duckdb-wasm has its license only in its repository
{
    printf '== @duckdb/duckdb-wasm\n\n'
    cat LICENSE.duckdb-wasm
    printf '\n\n'
} >"$folder/LICENSES.txt"
find node_modules \( -iname 'license*' -o -iname 'licence*' -o -iname 'notice*' \) -type f -not -path '*/esbuild/*' \
    -not -path '*/@esbuild/*' -not -path '*/@types/*' | sort | while read -r file; do
    printf '== %s\n\n' "${file#node_modules/}"
    cat "$file"
    printf '\n\n'
done >>"$folder/LICENSES.txt"
echo "$wanted" >"$folder/installed"
echo "the parts of the SQL page are in $folder"
