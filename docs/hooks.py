"""The site's first page is README.md, so that there is one text for both; the table of operators can be sorted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import operators  # docs/operators.py

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """README.md in the place of index.md, with its links as they are from within docs/."""
    if page.file.src_uri in ("operators.md", "models.md"):
        page.meta["hide"] = ["navigation", "toc"]  # their tables take the room
    if page.file.src_uri != "index.md":
        return markdown
    return (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](").replace('="docs/', '="')


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """operators.md with a table that can be sorted and filtered in the place of its own."""
    before, mark, after = html.partition(operators.SORTABLE)
    if page.file.src_uri != "operators.md" or not mark:
        return html
    return before + operators.sortable() + after.partition("</table>")[2]
