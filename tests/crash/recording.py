"""Recording: the calls to the file system that a piece of work makes below a folder, in order, by strace."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

STRACE = shutil.which("strace")
_CALLS = (
    "openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,ftruncate,truncate,fallocate,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,"
    "fsync,fdatasync,sync_file_range,copy_file_range,sendfile,chmod,fchmodat"
)
_LINE = re.compile(
    r"^(?P<pid>\d+) +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)(?:<[^>]*>)?(?P<rest>.*)$"
)
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')
_ARGUMENT = re.compile(r'(?:"[^"]*"(?:\.\.\.)?|<[^>]*>|\{[^}]*\}|\[[^\]]*\]|[^,])+')
_FD = re.compile(r"^(?:AT_FDCWD|(\d+))(?:<([^>]*)>(?:\(deleted\))?)?$")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One change, or one sync; paths are relative to the recorded folder."""

    kind: str
    """create, write, truncate, mkdir, rmdir, unlink, rename, symlink, link, sync."""
    path: str
    offset: int = 0
    data: bytes = b""
    target: str = ""
    """The new path of a rename or link, the text of a symbolic link."""


def record(program, root, *, env, timeout=600):
    """Run a Python program under strace, and return the operations that it made below a folder."""
    trace = Path(env["TRACE_DIR"]) / "trace.txt"
    options = ["-xx", "-s", "10000000", "-e", f"trace={_CALLS}"]
    done = run(program, env=env, timeout=timeout, under=strace(trace, *options))
    assert done.returncode == 0, done.stderr[-3000:]
    return list(_operations(trace, os.path.realpath(root)))


def strace(trace, *options):
    """Return the command that runs a program, with its threads and children, under strace."""
    return [STRACE, "-f", "--seccomp-bpf", "-y", "-e", "signal=none", *options, "-o", str(trace)]


def run(program, *, env, timeout=600, under=()):
    """Run a Python program, under another program if one is given, and return how it ended."""
    command = [*under, sys.executable, *map(str, program)]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=timeout, check=False)


def _operations(trace, root):
    parts = {}
    files = _Files(root)
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            pid, _, text = line.rstrip("\n").partition(" ")
            text = text.strip()
            if text.endswith("<unfinished ...>"):
                parts[pid] = text.removesuffix("<unfinished ...>")
                continue
            if text.startswith("<... "):
                text = parts.pop(pid, "") + text.partition(" resumed>")[2]
            if match := _LINE.match(f"{pid} {text}"):
                yield from files.follow(match["call"], match["arguments"], match["result"])


