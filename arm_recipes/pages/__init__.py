"""HTML pages of results, each one file that needs no network. No torch here."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arm_recipes.sweep_result import SweepResult


def sweep_page(result: SweepResult, title: str) -> str:
    """The page of a sweep.

    Args:
        result: what to show.
        title: of the page, e.g. the model's name.
    """
    data = json.dumps(result.to_dict(), separators=(",", ":"))
    # Names in it are the model's: nothing in them may end the element that they are in.
    safe = data.replace("<", "\\u003c")
    template = files(__name__).joinpath("sweep.html").read_text(encoding="utf-8")
    before, _, rest = template.partition("@data@")
    return before.replace("@title@", html.escape(title)) + safe + rest
