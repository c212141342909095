"""The pages of a sweep and of a report; in a headless Chromium where there is one ($CHROMIUM, or on the path)."""

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
from arm_recipes.gates import Gate
from arm_recipes.reporting.result import (
    Advice,
    BorderStep,
    Call,
    Count,
    Crossing,
    Delegate,
    ExportReport,
    MethodReport,
    PteParts,
    Refusal,
)
from arm_recipes.sweeping.result import Figures, Point, Skipped, with_pareto
from arm_recipes.tools.vela.estimates import Estimate, Layer

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


_REPORT = ExportReport(
    recipe="ETHOSU_U55_INT8",
    target="ethos-u55-128",
    options={"macs": 128, "extra_flags": ["--a", "--b"], "arena_cache_size": None, "per_channel": True},
    versions={"torch": "2.13.0"},
    pte_bytes=1000,
    pte_sha256="abc",
    parts=PteParts(500, 300, 0, 200),
    delegation=200 / 3,
    methods=(
        MethodReport(
            name="forward",
            graph="def",
            calibration=None,
            delegates=(Delegate("EthosUBackend", 3, 800, 400, 300, 64, (Crossing(_HOSTILE, (1, 3), "int8", 3),), ()),),
            delegated=(Count("aten.convolution", 2),),
            not_delegated=(Refusal("aten.topk", 1, "no topk", (_HOSTILE,)),),
            between=("aten.topk",),
            kernels=(Count("aten::topk.out", 1),),
            calls=(Call("aten::topk.out", _HOSTILE, 1, 2, 3, 4),),
            border=(BorderStep("transpose", "NPU", "Transpose", _HOSTILE, None, 33),),
            planned_bytes=(2048,),
            pools=None,
        ),
    ),
    vela_estimates=(Estimate(400, 0.5, 500.0, 1, 2, 3, 4, 5, 6, {"SRAM": 1.5}),),
    layers=_point(1, 1, 1, _HOSTILE).layers,
    advice=(Advice("utilisation", "Little is used.", (_HOSTILE, "head"), 300),),
    gates=(Gate("max_flash", "size in KiB, at most", 0.5, 0.98, False), Gate("min", "share, at least", 1, 2, True)),
)


@pytest.mark.parametrize("result", [_RESULT, _REPORT])
def test_it_is_one_file_that_needs_no_network(result: SweepResult | ExportReport) -> None:
    page = result.to_html("A <net>")
    assert "<title>A &lt;net&gt;</title>" in page
    assert "not measured on hardware" in page
    assert not re.search("@[a-z.]+@", page)
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="', page.replace(_HOSTILE, ""))
    assert page.count("</script>") == 2  # names of the model end nothing


def _browser() -> str | None:
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _after(script: str, folder: Path, result: SweepResult | ExportReport = _RESULT) -> str:
    """The page's elements once it has loaded and `script` has run in it."""
    file = folder / "page.html"
    file.write_text(result.to_html("net").replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
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
        assert re.findall(r'<td class="text">(MAC|SRAM)</td>', layers) == ["MAC", "SRAM"]
        assert re.findall(r'<td class="text">(stem.0|aten.add.Tensor)</td>', layers) == ["stem.0", "aten.add.Tensor"]
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

    def test_a_report(self, tmp_path: Path) -> None:
        shown = _after("", tmp_path, _REPORT)
        assert "<title>net</title>" in shown  # what is in the names did not run
        assert "<b>1,000</b><span>bytes of .pte</span>" in shown
        assert "<b>66.67 %</b><span>of operators delegated</span>" in shown
        assert '<span class="failed">failed: </span>size in KiB, at most 0.5: 0.98' in shown
        assert "Little is used." in shown
        widths = re.findall(r'style="background: [^"]*width: ([\d.]+)%', shown)
        assert widths == ["50", "30", "20"]
        assert "<dt>option extra_flags</dt><dd>--a --b</dd>" in shown
        assert "<dt>option arena_cache_size</dt><dd>none</dd>" in shown
        layers = shown.partition('id="layers"')[2].partition("</table>")[0]
        assert re.findall(r"<td>(300|100)</td>", layers) == ["300", "100"]
        methods = shown.partition('id="methods"')[2]
        titles = ["Memory", "Delegates", "Delegated", "Not delegated", "Conversions at the border"]
        assert re.findall("<h3>(.*?)</h3>", methods)[:5] == titles
        assert methods.count("&lt;img src=x") == 4

    def test_a_reports_tables_can_be_sorted(self, tmp_path: Path) -> None:
        click = "[...document.querySelectorAll('#layers button')].find(each => each.textContent === 'cycles').click();"
        for clicks, order in ((1, ["300", "100"]), (2, ["100", "300"])):
            layers = _after(click * clicks, tmp_path, _REPORT).partition('id="layers"')[2].partition("</table>")[0]
            assert re.findall(r"<td>(300|100)</td>", layers) == order
