"""Every block in every form of a document."""

from __future__ import annotations

import math
import re

import pytest

from arm_recipes.documents.blocks import (
    Bars,
    Cell,
    Column,
    Document,
    Dot,
    Facts,
    Heading,
    Items,
    KeyFigures,
    OnlyPage,
    OnlyText,
    Paragraph,
    Scatter,
    Stack,
    Steps,
    Table,
    Words,
    table,
)
from arm_recipes.documents.forms import FORMS, written
from arm_recipes.documents.html import page
from arm_recipes.documents.markdown import markdown
from arm_recipes.documents.text import text

HOSTILE = "</script><img src=x onerror=\"document.title='run'\">|[link](http://x)`\x1b[31m\u202etxt\n# end"


def test_figures_are_written_by_their_form() -> None:
    rows: list[tuple[str, Cell, str]] = [
        ("whole", 1234, "1,234"),
        ("bytes", 1234567, "1,234,567"),
        ("number", 1234567.8, "1,235,000"),
        ("number", 0.00012345, "0.0001234"),
        ("number", 12.0, "12"),
        ("number", 1e-20, "1e-20"),
        ("precise", 0.9999984, "0.999998"),
        ("percent", 0.1234, "12.3 %"),
        ("percent2", 0.98444, "98.44 %"),
        ("decibel", 12.34, "12.3"),
        ("decibel", math.inf, "exact"),
        ("decibel", -math.inf, "-inf"),
        ("decibel", math.nan, "nan"),
        ("number", math.inf, "inf"),
        ("whole", "fused", "fused"),
        ("text", True, "yes"),
        ("code", 3, "3"),
    ]
    for form, value, text_of_it in rows:
        assert written(value, form) == text_of_it
    assert {written(None, form) for form in FORMS} == {""}


