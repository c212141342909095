"""The page of a sweep; in a headless Chromium where there is one ($CHROMIUM, or on the path)."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arm_recipes import SweepResult
from arm_recipes.sweep_result import Figures, Layer, Point, Skipped, with_pareto

_HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def _point(macs: int, milliseconds: float, sram: float, name: str = "conv") -> Point:
    fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Figures)), 1)
    figures = Figures(**(fields | {"milliseconds": milliseconds, "sram_kib": sram}))
    layers = (
        Layer(0, "Conv2D", name, 300, 300, 20, 0, 0, 10, 4000),
        Layer(0, "Add", "sum", 100, 10, 100, 0, 0, 0, 0),
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


def test_it_is_one_file_that_needs_no_network() -> None:
    page = _RESULT.to_html("A <net>")
    assert "<title>A &lt;net&gt;</title>" in page
    assert "not measured on hardware" in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="', page.replace(_HOSTILE, ""))
    assert page.count("</script>") == 2  # names of the model end nothing


def _browser() -> str | None:
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _after(script: str, folder: Path) -> str:
    """The page's elements once it has loaded and `script` has run in it."""
    file = folder / "page.html"
    file.write_text(_RESULT.to_html("net").replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    browser = _browser()
    assert browser is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    command = [browser, *flags, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)


@pytest.mark.needs("chromium")
@pytest.mark.skipif(_browser() is None, reason="no Chromium here")
class TestInABrowser:
    def test_points_table_and_front(self, tmp_path: Path) -> None:
        shown = _after("", tmp_path)
        assert re.findall(r'<circle[^>]*data-point="(\d)"', shown) == ["3", "2", "1", "0"]  # the front is on top
        assert len(re.findall(r'<circle[^>]*class="front"', shown)) == 3
        assert re.findall(r'<tr data-point="(\d)"', shown) == ["2", "3", "1", "0"]  # the fastest first
        assert "4 of 4 configurations" in shown
        assert "<li>3 left out: memory mode not legal</li>" in shown
        assert "<title>net</title>" in shown  # what is in the names did not run
        assert '<section id="chosen" hidden' in shown

    def test_a_click_shows_the_layers_of_a_point(self, tmp_path: Path) -> None:
        click = "document.querySelector('circle[data-point=\"1\"]').dispatchEvent(new MouseEvent('click'));"
        shown = _after(click, tmp_path)
        assert '<h2 id="name">ETHOSU_U55_INT8 64 System Mode Size</h2>' in shown
        assert "-r ethosu-u55-int8 -o macs=64 -o system_config=System" in shown
        layers = shown.partition('id="layers"')[2]
        assert re.findall(r"<td>(300|100)</td><td>([\d.]+ %)</td>", layers) == [("300", "75.0 %"), ("100", "25.0 %")]
        assert re.findall(r'<td class="text">(NPU|SRAM)</td>', layers) == ["NPU", "SRAM"]
        assert "&lt;/script&gt;" in layers
        assert "<title>net</title>" in shown
        assert re.search(r'<circle[^>]*class="front chosen"', shown)

    def test_hover_sort_and_filter(self, tmp_path: Path) -> None:
        script = (
            "document.querySelector('circle').dispatchEvent(new PointerEvent('pointermove', {clientX: 9}));"
            "document.getElementById('sram').value = '90';"
            "document.getElementById('sram').dispatchEvent(new Event('input'));"
            "for (const i of [1, 2]) document.querySelector('button[data-key=macs]').click();"
        )
        shown = _after(script, tmp_path)
        assert "2.5 ms, SRAM 95 KiB" in shown.partition('id="tip"')[2].partition("</div>")[0]
        assert re.findall(r'<tr data-point="(\d)"', shown) == ["2", "1", "0"]
        assert "3 of 4 configurations" in shown
