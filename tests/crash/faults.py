"""Faults of the environment: one call to the file system of a unit of work fails, by strace's injection of errors."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

from tests.crash.recording import run, strace

ERRORS = {
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC", "EIO"),
    "ftruncate": ("EIO",),
    "fsync": ("EIO",),
    "fdatasync": ("EIO",),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "openat": ("EMFILE", "EACCES"),
    "rename": ("ENOSPC", "EACCES"),
    "renameat": ("ENOSPC", "EACCES"),
    "mkdir": ("ENOSPC", "EACCES"),
    "unlink": ("EACCES",),
    "unlinkat": ("EACCES",),
}
"""By call: a full disk, a broken disk, no file descriptor left, a permission that is gone."""
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")


@dataclasses.dataclass(frozen=True)
class Fault:
    """The `when`th such call of a thread fails."""

    call: str
    when: int
    error: str


def faults_of(program, root, *, env):
    """Run a Python program, and return the faults that can meet its calls on files below a folder."""
    done, lines = _traced(program, env, ["-e", f"trace={','.join(ERRORS)}"])
    assert done.returncode == 0, done.stderr[-3000:]
    counts, found = Counter(), []
    for pid, call, rest in _calls(lines):
        counts[pid, call] += 1
        if str(root) in rest:
            found += [Fault(call, counts[pid, call], error) for error in ERRORS[call]]
    return list(dict.fromkeys(found))


def run_with(fault, program, root, *, env):
    """Run a program with a fault; return `(exit code, stderr, what failed)`, which is empty if it met nothing."""
    inject = f"inject={fault.call}:error={fault.error}:when={fault.when}"
    done, lines = _traced(program, env, ["-e", f"trace={fault.call}", "-e", inject])
    met = [line for line in lines if "(INJECTED)" in line]
    # another thread than in the first run, or a file of Python itself
    is_ours = bool(met) and all(str(root) in line for line in met)
    return done.returncode, done.stderr, met[0].strip() if is_ours else ""


def _traced(program, env, options):
    trace = Path(env["TRACE_DIR"]) / "faults.txt"
    done = run(program, env=env, under=strace(trace, "-s", "0", *options))
    return done, trace.read_text(errors="replace").splitlines()


def _calls(lines):
    for line in lines:
        if (match := _LINE.match(line)) and match[2] in ERRORS:
            yield match.groups()
