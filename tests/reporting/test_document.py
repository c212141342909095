"""What a report's page and text say, from a report that has every part."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from arm_recipes.documents.blocks import Heading, Stack, Steps, Table
from arm_recipes.documents.flow import flow
from arm_recipes.gates import Gate
from arm_recipes.lowering.records import Change
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
from arm_recipes.tools.vela.estimates import Estimate, Layer

_HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def _layer(operator: str, name: str, cycles: int, **others: Any) -> Layer:
    fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Layer)), 0)
    texts = dict.fromkeys(("bound", "module", "origin"), "")
    return Layer(**(fields | texts | {"operator": operator, "name": name, "cycles": cycles} | others))


_METHOD = MethodReport(
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
    changes=(Change("relu-range", _HOSTILE, "replaced", "it would be wrong"),),
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
    methods=(_METHOD,),
    vela_estimates=(Estimate(400, 0.5, 500.0, 1, 2, 3, 4, 5, 6, {"SRAM": 1.5}),),
    layers=(
        _layer("Conv2D", _HOSTILE, 300, macs=4000, utilisation=0.25, bound="MAC", module="stem.0", staging_bytes=640),
        _layer("Add", "sum", 100, bound="SRAM", origin="aten.add.Tensor", staging_bytes=320),
    ),
    advice=(Advice("utilisation", "Little is used.", tuple("abcdefg"), 300),),
    gates=(Gate("max_flash", "size in KiB, at most", 0.5, 0.98, False), Gate("min", "share, at least", 1, 2, True)),
)


def test_a_page_has_all_of_it() -> None:
    page = _REPORT.to_html("A <net>")
    assert "<title>A &lt;net&gt;</title>" in page
    assert "not measured on hardware" in page
    assert "<b>1,000</b><span>bytes of .pte</span>" in page
    assert "<b>66.67 %</b><span>operators delegated</span>" in page
    assert "FAILED: size in KiB, at most 0.5: 0.98" in page
    assert "Little is used." in page and "In a, b, c, d, e, f, g" in page
    for name, value in (("extra_flags", "--a --b"), ("arena_cache_size", "none"), ("per_channel", "true")):
        assert f"<dt>option {name}</dt><dd>{value}</dd>" in page
    # The names of the model stand there as they are, and begin no element.
    assert page.count("&lt;img src=x") >= 5 and "<img" not in page
    assert page.count("<script>") == 1


def test_its_pictures_and_tables() -> None:
    shown = flow(_REPORT.document().blocks, page=True)
    stacks = [block for block in shown if isinstance(block, Stack)]
    assert [stack.parts for stack in stacks] == [
        (("weights and constants", 500), ("command streams", 300), ("program", 200)),
        (("stem.0", 300), ("aten.add.Tensor", 100)),
    ]
    (steps,) = [block for block in shown if isinstance(block, Steps)]
    assert steps.steps == (("stem.0", 640), ("aten.add.Tensor", 320))
    titles = [block.title for block in shown if isinstance(block, Table) and block.title]
    assert titles == [
        "2 layers, in Vela's order",
        "Not delegated: 1 operators",
        "Memory",
        "Delegates",
        "Conversions at the border",
        "Calls of kernels, and their memory in bytes",
    ]


def test_memory_over_the_calls_where_nothing_is_delegated() -> None:
    method = dataclasses.replace(_METHOD, delegates=(), calls=(Call("cortex_m::add", "sum", 1, 2, 3, 4),))
    report = dataclasses.replace(
        _REPORT, recipe="CORTEX_M55_INT8", methods=(method,), vela_estimates=(), layers=(), delegation=50.0
    )
    shown = flow(report.document().blocks, page=True)
    assert [block.steps for block in shown if isinstance(block, Steps)] == [(("cortex_m::add sum", 9),)]
    assert "<b>50 %</b><span>kernels of CMSIS-NN</span>" in report.to_html()
    assert "not measured" not in report.to_html()


def test_methods_are_told_apart_only_where_there_are_several() -> None:
    two = dataclasses.replace(_REPORT, methods=(_METHOD, dataclasses.replace(_METHOD, name="other")))
    for report, expected in ((_REPORT, []), (two, ["Method forward", "Method other"])):
        shown = flow(report.document().blocks, page=False)
        headings = [block.text for block in shown if isinstance(block, Heading)]
        assert [text for text in headings if text.startswith("Method")] == expected


@pytest.mark.parametrize("width", [60, 100, 160])
def test_a_text_ends_with_what_matters_most(width: int) -> None:
    plain = dataclasses.replace(_REPORT, methods=())
    lines = plain.text(width).splitlines()
    assert max(map(len, lines)) <= width
    text = re.sub(r"\s+", " ", plain.text(width))
    assert "In a, b, c, d, e and 2 more" in text
    assert "Gate FAILED: size in KiB, at most 0.5: 0.98 Gate passed: share, at least 1: 2" in text
    assert text.endswith("1,000 bytes: 500 weights and constants, 300 command streams, 200 program")
