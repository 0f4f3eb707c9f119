"""The runbook as a page, for servers that serve it beside the pipeline's other pages."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
from markdown_it import MarkdownIt

from scripts.config import PROJECT_DIR, settings

IMAGES = PROJECT_DIR / "docs" / "images"
"""The folder of its pictures, to which the page links as `images/NAME`."""


def runbook_page() -> str:
    """Return the runbook of this checkout as HTML; each heading has the anchor to which alerts link."""
    text = (PROJECT_DIR / "docs" / "runbook.md").read_text(encoding="utf-8")
    body = MarkdownIt("commonmark").enable("table").render(text)
    body = re.sub(r"<h2>(.*?)</h2>", _with_anchor, body)
    body = re.sub(r'<a href="([\w-]+)\.md(#[^"]*)?">(.*?)</a>', _to_another_page, body)
    # a wide table or block scrolls by itself, also with the keyboard
    body = body.replace("<pre>", '<pre tabindex="0">')
    body = body.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("runbook.html.j2").render(body=body)


def _with_anchor(heading: re.Match[str]) -> str:
    anchor = re.sub(r"[^\w]+", "-", re.sub(r"<[^>]+>", "", heading[1]).lower()).strip("-")
    return f'<h2 id="{anchor}">{heading[1]}</h2>'


def _to_another_page(link: re.Match[str]) -> str:
    root, (name, anchor, text) = settings().docs_url.rstrip("/"), link.groups()
    if "://" in root:
        return f'<a href="{root}/{name}/{anchor or ""}">{text}</a>'
    return f"{text} (<code>docs/{name}.md</code>)"
