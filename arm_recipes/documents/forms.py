"""How the raw cells of a table are written, by the name of their form. No torch here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from .blocks import Cell

# Controls of terminals and of the direction of writing: a name could hide, or pass for another, by them.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Form:
    """How cells are written.

    Attributes:
        write: a value that is not None, as text.
        right: whether the cells are aligned to the right.
        unbroken: whether they stay on one line.
    """

    write: Callable[[Cell], str]
    right: bool = True
    unbroken: bool = True


def visible(text: str, keep: str = "") -> str:
    """The text, with what can't be seen written as its escape, but for the characters in `keep`. Blank for a line
    break or a tab."""
    return _UNSEEN.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def written(value: Cell, form: str) -> str:
    """A cell as text; empty for None.

    Raises:
        KeyError: there is no such form.
    """
    how = FORMS[form]
    return "" if value is None else how.write(value)


def _escape(character: str) -> str:
    return " " if character in "\n\r\t" else ascii(character)[1:-1]


def _text(value: Cell) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else visible(str(value))


def _figure(write: Callable[[float], str]) -> Callable[[Cell], str]:
    """Figures by `write`; what has no digits, and texts, as they are."""

    def form(value: Cell) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return _text(value)
        return write(value) if math.isfinite(value) else str(value)

    return form


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _significant(digits: int) -> Callable[[float], str]:
    def write(value: float) -> str:
        if value == 0:
            return "0"
        places = digits - 1 - int(f"{value:.{digits - 1}e}".partition("e")[2])
        if not -12 < places < digits + 6:
            return f"{value:.{digits}g}"
        if places <= 0:
            return f"{round(value, places):,.0f}"
        return f"{value:,.{places}f}".rstrip("0").rstrip(".")

    return write


def _percent(places: int) -> Callable[[float], str]:
    return lambda value: f"{100 * value:.{places}f} %"


def _decibel(value: Cell) -> str:
    return "exact" if value == math.inf else _figure(lambda level: f"{level:.1f}")(value)


FORMS: dict[str, Form] = {
    "text": Form(_text, right=False, unbroken=False),
    "code": Form(_text, right=False),
    "whole": Form(_figure(_whole)),
    "bytes": Form(_figure(_whole)),
    "brief": Form(_figure(_significant(3))),
    "number": Form(_figure(_significant(4))),
    "precise": Form(_figure(_significant(6))),
    "percent": Form(_figure(_percent(1))),
    "percent2": Form(_figure(_percent(2))),
    "decibel": Form(_decibel),
    "bar": Form(_figure(_significant(4)), right=False),
}