def _everything(name: str) -> Document:
    columns = (Column("name"), Column("code", "code"), *(Column(form, form) for form in FORMS if form != "text"))
    figures = (1.5, None, math.inf, math.nan)
    rows = tuple((name, name, *(figure for form in FORMS if form != "text")) for figure in figures)
    blocks = (
        Heading(name),
        Paragraph(name),
        Paragraph(name, "bad"),
        Paragraph(name, "code"),
        Items((f"{name}\nbelow", "other")),
        Words((name, "two words")),
        KeyFigures((("1,234", name),)),
        Facts(((name, name),)),
        Table(columns, rows, name, tuple((Heading(name, 3), Table(columns, rows)) for _ in rows), name, True),
        Stack(name, ((name, 3), ("rest", 1))),
        Bars(name, ((name, (1.0, math.inf)), ("b", (None, math.nan)), ("c", (-2.0, -math.inf))), (name, "two")),
        Steps(name, name, ((name, 1), ("b", 3), ("c", math.inf))),
        Scatter(name, name, name, (Dot(1, 2, name, name, True, 0), Dot(0, 2, "b"), Dot(math.inf, 1, "c")), name),
        OnlyText((Paragraph("in text alone"),)),
        OnlyPage((Paragraph("on a page alone"),)),
    )
    return Document(name, blocks)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_text_keeps_to_its_width(width: int) -> None:
    long = "a sentence of words that is broken " * 6
    document = Document(
        "",
        (
            Paragraph(long),
            Items((long + "\n" + long,)),
            Words(tuple(f"{count} aten.convolution.default" for count in range(20))),
            table((Column("some name"), Column("a heading of words", "whole"), "text"), [(long, 123456789, long)] * 3),
            Facts((("a name", long),)),
        ),
    )
    lines = text(document, width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("123,456,789" in line for line in lines) == 3
    assert sum(line.count("aten.convolution.default") for line in lines) == 20
    assert not any(line != line.rstrip() for line in lines)


def test_text_never_breaks_figures_and_code() -> None:
    columns = tuple(Column(f"column {index}", "whole") for index in range(12))
    document = Document("", (Table((Column("n", "code"), *columns), (("name." * 8, *[10**9] * 12),)),))
    lines = text(document, 60).splitlines()
    assert lines[-1].split() == ["name." * 8, *["1,000,000,000"] * 12]


def test_headings_that_head_nothing_are_left_out() -> None:
    document = Document(
        "Title",
        (
            Heading("Plots"),
            Stack("sizes", (("a", 1),)),
            Heading("Above"),
            Heading("Empty", 3),
            Table((Column("c"),), ()),
            Heading("Full", 3),
            Paragraph("Words."),
            Heading("End"),
        ),
    )
    assert text(document, 80) == "\nAbove\n\nFull\nWords.".lstrip()
    assert markdown(document) == "# Title\n\n## Above\n\n### Full\n\nWords.\n"
    headings = page(document).partition("<body")[2]
    assert "Plots" in headings and "Empty" not in headings and "End" not in headings


def test_blocks_of_one_form() -> None:
    document = _everything("name")
    for written_document in (text(document, 80), markdown(document)):
        assert "in text alone" in written_document and "on a page alone" not in written_document
    for embedded in (True, False):
        shown = page(document, embedded=embedded)
        assert "in text alone" not in shown and "on a page alone" in shown


def test_names_break_out_of_nothing() -> None:
    document = _everything(HOSTILE)
    assert "\x1b" not in text(document, 80) and "\u202e" not in text(document, 80)
    shown = markdown(document)
    body = [line for line in shown.splitlines() if not line.startswith("</script>")]  # what stands in a code block
    assert not any("<img" in line.replace("\\<img", "") and "`" not in line for line in body)
    assert {line.replace("\\|", "").count("|") for line in shown.splitlines() if line.startswith("|")} <= {3, 12}
    for embedded in (True, False):
        shown = page(document, embedded=embedded)
        assert "<img" not in shown and "\x1b" not in shown and "\u202e" not in shown
        assert shown.count("</script>") == (0 if embedded else 2)
        assert shown.count("<title>") >= 5


def test_a_page_is_one_file_that_needs_no_network() -> None:
    shown = page(_everything("@body@"), "A <net>")
    assert "<title>A &lt;net&gt;</title>" in shown
    assert "default-src 'none'" in shown
    assert "@body@" in shown  # of the names
    assert shown.count("<h1>") == 1
    assert "<script src" not in shown and "href=" not in shown and "url(" not in shown


def test_a_long_table_is_folded_and_cut_off_in_a_notebook() -> None:
    columns = (Column("n", "whole"),)
    embedded = page(Document("", (Table(columns, tuple((n,) for n in range(130)), "Rows"),)), embedded=True)
    assert "<summary>Rows: 130 rows</summary>" in embedded
    assert '<td class="r">99</td>' in embedded and '<td class="r">100</td>' not in embedded
    assert "and 30 more" in embedded
    short = page(Document("", (Table(columns, ((1,),), "Rows"),)), embedded=True)
    assert "<summary>" not in short


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_plots_of_odd_values_are_drawn(value: float) -> None:
    plots = (
        Stack("a", (("x", value), ("y", 1))),
        Bars("a", (("x", (value,)),)),
        Steps("a", "b", (("x", value),)),
        Scatter("a", "b", "c", (Dot(value, 2, "x"), Dot(1, value, "y"))),
    )
    for plot in plots:
        shown = page(Document("t", (plot,))).partition("<body")[2].partition("<script")[0]
        for numbers in re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy|width|height|d)="([^"]*)"', shown):
            assert "nan" not in numbers and "inf" not in numbers


def test_what_is_small_is_one_part() -> None:
    shown = page(Document("t", (Stack("cycles", tuple((f"layer {n}", 100 + n) for n in range(20))),)))
    assert re.findall(r"</svg><span>(.*?)</span> <b>(.*?)</b>", shown)[-2:] == [
        ("layer 19", "119"),
        ("13 others", "1,378"),
    ]


def test_a_long_label_is_shortened_in_its_middle() -> None:
    label = "features." + "block." * 20 + "last"
    shown = page(Document("t", (Bars("dB", ((label, (1.0,)),)),)))
    assert f"<title>{label}</title>" in shown
    assert re.search(r'<text class="label"[^>]*>features\.[^<]*…[^<]*last<title>', shown)
