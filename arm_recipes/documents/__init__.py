"""HTML pages of results, each one file that needs no network. No torch here."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Any


def sweep_page(content: dict[str, Any], title: str) -> str:
    """The page of a sweep.

    Args:
        content: what to show, as plain data.
        title: of the page, e.g. the model's name.
    """
    return _page("sweep.html", content, title)


def report_page(content: dict[str, Any], title: str) -> str:
    """The page of an export's report; see `sweep_page`."""
    return _page("report.html", content, title)


def _page(template: str, content: dict[str, Any], title: str) -> str:
    data = json.dumps(content, separators=(",", ":"))
    page = _text(template)
    for part in ("common.css", "common.js"):
        page = page.replace(f"@{part}@\n", _text(part))
    before, _, rest = page.partition("@data@")
    # Names in it are the model's: nothing in them may end the element that they are in.
    return before.replace("@title@", escape(title)) + data.replace("<", "\\u003c") + rest


def _text(name: str) -> str:
    return files(__name__).joinpath("templates").joinpath(name).read_text(encoding="utf-8")
