"""Hooks for mkdocs: the README as the home page, links to files of the repository, and the pages of the data."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parent.parent
DATA_PAGES = Path(os.environ.get("DATA_DIR", REPOSITORY / "data")) / "docs"
"""The folder of the portal, the health page and dbt's site."""
PAGES = '\n\n**The data**: <a href="data/index.html">its tables</a> and <a href="data/health.html">its health</a>.\n'
"""HTML links, since these pages are not documents of mkdocs."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the home page."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    head, _, rest = text.partition("\n\n")
    text = head + PAGES + "\n" + rest.replace("](docs/", "](").replace("(adr/)", "(adr/README.md)")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links to files of the repository to GitHub; without a GitHub repository, replace them with plain text."""
    root = os.environ.get("GITHUB_REPOSITORY")
    target = f"https://github.com/{root}/blob/main/" if root else ""

    def rewrite(match: re.Match[str]) -> str:
        text, path = match.groups()
        return f"[{text}]({target}{path})" if target else text

    if page.file.src_uri == "index.md":
        return re.sub(r"\[([^\]]+)\]\(((?:CONTRIBUTING\.md|LICENSE))\)", rewrite, markdown)
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+((?!adr/)[^)#]+)\)", rewrite, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Copy the pages about the data to `data/` of the site, if a run has written them."""
    if DATA_PAGES.exists():
        data = Path(config.site_dir, "data")
        shutil.copytree(DATA_PAGES, data, dirs_exist_ok=True)
        # the docs server has the guides there; here they are the site itself
        (data / "guides").mkdir(exist_ok=True)
        (data / "guides/index.html").write_text(
            '<meta http-equiv="refresh" content="0; url=../../">\n', encoding="utf-8"
        )
