"""What the script of a page does with blocks of any kind."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from arm_recipes.documents.blocks import (
    Bars,
    Column,
    Document,
    Dot,
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
    table,
)
from arm_recipes.documents.html import page

from .browser import after, needs_chromium

_HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"

_ROWS = (
    ("one", "alpha", 1000, 0.25, None),
    (_HOSTILE, "beta", 20000, 0.125, 2.0),
    ("three", "beta", 300, 0.5, float("inf")),
    ("four", "alpha", 4000, None, 4.0),
)
_COLUMNS = (
    Column("name"),
    Column("kind", "code"),
    Column("cycles", "whole"),
    Column("share", "percent"),
    Column("level", "decibel"),
)
_DETAIL = (Column("layer"), Column("cycles", "whole"), Column("part", "percent"), Column("", "bar"))


def _details(name: str, cycles: int) -> tuple[Heading | Paragraph | Table, ...]:
    layers = ((f"layer of {name}", cycles, 0.75, 3), ("other", cycles // 2, 0.25, 1))
    return Heading(name, 3), Paragraph(f"make {name}", "code"), Table(_DETAIL, layers, "Layers")


_DOCUMENT = Document(
    "Document",
    (
        KeyFigures((("1,234", "bytes"),)),
        Paragraph("make all", "code"),
        Scatter(
            "plot",
            "ms",
            "KiB",
            tuple(
                Dot(row + 1, 10 / (row + 1), f"dot {row}\nof {_ROWS[row][0]}", "group", row > 1, row)
                for row in range(len(_ROWS))
            ),
            "points",
        ),
        Table(
            _COLUMNS,
            _ROWS,
            "Points",
            tuple(_details(row[0], row[2]) for row in _ROWS),
            "points",
            filters=True,
        ),
        table(("plain", Column("figure", "whole")), (("b", 1), ("a", 1), ("c", 2)), "Plain"),
    ),
)


def _shown(folder: Path, script: str = "", document: Document = _DOCUMENT) -> str:
    return after(page(document), folder, script)


def _seen(folder: Path, states: Sequence[str]) -> list[str]:
    """The elements of the page after each script, one after the other."""
    keep = "; states.push(document.body.innerHTML.replace(/<script.*?<.script>/gs, ''));"
    script = "const states = [];" + "".join(f"{{ {state} }} {keep}" for state in states)
    shown = after(page(_DOCUMENT), folder, script + "document.body.textContent = JSON.stringify(states);")
    kept: list[str] = json.loads(html.unescape(shown.partition("<body")[2].partition(">")[2].rpartition("</body>")[0]))
    return kept


def _rows(shown: str, title: str) -> list[list[str]]:
    """The cells of the rows that a table shows."""
    body = shown.partition(f"<h3>{title}</h3>")[2].partition("</table>")[0].partition("<tbody>")[2]
    rows = re.findall(r"<tr([^>]*)>(.*?)</tr>", body, flags=re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", cells) for attributes, cells in rows if "hidden" not in attributes]


def _column(shown: str, title: str, index: int) -> list[str]:
    return [cells[index] for cells in _rows(shown, title)]


def _event(kind: str, name: str) -> str:
    return f"dispatchEvent(new {kind}('{name}', {{clientX: 9, key: 'Enter', bubbles: true}}));"


def _click(title: str) -> str:
    return f"[...document.querySelectorAll('th button')].find(each => each.textContent === '{title}').click();"


def _fill(**fields: str) -> str:
    """Fill the filters' fields, and empty the others."""
    selectors = {
        "search": "input[type=search]",
        "kind": "select",
        "cycles_least": 'input[aria-label="cycles, least"]',
        "share_most": 'input[aria-label="share, most"]',
        "level_least": 'input[aria-label="level, least"]',
    }
    return "".join(
        f"{{ const field = document.querySelector('{selector}'); field.value = '{fields.get(name, '')}';"
        f" field.{_event('Event', 'input')} }}"
        for name, selector in selectors.items()
    )


_ROW = "document.querySelectorAll('tbody tr')[{}]"
_DOT = "document.querySelector('circle[data-row=\"{}\"]')"


