#!/bin/sh
# Put uv into FOLDER/bin, with whatever this machine has: venv, pip, or uv's own installer.
#   infra/install-uv.sh FOLDER
set -eu
folder=$1
version=0.13.9
if python3 -m venv "$folder" 2>/dev/null && "$folder/bin/python" -m pip install --quiet "uv==$version"; then
    exit 0
fi
if python3 -m pip install --quiet --target "$folder" "uv==$version" 2>/dev/null; then
    exit 0
fi
mkdir -p "$folder/bin"
echo "fetching uv $version from astral.sh (this machine has neither venv nor pip)" >&2
python3 -c "
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen('https://astral.sh/uv/$version/install.sh').read().decode())
" | env UV_INSTALL_DIR="$folder/bin" UV_NO_MODIFY_PATH=1 sh
