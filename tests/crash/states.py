"""States: what a power cut may leave of recorded operations, in the manner of ALICE (OSDI 2014).

What was done to a file lasts once that file is synced, and what was done to a folder's entries once that folder is. A
rename is one step, and it lasts once the folder of the new name is synced. Anything later may be lost: all of it, one
step of it, all but one; and a write may be torn at the size of a block, with zeros for what is missing.
"""

import hashlib
import itertools
import posixpath
import random
from pathlib import Path

BLOCK = 4096


def read_tree(root):
    """Return a folder as a flat mapping: None for a folder, bytes for a file, a string for a symbolic link."""
    tree = {}
    for path in sorted(Path(root).rglob("*")):
        key = path.relative_to(root).as_posix()
        if path.is_symlink():
            tree[key] = str(path.readlink())
        else:
            tree[key] = None if path.is_dir() else path.read_bytes()
    return tree


def write_tree(tree, root):
    """Write such a mapping to an empty folder."""
    root.mkdir(parents=True)
    for key in sorted(tree):
        path, value = root / key, tree[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        if value is None:
            path.mkdir(exist_ok=True)
        elif isinstance(value, str):
            path.symlink_to(value)
        else:
            path.write_bytes(value)


def crash_states(before, operations, *, sample=None, seed=0):
    """Yield `(description, tree)` for every different state that a cut of power may leave, or for a sample of them."""
    seen = set()
    choices = list(_choices(operations))
    if sample is not None and sample < len(choices):
        choices = random.Random(seed).sample(choices, sample)
    for description, chosen, torn in choices:
        tree = _replay(before, operations, chosen, torn)
        digest = _digest(tree)
        if digest not in seen:
            seen.add(digest)
            yield description, tree


def _choices(operations):
    changes = [at for at, operation in enumerate(operations) if operation.kind != "sync"]
    for end in range(len(operations) + 1):
        if 0 < end < len(operations) and operations[end - 1].kind == "sync":
            # a sync alone leaves fewer states than the moment before it
            continue
        done = [at for at in changes if at < end]
        volatile = [at for at in done if not _lasts(operations, at, end)]
        lasting = set(done) - set(volatile)
        yield f"cut after {end}: nothing lost", set(done), None
        yield f"cut after {end}: all lost that was not synced", lasting, None
        for at in volatile:
            yield f"cut after {end}: lost {_name(operations, at)}", set(done) - {at}, None
            yield f"cut after {end}: of what was not synced only {_name(operations, at)}", lasting | {at}, None
            if operations[at].kind == "write":
                for kind in ("head", "tail", "zeros"):
                    yield f"cut after {end}: {kind} of {_name(operations, at)}", set(done), (at, kind)


def _lasts(operations, at, end):
    operation = operations[at]
    if operation.kind in {"write", "truncate"}:
        # the file may have been renamed since: follow its name
        names = _names_of(operations, at, end)
        return any(
            later.kind == "sync" and later.path == names[number]
            for number, later in enumerate(operations[at + 1 : end], start=at + 1)
        )
    folder = posixpath.dirname(operation.target if operation.kind in {"rename", "link"} else operation.path)
    return any(later.kind == "sync" and later.path == folder for later in operations[at + 1 : end])


def _names_of(operations, at, end):
    name = operations[at].path
    names = {}
    for number in range(at + 1, end):
        later = operations[number]
        if later.kind == "rename" and (name == later.path or name.startswith(later.path + "/")):
            name = later.target + name[len(later.path) :]
        names[number] = name
    return names


def _name(operations, at):
    operation = operations[at]
    target = f" to {operation.target}" if operation.target else ""
    return f"{operation.kind} {operation.path}{target}"


class _Node:
    """A file; several names may lead to it, and its content stays with it through renames."""

    def __init__(self, data):
        self.data = data


def _replay(before, operations, chosen, torn):
    """Apply the chosen operations: what belongs to a file follows the file, whatever name it has by then."""
    tree = {key: _Node(bytearray(value)) if isinstance(value, bytes) else value for key, value in before.items()}
    # the file that each operation meant, found by a replay of all names
    full = dict(tree)
    for at, operation in enumerate(operations):
        node = full.get(operation.path)
        if operation.kind == "create" and node is None:
            node = _Node(bytearray())
        _apply(full, operation, node, None)
        if at in chosen:
            _apply(tree, operation, node, torn[1] if torn and torn[0] == at else "whole")
    return {key: bytes(value.data) if isinstance(value, _Node) else value for key, value in _reachable(tree).items()}


def _apply(tree, operation, node, part):
    kind, path = operation.kind, operation.path
    if kind == "create":
        tree.setdefault(path, node)
    elif kind == "mkdir":
        tree.setdefault(path, None)
    elif kind == "symlink":
        tree[path] = operation.target
    elif kind == "link" and path in tree:
        tree[operation.target] = tree[path]
    elif kind in {"unlink", "rmdir"}:
        tree.pop(path, None)
    elif kind == "rename" and path in tree:
        for key in [key for key in tree if key == operation.target or key.startswith(operation.target + "/")]:
            del tree[key]
        for key in [key for key in tree if key == path or key.startswith(path + "/")]:
            tree[operation.target + key[len(path) :]] = tree.pop(key)
    elif kind in {"write", "truncate"} and part is not None and isinstance(node, _Node):
        _change(node.data, operation, part)


def _change(data, operation, part):
    if operation.kind == "truncate":
        del data[operation.offset :]
        data.extend(bytes(operation.offset - len(data)))
        return
    offset = len(data) if operation.offset == -1 else operation.offset
    end = offset + len(operation.data)
    written = bytearray(operation.data)
    middle = min(len(written), -(-(len(written) // 2) // BLOCK) * BLOCK) if len(written) > BLOCK else len(written) // 2
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    if part == "head":
        data[offset : offset + middle] = written[:middle]
    elif part == "tail":
        data[offset + middle : end] = written[middle:]
    elif part == "whole":
        data[offset:end] = written


def _reachable(tree):
    """Return what a path leads to: a file in a folder that was lost is lost with it."""
    found = {}
    for key in sorted(tree):
        parents = list(itertools.accumulate(posixpath.dirname(key).split("/"), posixpath.join))
        if all(parent == "" or (parent in tree and tree[parent] is None) for parent in parents):
            found[key] = tree[key]
    return found


def _digest(tree):
    digest = hashlib.sha256()
    for key in sorted(tree):
        value = tree[key]
        digest.update(key.encode() + b"\0" + (value if isinstance(value, bytes) else repr(value).encode()) + b"\0")
    return digest.digest()