@needs_chromium
class TestInABrowser:
    def test_names_run_nothing(self, tmp_path: Path) -> None:
        shown = _shown(tmp_path, f"{_ROW.format(1)}.click(); {_DOT.format(1)}.{_event('PointerEvent', 'pointermove')}")
        assert "<title>Document</title>" in shown
        assert "<img" not in shown
        details = shown.partition("chosen-details")[2]
        assert "<h3>&lt;/script&gt;" in details
        assert _column(details, "Layers", 0)[0].startswith("layer of &lt;/script&gt;")
        tip = re.findall(r'<div class="tip"([^>]*)>(.*?)</div>', shown, flags=re.DOTALL)
        assert [("hidden" in attributes, text[:22]) for attributes, text in tip] == [
            (False, "dot 1\nof &lt;/script&gt;"[:22])
        ]

    def test_headings_sort(self, tmp_path: Path) -> None:
        orders = [
            ("cycles", "descending", ["20,000", "4,000", "1,000", "300"]),  # the largest first
            ("cycles", "ascending", ["300", "1,000", "4,000", "20,000"]),
            ("share", "descending", ["300", "1,000", "20,000", "4,000"]),
            ("share", "ascending", ["20,000", "1,000", "300", "4,000"]),  # what is empty is last either way
            ("level", "descending", ["300", "4,000", "20,000", "1,000"]),
            ("kind", "ascending", ["1,000", "4,000", "20,000", "300"]),  # as it was, where equal
        ]
        for (title, way, order), shown in zip(
            orders, _seen(tmp_path, [_click(title) for title, *_ in orders]), strict=True
        ):
            assert _column(shown, "Points", 2) == order
            assert re.findall(r'aria-sort="(\w+)"><button type="button">(\w+)', shown) == [(way, title)]
            assert _column(shown, "Plain", 0) == ["b", "a", "c"]  # another table

    def test_fields_filter_rows_and_dots(self, tmp_path: Path) -> None:
        cases: list[tuple[dict[str, str], list[str]]] = [
            ({}, ["1,000", "20,000", "300", "4,000"]),
            ({"search": "THREE"}, ["300"]),
            ({"search": "beta 0"}, ["20,000", "300"]),
            ({"kind": "alpha"}, ["1,000", "4,000"]),
            ({"cycles_least": "1000"}, ["1,000", "20,000", "4,000"]),
            ({"share_most": "25"}, ["1,000", "20,000"]),
            ({"level_least": "3", "kind": "beta"}, ["300"]),
            ({"search": "nowhere"}, []),
        ]
        for (_, rows), shown in zip(cases, _seen(tmp_path, [_fill(**fields) for fields, _ in cases]), strict=True):
            assert _column(shown, "Points", 2) == rows
            assert f"{len(rows)} of 4 rows" in shown
            dots = re.findall(r'<circle[^>]*data-row="\d"[^>]*>', shown)
            assert (len(dots), sum("display: none" not in dot for dot in dots)) == (4, len(rows))

    def test_a_row_is_chosen_with_its_dot(self, tmp_path: Path) -> None:
        other = _ROW.format(0) + ".click();"
        ways = [
            f"{_DOT.format(2)}.{_event('MouseEvent', 'click')}",
            f"{other} {_ROW.format(2)}.click();",
            f"{other} {_ROW.format(2)}.{_event('KeyboardEvent', 'keydown')}",
            f"{other} {_click('cycles')} {_ROW.format(3)}.click();",  # which is the smallest
        ]
        for shown in _seen(tmp_path, ways):
            assert re.findall(r'<tr[^>]*data-row="(\d)"[^>]*class="chosen"', shown) == ["2"]
            assert re.findall(r'<circle class="[^"]*chosen"[^>]*data-row="(\d)"', shown) == ["2"]
            details = shown.partition("chosen-details")[2]
            assert "<h3>three</h3>" in details
            assert re.findall("<code>(.*?)</code>", details) == ["make three"]
            cells = [cells[:3] for cells in _rows(details, "Layers")]
            assert cells == [["layer of three", "300", "75.0 %"], ["other", "150", "25.0 %"]]
            assert re.findall(r'<td class="bar"><i style="width: (\d+)%', details) == ["100", "33"]

    def test_details_sort_and_code_can_be_copied(self, tmp_path: Path) -> None:
        click = "[...document.querySelectorAll('.chosen-details th button')][2].click();"
        shown = _shown(tmp_path, f"{_ROW.format(0)}.click();" + click * 2)
        assert _column(shown.partition("chosen-details")[2], "Layers", 2) == ["25.0 %", "75.0 %"]
        copied = re.findall(r'<pre class="code"><button type="button">Copy</button><code>(.*?)</code>', shown)
        assert copied == ["make all", "make one"]

    @pytest.mark.parametrize("width", [420, 1300])
    def test_a_page_never_scrolls_sideways(self, tmp_path: Path, width: int) -> None:
        long = "features.with_a_very_long_name.that_has_no_end." * 6
        blocks = (
            Paragraph(long),
            Paragraph(long, "code"),
            Items((f"{long}\n{long}",)),
            Words((long, "b")),
            KeyFigures(((long, long), ("1", long))),
            Facts(((long, long), ("a", long))),
            Stack(long, ((long, 3), ("b", 1))),
            Bars(long, ((long, (1.0, 123456.0)),), (long, "b")),
            Steps(long, "steps", ((long, 1e9), ("b", 3))),
            Scatter(long, long, "y", (Dot(1, 2e6, long, long), Dot(3, 1, "b"))),
            Table(tuple(Column(long, "code") for _ in range(9)), ((long,) * 9,), long, filters=True),
        )
        # In a frame, since a window has a least width.
        source = html.escape(page(Document(long, blocks)))
        frame = f'<body><iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{source}"></iframe></body>'
        script = (
            "addEventListener('load', () => { const root = document.querySelector('iframe').contentDocument;"
            "const buttons = root.querySelectorAll('th button').length;"
            "document.body.dataset.wide = [root.defaultView.innerWidth, buttons,"
            "root.documentElement.scrollWidth - root.documentElement.clientWidth]; });"
        )
        assert f'data-wide="{width},9,0"' in after(frame, tmp_path, script)
