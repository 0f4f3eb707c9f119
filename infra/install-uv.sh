#!/bin/sh
# Install uv from PyPI into FOLDER/bin with the tool that this machine has: venv, pip, or only Python. Checks the hash.
#   infra/install-uv.sh FOLDER
set -eu
folder=$1
wanted=$(dirname "$0")/uv.txt
if python3 -m venv "$folder" 2>/dev/null && "$folder/bin/python" -m pip install --quiet --require-hashes -r "$wanted"; then
    exit 0
fi
if python3 -m pip install --quiet --target "$folder" --require-hashes -r "$wanted" 2>/dev/null; then
    exit 0
fi
echo "fetching uv from PyPI (this machine has neither venv nor pip)" >&2
python3 - "$folder" "$wanted" <<'PYTHON'
import hashlib, io, pathlib, platform, re, sys, urllib.parse, urllib.request, zipfile

folder, wanted = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text()
version, hashes = re.search(r"^uv==(\S+)", wanted, re.M)[1], set(re.findall(r"sha256:(\w+)", wanted))
system, machine = platform.system(), platform.machine()
tag = {"Linux": "manylinux", "Darwin": "macosx"}.get(system, system)
index = "https://pypi.org/simple/uv/"
with urllib.request.urlopen(index) as answer:
    links = re.findall(r'href="([^"#]*/uv-%s-[^"#]*\.whl)#sha256=(\w+)' % re.escape(version), answer.read().decode())
known = [link for link, digest in links if tag in link and machine in link and digest in hashes]
if not known:
    sys.exit(f"no uv {version} for {system} on {machine}; install uv: https://docs.astral.sh/uv/")
with urllib.request.urlopen(urllib.parse.urljoin(index, known[0])) as answer:
    wheel = answer.read()
if hashlib.sha256(wheel).hexdigest() not in hashes:
    sys.exit("the downloaded file is not the uv that infra/uv.txt names; nothing was installed")
with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
    program = archive.read(f"uv-{version}.data/scripts/uv")
target = folder / "bin" / "uv"
target.parent.mkdir(parents=True, exist_ok=True)
target.write_bytes(program)
target.chmod(0o755)
PYTHON
