"""A document as one HTML file that needs no network, or as a part of a notebook. No torch here.

All that is shown is written here. The script sorts, filters and shows the details of a row; it knows no results.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any

from . import svg
from .blocks import (
    Bars,
    Block,
    Cell,
    Column,
    Document,
    Facts,
    Heading,
    Items,
    KeyFigures,
    Paragraph,
    Scatter,
    Stack,
    Steps,
    Table,
    Words,
)
from .flow import flow
from .forms import FORMS, visible, written

# In a notebook, tables of more rows are folded, and cut off.
_FOLDED, _MOST_ROWS = 12, 100
# Texts of more characters may take several lines.
_LONG = 44


def page(document: Document, title: str | None = None, embedded: bool = False) -> str:
    """The document with a title of its own or `title`; or, `embedded`, what stands within another page."""
    body = "\n".join(_blocks(flow(document.blocks, page=True), embedded))
    shown = _text(document.title if title is None else title)
    style = _file("page.css")
    if embedded:
        return f'<div class="arm-recipes embedded"><style>{style}</style>\n<h1>{shown}</h1>\n{body}\n</div>'
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {"title": shown, "style": style, "script": script, "digest": digest, "body": body}
    # In one pass: what a name of the model holds is not looked at again.
    return re.sub("@([a-z]+)@", lambda match: parts[match[1]], _file("page.html"))


def _blocks(blocks: Iterable[Block], embedded: bool) -> Iterable[str]:
    for block in blocks:
        yield _table(block, embedded) if isinstance(block, Table) else _WRITERS[type(block)](block)


def _heading(block: Heading) -> str:
    level = min(max(block.level, 2), 6)
    return f"<h{level}>{_text(block.text)}</h{level}>"


def _paragraph(block: Paragraph) -> str:
    if block.tone == "code":
        return f'<pre class="code"><code>{html.escape(visible(block.text, keep=chr(10)))}</code></pre>'
    lines = "<br>".join(_text(line) for line in block.text.split("\n"))
    return f"<p>{lines}</p>" if block.tone == "plain" else f'<p class="{_text(block.tone)}">{lines}</p>'


def _items(block: Items) -> str:
    items = []
    for item in block.texts:
        first, *others = item.split("\n")
        items.append(f"<li>{_text(first)}{''.join(f'<small>{_text(other)}</small>' for other in others)}</li>")
    kind = "ol" if block.ordered else "ul"
    return f"<{kind}>{''.join(items)}</{kind}>"


def _words(block: Words) -> str:
    *words, last = block.texts
    spans = " ".join(f"<span>{_text(word)}</span>" for word in (*(f"{word}," for word in words), last))
    return f'<p class="words">{spans}</p>'


def _figures(block: KeyFigures) -> str:
    tiles = "".join(f"<div><b>{_text(figure)}</b><span>{_text(what)}</span></div>" for figure, what in block.figures)
    return f'<div class="figures">{tiles}</div>'


def _facts(block: Facts) -> str:
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in block.facts)
    return f"<dl>{facts}</dl>"


_WRITERS: dict[type, Callable[[Any], str]] = {
    Heading: _heading,
    Paragraph: _paragraph,
    Items: _items,
    Words: _words,
    KeyFigures: _figures,
    Facts: _facts,
    Stack: svg.stack,
    Bars: svg.bars,
    Steps: svg.steps,
    Scatter: svg.scatter,
}


def _table(block: Table, embedded: bool) -> str:
    classes = _classes(block.columns, block.rows)
    most = [_most(block, index) for index in range(len(block.columns))]
    head = "".join(
        f'<th scope="col"{_class(name)}>{_text(column.title)}</th>'
        for column, name in zip(block.columns, classes, strict=True)
    )
    rows = []
    for row in block.rows[: _MOST_ROWS if embedded else None]:
        cells = (
            _cell(value, column, name, largest)
            for value, column, name, largest in zip(row, block.columns, classes, most, strict=True)
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table>"
    label = _text(block.title or "Table")
    frame = f'<div class="frame" tabindex="0" role="region" aria-label="{label}">{table}</div>'
    title = f"<h3>{_text(block.title)}</h3>" if block.title else ""
    if embedded:
        if len(block.rows) > _FOLDED:
            summary = f"{_text(block.title)}: {len(block.rows)} rows" if block.title else f"{len(block.rows)} rows"
            more = len(block.rows) - len(rows)
            rest = f'<p class="note">and {more:,} more, which are on the page that to_html() makes</p>' if more else ""
            return f"<details><summary>{summary}</summary>{frame}{rest}</details>"
        return title + frame
    name = f' data-name="{_text(block.name)}"' if block.name else ""
    filters = " data-filters" if block.filters else ""
    return f'<section class="table"{name}{filters}>{title}{frame}{_details(block.details)}</section>'


def _cell(value: Cell, column: Column, name: str, largest: float) -> str:
    if column.form == "bar":
        return f'<td class="bar"><i style="width:{_share(value, largest)}%"></i></td>'
    text = written(value, column.form)
    return f"<td{_class(name)}{_raw(value, text)}>{html.escape(text)}</td>"


def _raw(value: Cell, text: str) -> str:
    """The value by which the script sorts, where it isn't what the text says."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    try:
        same = float(text.replace(",", "")) == value
    except ValueError:
        same = False
    return "" if same else f' data-value="{value!r}"'


