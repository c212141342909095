"""The page of a sweep in a browser, whose plot and details belong to the rows of its table."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from arm_recipes.sweeping.result import Figures, Point, Skipped, SweepResult, with_pareto
from arm_recipes.tools.vela.estimates import Layer

from .browser import after, needs_chromium

_HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def _layer(operator: str, name: str, cycles: int, **others: Any) -> Layer:
    fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Layer)), 0)
    texts = dict.fromkeys(("bound", "module", "origin"), "")
    return Layer(**(fields | texts | {"operator": operator, "name": name, "cycles": cycles} | others))


def _point(macs: int, milliseconds: float, sram: float, name: str = "conv") -> Point:
    fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Figures)), 1)
    figures = Figures(**(fields | {"milliseconds": milliseconds, "sram_kib": sram}))
    layers = (
        _layer("Conv2D", name, 300, macs=4000, utilisation=0.25, bound="MAC", module="stem.0"),
        _layer("Add", "sum", 100, bound="SRAM", origin="aten.add.Tensor"),
    )
    return Point("ETHOSU_U55_INT8", macs, "System", "Mode", "Size", figures, layers=layers)


_RESULT = SweepResult(
    with_pareto(
        [
            _point(32, 4, 10),
            _point(64, 3, 20, _HOSTILE),
            _point(128, 2, 90),
            _point(256, 2.5, 95),
            Point("ETHOSU_U55_INT8", 7, "System", "Mode", "Size", error=f"no {_HOSTILE}"),
        ]
    ),
    (Skipped("ETHOSU_U55_INT8", "memory mode not legal", 3),),
    vela="5.1.0",
)


@needs_chromium
class TestSweep:
    def test_points_table_front_and_details(self, tmp_path: Path) -> None:
        # The dot of 64 MACs, which is the third by its time.
        click = "document.querySelector('circle[data-row=\"2\"]').dispatchEvent(new MouseEvent('click'));"
        shown = after(_RESULT.to_html("A <net>"), tmp_path, click)
        assert "<title>A &lt;net&gt;</title>" in shown  # what is in the names did not run
        dots = re.findall(r'<circle class="c0([ \w]*)"[^>]*data-row="(\d)"', shown)
        # The front is on top, and above all what is chosen.
        assert dots == [("", "1"), (" marked", "0"), (" marked", "3"), (" marked chosen", "2")]
        rows = re.findall(r'<tr tabindex="0" data-row="(\d)"[^>]*>.*?<td class="r">(\d+)</td>', shown)
        assert rows == [("0", "128"), ("1", "256"), ("2", "64"), ("3", "32")]  # the fastest first
        details = shown.partition("chosen-details")[2]
        assert "<h3>ETHOSU_U55_INT8 64 System Mode Size</h3>" in details
        assert "-r ethosu-u55-int8 -o macs=64 -o system_config=System" in details
        layers = re.findall(r'<td class="r">(300|100)</td><td class="r">([\d.]+ %)</td>', details)
        assert layers == [("300", "75.0 %"), ("100", "25.0 %")]
        assert re.findall(r"<td>(stem.0|aten.add.Tensor)</td>", details) == ["stem.0", "aten.add.Tensor"]
        assert "&lt;/script&gt;" in details
        assert "<li>3 " in shown and "memory mode not legal</li>" in shown
