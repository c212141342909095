"""A document as text, for a terminal or a log. No torch here."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .blocks import Block, Column, Document, Facts, Heading, Items, KeyFigures, Paragraph, Table, Words
from .flow import flow
from .forms import FORMS, visible, written

if TYPE_CHECKING:
    from rich import table as rich_table

_LEAST_WIDTH = 60
# A text column is folded down to this, and no further: beyond it the table is wider than was asked for.
_LEAST_COLUMN = 12


def text(document: Document, width: int) -> str:
    """Lines of at most `width` columns as far as names and figures allow, which are never broken. Without its title."""
    width = max(width, _LEAST_WIDTH)
    lines: list[str] = []
    last: _Piece | None = None
    for piece in _pieces(flow(document.blocks, page=False), width):
        if last is not None and (piece.apart or last.closed):
            lines.append("")
        lines += piece.lines
        last = piece
    return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True)
class _Piece:
    """The lines of a block.

    Attributes:
        lines: of it.
        apart: whether there is a blank line before it.
        closed: whether there is a blank line after it.
    """

    lines: list[str]
    apart: bool = False
    closed: bool = False


def _pieces(blocks: Iterable[Block], width: int) -> Iterator[_Piece]:
    for block in blocks:
        if isinstance(block, Heading):
            yield _Piece(_filled(visible(block.text), width), apart=True)
        elif isinstance(block, Paragraph):
            yield _Piece(_paragraph(block, width))
        elif isinstance(block, Items):
            yield _Piece(_items(block, width), closed=True)
        elif isinstance(block, Words):
            yield _Piece(_words(block.texts, width))
        elif isinstance(block, KeyFigures):
            yield _Piece(_words([f"{figure} {what}" for figure, what in block.figures], width))
        elif isinstance(block, Facts):
            yield _Piece(_table((Column("", "code"), Column("")), block.facts, width, header=False), closed=True)
        elif isinstance(block, Table):
            title = _filled(visible(block.title), width) if block.title else []
            yield _Piece(title + _table(block.columns, block.rows, width), apart=bool(title), closed=True)


def _paragraph(block: Paragraph, width: int) -> list[str]:
    lines = visible(block.text, keep="\n\t").split("\n")
    if block.tone == "code":
        return [f"  {line}" for line in lines]
    return [filled for line in lines for filled in _filled(line, width)]


def _items(block: Items, width: int) -> list[str]:
    lines = []
    for number, item in enumerate(block.texts, 1):
        mark = f"{number}. " if block.ordered else "- "
        first, *others = visible(item, keep="\n").split("\n")
        lines += _filled(first, width, mark, " " * len(mark))
        for other in others:
            lines += _filled(other, width, " " * len(mark), " " * (len(mark) + 2))
    return lines


def _words(words: Iterable[str], width: int) -> list[str]:
    # The spaces within a word are kept together. visible() leaves no other such character.
    joined = ", ".join(visible(word).replace(" ", "\0") for word in words)
    return [line.replace("\0", " ") for line in _filled(joined, min(width, 120), "  ", "  ")]


def _filled(line: str, width: int, first: str = "", others: str = "  ") -> list[str]:
    return textwrap.wrap(
        line, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    ) or [""]


def _table(columns: Sequence[Column], rows: Iterable[Sequence[object]], width: int, header: bool = True) -> list[str]:
    from rich.console import Console
    from rich.padding import Padding

    shown = [index for index, column in enumerate(columns) if column.form != "bar"]
    cells = [[written(row[index], columns[index].form) for index in shown] for row in rows]  # type: ignore[arg-type]
    table, least = _rich_table([columns[index] for index in shown], cells, width - 2, header)
    file = io.StringIO()
    console = Console(
        file=file,
        width=max(width, least + 2),
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=False,
        force_jupyter=False,
        legacy_windows=False,
    )
    console.print(Padding(table, (0, 0, 0, 2)))
    return file.getvalue().splitlines()


def _rich_table(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, header: bool
) -> tuple[rich_table.Table, int]:
    """The table, and the least width at which no figure is broken."""
    from rich.cells import cell_len
    from rich.table import Table as RichTable
    from rich.text import Text

    widest = [max((cell_len(row[index]) for row in cells), default=0) for index in range(len(columns))]
    titles = [visible(column.title) if header else "" for column in columns]
    gaps = 2 * (len(columns) - 1)
    if sum(max(cell_len(title), most) for title, most in zip(titles, widest, strict=True)) + gaps > width:
        # There is no room for headings on one line.
        titles = [_broken(title, most) for title, most in zip(titles, widest, strict=True)]
    lines = max(title.count("\n") for title in titles)
    titles = ["\n" * (lines - title.count("\n")) + title for title in titles]
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header)
    least = gaps
    for column, title, most in zip(columns, titles, widest, strict=True):
        form = FORMS[column.form]
        head = max((cell_len(line) for line in title.split("\n")), default=0)
        table.add_column(
            Text(title),
            justify="right" if form.right else "left",
            overflow="fold",
            no_wrap=form.unbroken,
            min_width=head,
        )
        least += max(head, most if form.unbroken else min(most, _LEAST_COLUMN))
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    return table, least


def _broken(title: str, least: int) -> str:
    """A heading on about two lines."""
    longest = max((len(word) for word in title.split()), default=0)
    return "\n".join(textwrap.wrap(title, max(least, longest, len(title) // 2 + 2), break_on_hyphens=False))
