"""A document as GitHub's Markdown, for pull requests and issues. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .blocks import Block, Document, Facts, Heading, Items, KeyFigures, Paragraph, Table, Words, table
from .flow import flow
from .forms import FORMS, visible, written

# An underscore within a word is none of Markdown's.
_MARKS = re.compile(r"[\\`*\[\]<>|#~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_STARTS = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]))")


def markdown(document: Document) -> str:
    """Its title and its blocks but plots."""
    return "\n\n".join((f"# {_escaped(document.title)}", *_blocks(flow(document.blocks, page=False)))) + "\n"


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Heading):
            yield f"{'#' * min(block.level, 6)} {_escaped(block.text)}"
        elif isinstance(block, Paragraph):
            yield _paragraph(block)
        elif isinstance(block, Items):
            mark = "1." if block.ordered else "-"
            lines = (visible(item, keep="\n").split("\n") for item in block.texts)
            yield "\n".join(f"{mark} " + "<br>".join(_escaped(line) for line in item) for item in lines)
        elif isinstance(block, Words):
            yield ", ".join(_escaped(word) for word in block.texts)
        elif isinstance(block, KeyFigures):
            yield "\n".join(f"- **{_escaped(figure)}** {_escaped(what)}" for figure, what in block.figures)
        elif isinstance(block, Facts):
            yield _table(table(("", ""), block.facts))
        elif isinstance(block, Table):
            title = f"**{_escaped(block.title)}**\n\n" if block.title else ""
            yield title + _table(block)


def _paragraph(block: Paragraph) -> str:
    if block.tone == "code":
        code = visible(block.text, keep="\n\t")
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
        return f"{fence}\n{code}\n{fence}"
    lines = visible(block.text, keep="\n").split("\n")
    return "<br>\n".join(_STARTS.sub(_started, _escaped(line)) for line in lines)


def _started(match: re.Match[str]) -> str:
    """What begins a line, so that it begins no list."""
    return f"{match[1]}\\{match[2]}" if not match[2].isdigit() else f"{match[1]}{match[2]}\\"


def _table(block: Table) -> str:
    shown = [(index, column) for index, column in enumerate(block.columns) if column.form != "bar"]
    lines = [
        [_escaped(column.title) for _, column in shown],
        ["---:" if FORMS[column.form].right else "---" for _, column in shown],
    ]
    for row in block.rows:
        lines.append([_cell(written(row[index], column.form), column.form) for index, column in shown])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str, form: str) -> str:
    if form != "code" or not text:
        return _escaped(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    code = text.replace("|", "\\|")
    return f"{fence}{pad}{code}{pad}{fence}"


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", visible(text))
