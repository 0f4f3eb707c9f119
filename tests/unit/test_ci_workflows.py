"""The workflows of GitHub: pinned, least permissions, and every step that needs no GitHub is run here."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import zipfile

import pytest
import yaml

from scripts.config import PROJECT_DIR
from tests.support.clone import clone

GITHUB = PROJECT_DIR / ".github"
FILES = [*sorted((GITHUB / "workflows").glob("*.yml")), GITHUB / "actions/setup/action.yml"]
MAKE_TARGETS = set(re.findall(r"^([a-z0-9-]+):", (PROJECT_DIR / "Makefile").read_text(), re.MULTILINE))


def steps():
    """Return every step, with the name of its file."""
    for path in FILES:
        document = yaml.safe_load(path.read_text())
        jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
        for job in jobs:
            for step in job.get("steps", []):
                yield path.name, step


def step(name_or_id):
    """Return one step by its name or id."""
    (found,) = [s for _, s in steps() if name_or_id in {s.get("name"), s.get("id")}]
    return found


def run(step, cwd, **environ):
    """Run a step as GitHub does."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), **environ}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=cwd, env=environ, text=True, capture_output=True, check=False)


def test_every_action_is_pinned_by_commit_with_its_version_beside_it():
    for path in FILES:
        for line in path.read_text().splitlines():
            if "uses:" in line and "uses: ./" not in line:
                assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d", line), line


def test_every_workflow_starts_with_least_permissions():
    for path in FILES[:-1]:
        document = yaml.safe_load(path.read_text())
        assert document["permissions"] in ({}, {"contents": "read"}), path.name
        for name, job in document["jobs"].items():
            assert "uses" in job or job["timeout-minutes"], name


def test_what_the_jobs_make_are_targets_that_people_make():
    called = set()
    for name, found in steps():
        for words in re.findall(r"^(?:.*&& )?make ((?:-C \w+ )?[^|\n]+)", found.get("run", ""), re.MULTILINE):
            targets = [word for word in re.sub(r"-C \w+", "", words).split() if re.fullmatch(r"[a-z0-9-]+", word)]
            called |= set(targets)
            assert set(targets) <= MAKE_TARGETS, (name, words)
    matrix = []
    for workflow, job in (("ci", "check"), ("nightly", "proof")):
        document = yaml.safe_load((GITHUB / f"workflows/{workflow}.yml").read_text())
        matrix += document["jobs"][job]["strategy"]["matrix"]["target"]
    assert set(matrix) <= MAKE_TARGETS
    wanted = {
        "lint",
        "types",
        "test-unit",
        "test-integration",
        "test-warehouse",
        "test-dags",
        "test-crash",
        "fuzz",
        "test-e2e",
        "test-compose",
    }
    assert wanted <= called | set(matrix)