def _most(block: Table, index: int) -> float:
    values = (row[index] for row in block.rows) if block.columns[index].form == "bar" else ()
    return max((value for value in values if isinstance(value, (int, float)) and math.isfinite(value)), default=0.0)


def _share(value: Cell, largest: float) -> str:
    share = value / largest if isinstance(value, (int, float)) and largest > 0 else 0.0
    return f"{100 * min(max(share, 0.0), 1.0):.0f}" if not math.isnan(share) else "0"


def _classes(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> list[str]:
    """The class of each column's cells: bar, r for figures, k for code, l for long texts."""
    rows = list(rows)
    names = []
    for index, column in enumerate(columns):
        form = FORMS[column.form]
        if column.form in ("bar", "code"):
            names.append("bar" if column.form == "bar" else "k")
        elif form.right:
            names.append("r")
        else:
            names.append("l" if any(len(str(row[index])) > _LONG for row in rows) else "")
    return names


def _details(details: Sequence[Sequence[Block]]) -> str:
    """The details of the rows, for the script. Tables are indices into texts that all share, since the rows of a sweep
    have much in common: as HTML they would be five times as large."""
    if not details:
        return ""
    texts: dict[str, int] = {}
    columns: dict[str, int] = {}
    rows = [
        [
            _packed(block, texts, columns) if isinstance(block, Table) else _WRITERS[type(block)](block)
            for block in blocks
        ]
        for blocks in (flow(blocks, page=True) for blocks in details)
    ]
    heads = [json.loads(head) for head in columns]
    data = json.dumps({"columns": heads, "texts": list(texts), "rows": rows}, separators=(",", ":"))
    # Nothing in it may end the element that it is in.
    data = data.replace("<", "\\u003c")
    unread = '<noscript><p class="note">The details of each row need JavaScript.</p></noscript>'
    return f'<script type="application/json">{data}</script>{unread}'


def _packed(block: Table, texts: dict[str, int], columns: dict[str, int]) -> dict[str, Any]:
    classes = _classes(block.columns, block.rows)
    head = json.dumps([[visible(column.title), name] for column, name in zip(block.columns, classes, strict=True)])
    most = [_most(block, index) for index in range(len(block.columns))]
    cells = [
        texts.setdefault(_share(value, largest) if column.form == "bar" else written(value, column.form), len(texts))
        for row in block.rows
        for value, column, largest in zip(row, block.columns, most, strict=True)
    ]
    return {"title": visible(block.title), "columns": columns.setdefault(head, len(columns)), "cells": cells}


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _text(text: str) -> str:
    return html.escape(visible(text))


def _file(name: str) -> str:
    return files(__package__).joinpath("templates").joinpath(name).read_text(encoding="utf-8")
