"""A clone of the repository as it is now, for tests that use it as people do."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from scripts.config import PROJECT_DIR

if TYPE_CHECKING:
    from pathlib import Path


def clone(folder: Path) -> Path:
    """Copy what git knows, and would know, to a folder, and return the folder."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=PROJECT_DIR, text=True).split("\0"):
        if name and (PROJECT_DIR / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT_DIR / name, folder / name)
    return folder
