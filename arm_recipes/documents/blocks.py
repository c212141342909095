"""What a result is made of when it is shown: blocks, which know nothing of text or HTML. No torch here.

A result describes itself once, as a `Document`; `text`, `markdown` and `html` write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Heading:
    """A heading within the document, whose own title is level 1."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A sentence or more.

    Attributes:
        text: without markup.
        tone: ``plain``, ``note`` (aside), ``good``, ``bad``, or ``code`` (to be copied as it is).
    """

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Items:
    """A list of texts. A text after a line break is the item's second line."""

    texts: tuple[str, ...]
    ordered: bool = False


@dataclass(frozen=True)
class Words:
    """Short texts that follow each other with commas, none of which is broken within. For the text form."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class KeyFigures:
    """Key figures, each with what it is: ``("3,712,032", "bytes of .pte")``."""

    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Facts:
    """Names and their values."""

    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: of the column.
        form: how its cells are written, a name of `forms.FORMS`: ``text``, ``code`` (never broken), ``whole``,
            ``number``, ``brief`` (of three digits), ``percent`` (of a share 0 to 1), ``bytes``, ``decibel``, or ``bar``
            (of a page: its length).
    """

    title: str
    form: str = "text"


@dataclass(frozen=True)
class Table:
    """Rows of cells, which are raw values: the columns say how they are written.

    Attributes:
        columns: of the table.
        rows: one cell for each column; None for an empty cell.
        title: above it; empty where the text before says what it is.
        details: for each row, the blocks that a page shows when the row is chosen; empty without.
        name: by which a `Scatter` refers to it.
        filters: whether a page offers fields to filter its rows.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    details: tuple[tuple[Block, ...], ...] = ()
    name: str = ""
    filters: bool = False


@dataclass(frozen=True)
class Stack:
    """One bar, cut into parts by their size. Parts are ``(name, value)``; values are written in `form`."""

    title: str
    parts: tuple[tuple[str, float], ...]
    form: str = "whole"


@dataclass(frozen=True)
class Bars:
    """A bar per label, for comparing values; infinite ones are drawn to the end and written as ``exact``.

    Attributes:
        title: what the values are, with their unit.
        bars: label, and a value for each of `series`; None where there is none.
        series: what the values of a bar are; one without a name where there is but one.
        form: how values are written.
    """

    title: str
    bars: tuple[tuple[str, tuple[float | None, ...]], ...]
    series: tuple[str, ...] = ("",)
    form: str = "number"


@dataclass(frozen=True)
class Steps:
    """A value over the steps of a sequence, such as memory in use over layers.

    Attributes:
        title: what the values are, with their unit.
        axis: what the steps are.
        steps: label and value of each.
        form: how values are written.
    """

    title: str
    axis: str
    steps: tuple[tuple[str, float], ...]
    form: str = "whole"


@dataclass(frozen=True)
class Dot:
    """A point of a `Scatter`.

    Attributes:
        x: across.
        y: up.
        label: what a page tells of it, line by line.
        group: of one colour.
        marked: whether it stands out, and belongs to the line that is drawn through those that do.
        row: the row of the scatter's table that it belongs to.
    """

    x: float
    y: float
    label: str
    group: str = ""
    marked: bool = False
    row: int | None = None


@dataclass(frozen=True)
class Scatter:
    """Points over two logarithmic axes; on a page, those of rows that a filter hides are hidden with them.

    Attributes:
        title: of the plot.
        x: title of the axis, with its unit; likewise y.
        dots: the points.
        table: name of the table whose rows they are; empty without.
    """

    title: str
    x: str
    y: str
    dots: tuple[Dot, ...]
    table: str = ""


@dataclass(frozen=True)
class OnlyText:
    """Blocks for the text forms alone."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class OnlyPage:
    """Blocks for a page alone. (Plots are so in any case.)"""

    blocks: tuple[Block, ...]


Block = (
    Heading
    | Paragraph
    | Items
    | Words
    | KeyFigures
    | Facts
    | Table
    | Stack
    | Bars
    | Steps
    | Scatter
    | OnlyText
    | OnlyPage
)


@dataclass(frozen=True)
class Document:
    """What a result says.

    Attributes:
        title: of a page and of Markdown; plain text leaves it out.
        blocks: in order.
    """

    title: str
    blocks: tuple[Block, ...]


def table(header: Sequence[str | Column], rows: Iterable[Sequence[Cell]], title: str = "") -> Table:
    """A table whose columns are text where only their title is given."""
    columns = tuple(column if isinstance(column, Column) else Column(column) for column in header)
    return Table(columns, tuple(tuple(row) for row in rows), title)