class _Files:
    """The open files of the program; one process, whose threads share them."""

    def __init__(self, root):
        self._root = root
        self._table = {}

    def follow(self, call, arguments, result):
        if result.startswith("-") or result == "?":
            return
        handler = getattr(self, "_" + call, None)
        if handler is None:
            raise AssertionError(f"strace told of {call}, which the recorder does not know")
        yield from handler(_split(arguments), int(result))

    def _inside(self, path):
        path = os.path.normpath(path)
        if path == self._root:
            return ""
        return path.removeprefix(self._root + "/") if path.startswith(self._root + "/") else None

    def _at(self, folder, name):
        path = _text(name).decode()
        if path.startswith("/"):
            return self._inside(path)
        match = _FD.match(folder)
        return self._inside(f"{_unescaped(match[2] or '') or Path.cwd()}/{path}")

    def _openat(self, arguments, result):
        path = self._at(arguments[0], arguments[1])
        self._table.pop(result, None)
        if path is None:
            return
        flags = arguments[2]
        self._table[result] = {"path": path, "at": 0, "append": "O_APPEND" in flags}
        if "O_CREAT" in flags:
            yield Operation("create", path)
        if "O_TRUNC" in flags:
            yield Operation("truncate", path, 0)

    def _open(self, arguments, result):
        yield from self._openat(["AT_FDCWD", *arguments], result)

    def _creat(self, arguments, result):
        yield from self._openat(["AT_FDCWD", arguments[0], "O_CREAT|O_TRUNC"], result)

    def _handle(self, argument):
        return self._table.get(int(_FD.match(argument)[1]))

    def _close(self, arguments, _):
        self._table.pop(int(_FD.match(arguments[0])[1]), None)
        yield from ()

    def _dup(self, arguments, result):
        if (known := self._handle(arguments[0])) is not None:
            self._table[result] = known
        yield from ()

    _dup2 = _dup3 = _dup

    def _fcntl(self, arguments, result):
        if arguments[1].startswith("F_DUPFD"):
            yield from self._dup(arguments, result)

    def _lseek(self, arguments, result):
        if (known := self._handle(arguments[0])) is not None:
            known["at"] = result
        yield from ()

    def _write(self, arguments, result):
        if (known := self._handle(arguments[0])) is not None:
            offset = None if known["append"] else known["at"]
            known["at"] += result
            yield Operation("write", known["path"], -1 if offset is None else offset, _text(arguments[1])[:result])

    def _pwrite64(self, arguments, result):
        if (known := self._handle(arguments[0])) is not None:
            yield Operation("write", known["path"], int(arguments[3]), _text(arguments[1])[:result])

    def _writev(self, arguments, result):
        if self._handle(arguments[0]) is not None:
            data = b"".join(_text('"' + part + '"') for part in re.findall(r'iov_base="([^"]*)"', arguments[1]))
            yield from self._write([arguments[0], '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'], result)

    def _copy_file_range(self, arguments, _):
        assert not any(self._handle(argument) for argument in (arguments[0], arguments[2])), "not followed"
        yield from ()

    def _sendfile(self, arguments, _):
        assert not self._handle(arguments[0]), "not followed"
        yield from ()

    def _fallocate(self, arguments, _):
        assert not self._handle(arguments[0]), "not followed"
        yield from ()

    def _ftruncate(self, arguments, _):
        if (known := self._handle(arguments[0])) is not None:
            yield Operation("truncate", known["path"], int(arguments[1]))

    def _truncate(self, arguments, _):
        if (path := self._at("AT_FDCWD", arguments[0])) is not None:
            yield Operation("truncate", path, int(arguments[1]))

    def _renameat(self, arguments, _):
        old, new = self._at(*arguments[:2]), self._at(*arguments[2:4])
        if new is not None:
            assert old is not None, "a rename from outside"
            yield Operation("rename", old, target=new)

    _renameat2 = _renameat

    def _rename(self, arguments, result):
        yield from self._renameat(["AT_FDCWD", arguments[0], "AT_FDCWD", arguments[1]], result)

    def _linkat(self, arguments, _):
        old, new = self._at(*arguments[:2]), self._at(*arguments[2:4])
        if new is not None:
            assert old is not None, "a link to a file outside"
            yield Operation("link", old, target=new)

    def _link(self, arguments, result):
        yield from self._linkat(["AT_FDCWD", arguments[0], "AT_FDCWD", arguments[1]], result)

    def _unlinkat(self, arguments, _):
        if (path := self._at(*arguments[:2])) is not None:
            yield Operation("rmdir" if "AT_REMOVEDIR" in arguments[2] else "unlink", path)

    def _unlink(self, arguments, result):
        yield from self._unlinkat(["AT_FDCWD", arguments[0], "0"], result)

    def _rmdir(self, arguments, result):
        yield from self._unlinkat(["AT_FDCWD", arguments[0], "AT_REMOVEDIR"], result)

    def _mkdirat(self, arguments, _):
        if (path := self._at(*arguments[:2])) is not None:
            yield Operation("mkdir", path)

    def _mkdir(self, arguments, result):
        yield from self._mkdirat(["AT_FDCWD", arguments[0]], result)

    def _symlinkat(self, arguments, _):
        if (path := self._at(*arguments[1:3])) is not None:
            yield Operation("symlink", path, target=_text(arguments[0]).decode())

    def _symlink(self, arguments, result):
        yield from self._symlinkat([arguments[0], "AT_FDCWD", arguments[1]], result)

    def _fsync(self, arguments, _):
        if (known := self._handle(arguments[0])) is not None:
            yield Operation("sync", known["path"])

    _fdatasync = _fsync

    def _ignore(self, _, __):
        # modes are not part of a state
        yield from ()

    _chmod = _fchmodat = _ignore


def _split(arguments):
    return [argument.strip() for argument in _ARGUMENT.findall(arguments)]


def _text(argument):
    match = _PATH.match(argument)
    assert match, argument[:100]
    assert not match[2], "strace cut a string off"
    return bytes.fromhex(match[1].replace("\\x", ""))


def _unescaped(text):
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text