def test_the_images_name_is_lower_case(tmp_path):
    done = run(step("name"), tmp_path, GITHUB_REPOSITORY="Some/Data-Pipeline", GITHUB_OUTPUT=str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "name=ghcr.io/some/data-pipeline\n"


def test_a_deployment_asks_the_machine_for_one_make_target(tmp_path):
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$HOME/asked"\n')
    ssh.chmod(0o755)
    image = "ghcr.io/some/data-pipeline@sha256:0123"
    done = run(
        step("Deploy"),
        tmp_path,
        PATH=f"{ssh.parent}:{os.environ['PATH']}",
        IMAGE=image,
        COMMIT="abc",
        HOST="deploy@machine",
        DIR="/srv/data pipeline",
        KEY="the key",
        KNOWN_HOSTS="machine ssh-ed25519 AAAA",
    )
    assert done.returncode == 0, done.stderr
    *_, host, command = (tmp_path / "asked").read_text().splitlines()
    assert host == "deploy@machine"
    assert command.endswith(f"git fetch --quiet origin && make deploy PROD=1 IMAGE='{image}' COMMIT='abc'")
    assert "cd '/srv/data pipeline'" in command
    key = tmp_path / ".ssh" / "deploy"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("the key\n", 0o600)


@pytest.mark.slow
def test_a_version_of_the_site_is_published_beside_the_others(tmp_path):
    """The step of cd-prod.yml, with a repository of this machine in GitHub's place."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "origin"], check=True)
    copy = clone(tmp_path / "clone")
    (copy / ".venv").symlink_to(PROJECT_DIR / ".venv")
    (copy / "data/demo/docs").mkdir(parents=True)
    (copy / "data/demo/docs/health.html").write_text("all is well")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "--quiet", "-b", "main"], ["remote", "add", "origin", "../origin"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=copy, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "-m", "x"], cwd=copy, check=True)

    for version in ("v1.0.0", "v1.1.0"):
        done = run(step("Publish this version of the site"), copy, VERSION=version, NO_MKDOCS_2_WARNING="1")
        assert done.returncode == 0, done.stderr
    shown = ["git", "ls-tree", "-r", "--name-only", "gh-pages"]
    files = set(subprocess.check_output(shown, cwd=tmp_path / "origin", text=True).split())
    assert {"v1.0.0/runbook/index.html", "v1.1.0/data/health.html", "latest", "index.html"} <= files


def test_production_gets_the_image_that_staging_has_seen(tmp_path):
    """The step of cd-prod.yml, with gh and docker played by scripts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gh").write_text('#!/bin/sh\necho "gh $*" >> "$HOME/asked"\n[ "$1" != run ] || echo "$GREEN"\n')
    (programs / "docker").write_text(
        '#!/bin/sh\necho "docker $*" >> "$HOME/asked"\n[ "$3" != inspect ] || echo sha256:0123\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GITHUB_REPOSITORY": "Some/Data-Pipeline",
        "GITHUB_SHA": "abc",
        "GITHUB_OUTPUT": str(tmp_path / "out"),
        "VERSION": "v1.2.3",
    }
    wanted = "The very image that CI and staging have seen gets the release's tag"
    red = run(step(wanted), tmp_path, GREEN="0", **environ)
    assert red.returncode != 0
    assert "no green run of ci.yml for abc" in red.stderr
    assert not (tmp_path / "out").exists()

    done = run(step(wanted), tmp_path, GREEN="1", **environ)
    assert done.returncode == 0, done.stderr
    image = "ghcr.io/some/data-pipeline@sha256:0123"
    assert (tmp_path / "out").read_text() == f"image={image}\n"
    asked = (tmp_path / "asked").read_text()
    assert f"gh attestation verify oci://{image}" in asked
    assert f"imagetools create --tag ghcr.io/some/data-pipeline:v1.2.3 {image}" in asked


@pytest.mark.parametrize("bill", ['{"SPDXID": "SPDXRef-DOCUMENT", "packages": []}', "null"])
def test_a_release_has_the_images_bill_of_materials(tmp_path, bill):
    """The step of cd-prod.yml, with gh and docker played by scripts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gh").write_text(
        '#!/bin/sh\necho "gh $*" >> "$HOME/asked"\nfor bill; do :; done\ncat "$bill" >> "$HOME/asked"\n'
    )
    (programs / "docker").write_text(f"#!/bin/sh\necho '{bill}'\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    done = run(
        step("Publish the release with the image's bill of materials"),
        tmp_path,
        PATH=f"{programs}:{os.environ['PATH']}",
        GITHUB_REPOSITORY="some/data-pipeline",
        IMAGE="ghcr.io/some/data-pipeline@sha256:0123",
        VERSION="v1.2.3",
    )
    assert (done.returncode == 0) == (bill != "null"), done.stderr
    if bill == "null":
        assert "ghcr.io/some/data-pipeline@sha256:0123 has no bill of materials" in done.stderr
        assert not (tmp_path / "asked").exists()
    else:
        asked = (tmp_path / "asked").read_text()
        assert "gh release create v1.2.3 --repo some/data-pipeline --verify-tag" in asked
        assert "SPDXRef-DOCUMENT" in asked


def test_only_the_last_step_of_the_site_has_a_token():
    steps_of_site = yaml.safe_load((GITHUB / "workflows/cd-prod.yml").read_text())["jobs"]["site"]["steps"]
    assert steps_of_site[0]["with"]["persist-credentials"] is False
    assert [name for name in range(len(steps_of_site)) if "github.token" in str(steps_of_site[name])] == [
        len(steps_of_site) - 1
    ]


def test_what_comes_from_npm_comes_from_lock_files_with_hashes():
    for folder in ("n8n", "n8n/node", "sql_page"):
        lock = PROJECT_DIR / "infra" / folder / "package-lock.json"
        document, wanted = json.loads(lock.read_text()), json.loads((lock.parent / "package.json").read_text())
        root = document["packages"][""]
        for key in ("dependencies", "optionalDependencies"):
            assert root.get(key) == wanted.get(key), lock
        for name, package in document["packages"].items():
            is_ours = name == "" or package.get("link") or name.endswith("stub")
            assert is_ours or package.get("integrity", "").startswith("sha"), name
            assert "://" not in package.get("resolved", ""), "another registry, for those who have one"
    script = (PROJECT_DIR / "infra/install-n8n.sh").read_text()
    assert re.findall(r"\$npm (?!ci|rebuild)\w+", script) == []
    script = (PROJECT_DIR / "infra/install-sql-page.sh").read_text()
    assert re.findall(r"^npm (.*?) --no-audit", script, re.MULTILINE) == ["ci --ignore-scripts"]


def test_n8n_is_installed_once_for_each_lock_file_and_again_after_a_failure(tmp_path):
    """The installer with an npm that only writes down what it was asked for, and fails where it is told to."""
    shutil.copytree(PROJECT_DIR / "infra/n8n", tmp_path / "infra/n8n")
    shutil.copy2(PROJECT_DIR / "infra/install-n8n.sh", tmp_path / "infra")
    asked, fails = tmp_path / "asked", tmp_path / "fails"
    programs = {
        "node": "echo v24.0.0",
        "npm": f'echo "$@" >>{asked}; [ ! -e {fails} ] || exit 1; mkdir -p node_modules/.bin;'
        " printf '#!/bin/sh\necho 2.0\n' >node_modules/.bin/n8n; chmod +x node_modules/.bin/n8n",
    }
    for name, text in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def install():
        asked.unlink(missing_ok=True)
        command = [tmp_path / "infra/install-n8n.sh", tmp_path / "a folder"]
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(command, env=os.environ | {"PATH": path}, check=False, capture_output=True, text=True)
        return done.returncode, asked.exists(), done.stdout

    assert install() == (0, True, f"n8n 2.0 is in {tmp_path / 'a folder'}\n")
    assert install() == (0, False, f"n8n is in {tmp_path / 'a folder'} already\n")
    with (tmp_path / "infra/n8n/package-lock.json").open("a") as lock:
        lock.write("\n")
    fails.touch()
    assert install() == (1, True, "")
    fails.unlink()
    assert install()[:2] == (0, True)
    assert install()[:2] == (0, False)


@pytest.mark.slow
@pytest.mark.parametrize("is_changed", [False, True])
def test_uv_is_checked_by_its_hash(tmp_path, is_changed):
    """The installer with a wheel of this test in PyPI's place, which is what `uv.txt` names, or is not."""
    (tmp_path / "infra").mkdir()
    script = tmp_path / "infra/install-uv.sh"
    script.write_bytes((PROJECT_DIR / "infra/install-uv.sh").read_bytes())
    wheel = tmp_path / "wheels/uv-0.0.1-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-0.0.1.data/scripts/uv", "#!/bin/sh\n")
        about = "uv-0.0.1.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0.0.1\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes() + b"x" * is_changed).hexdigest()
    (tmp_path / "infra/uv.txt").write_text(f"uv==0.0.1 --hash=sha256:{digest}\n")
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheel.parent),
        # the last way asks PyPI itself
        "https_proxy": "http://127.0.0.1:1",
        "no_proxy": "",
    }
    done = subprocess.run(
        ["sh", script, tmp_path / "tools"], env=environ, cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert (done.returncode == 0) == (not is_changed), done.stderr
    assert list((tmp_path / "tools").rglob("bin/uv")) == ([] if is_changed else [tmp_path / "tools/bin/uv"])


def test_nothing_is_deployed_that_is_not_signed_and_green():
    deploy = yaml.safe_load((GITHUB / "workflows/deploy.yml").read_text())["jobs"]["deploy"]["steps"]
    names = [found.get("name") for found in deploy]
    assert names.index("Nothing that our release workflow has not built and signed") < names.index("Deploy")
    staging = yaml.safe_load((GITHUB / "workflows/cd-staging.yml").read_text())
    assert staging[True]["workflow_run"]["workflows"] == ["CI"]
    assert "conclusion == 'success'" in staging["jobs"]["release"]["if"]
    comment = (GITHUB / "workflows/ci.yml").read_text()
    assert "comment.user.login === 'github-actions[bot]' && comment.body" in comment
