"""What a sweep's page and text say."""

from __future__ import annotations

import dataclasses
from typing import Any

from arm_recipes import SweepResult
from arm_recipes.documents.blocks import Heading, Paragraph, Scatter, Table
from arm_recipes.documents.flow import flow
from arm_recipes.sweeping.result import Figures, Point, Skipped, with_pareto
from arm_recipes.tools.vela.estimates import Layer

_HOSTILE = "</script><script>document.title='run'</script><img src=x>"


def _point(macs: int, milliseconds: float, sram: float, name: str = "conv") -> Point:
    fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Figures)), 1)
    figures = Figures(**(fields | {"milliseconds": milliseconds, "sram_kib": sram}))
    layer = Layer(0, "Conv2D", name, 300, 2, 3, 4, 5, 6, 7, 0.5, "DRAM", 8, "stem.0", "aten.conv2d")
    return Point("ETHOSU_U55_INT8", macs, "System", "Mode", "Size", figures, layers=(layer,))


_RESULT = SweepResult(
    with_pareto(
        [
            _point(32, 4, 10),
            Point("ETHOSU_U55_INT8", 7, "System", "Mode", "Size", error=f"no {_HOSTILE}"),
            _point(64, 3, 20, _HOSTILE),
            _point(128, 2, 90),
            _point(256, 2.5, 95),
        ]
    ),
    (Skipped("ETHOSU_U55_INT8", "memory mode not legal", 3),),
    vela="5.1.0",
)


def test_the_page_has_a_plot_whose_dots_are_the_rows_of_its_table() -> None:
    shown = flow(_RESULT.document().blocks, page=True)
    (plot,) = [block for block in shown if isinstance(block, Scatter)]
    (points,) = [block for block in shown if isinstance(block, Table)]
    assert plot.table == points.name and points.filters
    assert [row[1] for row in points.rows] == [128, 256, 64, 32]  # those that did not fail, the fastest first
    assert [(dot.x, dot.y, dot.row, dot.marked) for dot in plot.dots] == [
        (2, 90, 0, True),
        (2.5, 95, 1, False),
        (3, 20, 2, True),
        (4, 10, 3, True),
    ]
    assert "3 ms, SRAM 20.0 KiB, flash 2.0 KiB" in plot.dots[2].label


def test_a_row_shows_how_to_make_its_program_and_its_layers() -> None:
    (points,) = [block for block in flow(_RESULT.document().blocks, page=True) if isinstance(block, Table)]
    heading, code, note, layers = points.details[2]
    assert heading == Heading("ETHOSU_U55_INT8 64 System Mode Size", 3)
    options = "-o macs=64 -o system_config=System -o memory_mode=Mode -o optimise=Size"
    assert code == Paragraph(f"arm-recipes export MODEL -r ethosu-u55-int8 {options}", "code")
    assert isinstance(note, Paragraph) and note.tone == "note"
    assert isinstance(layers, Table) and layers.rows[0][1:5] == ("stem.0", "Conv2D", 300, 1.0)


def test_names_run_nothing() -> None:
    page = _RESULT.to_html("net")
    assert "<title>net</title>" in page and "not measured on hardware" in page
    assert "<img" not in page
    assert page.count("</script>") == 2  # the details of the points, and the page's own


def test_the_text_has_the_front_and_what_failed() -> None:
    text = _RESULT.text(100)
    assert "4 configurations estimated, 1 failed, 3 left out as not legal" in text
    assert "Vela 5.1.0's estimates, not measured" in text
    assert text.count("- ethosu-u55-int8 128, System, Mode, Size\n") == 2  # in the front, and as the fastest
    assert "256" not in text
    assert "-r ethosu-u55-int8 -o macs=128 " in text
    assert "1 ETHOSU_U55_INT8: no </script>" in text
    assert "Interrupted" not in text
    assert "Interrupted: there are more." in dataclasses.replace(_RESULT, interrupted=True).text()


def test_nothing_done_is_said_without_a_front() -> None:
    assert SweepResult(()).text() == "0 configurations estimated, 0 failed, 0 left out as not legal"
