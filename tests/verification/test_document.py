"""What the page and the text of a verification say."""

from __future__ import annotations

import dataclasses
import math

from arm_recipes import VerifyReport
from arm_recipes.checking.result import MethodCheck
from arm_recipes.documents.blocks import Bars
from arm_recipes.documents.flow import flow
from arm_recipes.gates import Gate
from arm_recipes.simulators.base import SimulatedDelegate
from arm_recipes.verification.result import Accuracy, Comparison, IntegerMatch, LayerError

_METRICS = {"sqnr_db": 40.0, "cosine": 0.5, "max_abs": 1.0, "mean_abs": 0.25, "rmse": 0.125}
_REPORT = VerifyReport(
    recipe="TOSA_INT8",
    target="TOSA-1.0+INT",
    method="forward",
    simulator="a simulator",
    proves="this and that",
    notes=("A note.",),
    source="folder data",
    samples=2,
    stages=("float", "quantized", "simulated"),
    comparisons=(
        Comparison("float", "simulated", 0, _METRICS, 1, 39.0),
        Comparison("quantized", "simulated", 0, {**_METRICS, "sqnr_db": math.inf}, 0, math.inf),
    ),
    accuracy=Accuracy(2, {"float": {"top1": 1.0}, "simulated": {"top1": 0.5}}),
    integers=(IntegerMatch(0, 8, 3, 2),),
    delegates=(SimulatedDelegate("lowered_module_0", "TOSABackend", 100, False),),
    check=MethodCheck("forward", True, "", "a simulator", 2, 5, 4, 1, 3, 1),
    layers=(
        LayerError("aten.conv2d of <a>", math.inf, 30.0, 12.5, 64, 3, 5.0, True, ("aten.relu",)),
        LayerError("aten.view", None, None, None, 0, 0, 0.0, False),
    ),
    gates=(
        Gate("same_graph", "graphs that are the same, at least", 1, 1, True),
        Gate("same_function", "function, at least", 1, 0, False),
        Gate("min_sqnr", "SQNR, at least", 30, 40, True),
    ),
)


def test_its_pictures() -> None:
    plots = [block for block in flow(_REPORT.document().blocks, page=True) if isinstance(block, Bars)]
    assert [plot.bars for plot in plots] == [
        (("float", (1.0,)), ("simulated", (0.5,))),
        (("aten.conv2d of <a>", (math.inf, 30.0)),),  # of the other there is no figure
    ]
    assert plots[1].series == ("quantized", "simulated")


def test_the_page() -> None:
    page = _REPORT.to_html()
    assert "<b>40.0 dB</b>" in page and "<b>3 of 8</b>" in page and "<b>50.00%</b>" in page
    assert page.count("Gate passed: SQNR, at least 30: 40") == 1
    assert "aten.conv2d of &lt;a&gt;" in page and "<a>" not in page


def test_the_text() -> None:
    text = _REPORT.text(120)
    assert text.startswith("TOSA_INT8, method forward, 2 samples of folder data\nSimulated on a simulator.\n")
    assert "Integers of output 0, quantized and simulated: of 8, 3 differ, by up to 2." in text
    assert "it does NOT give its bytes: it was changed." in text
    assert "Most is lost in: aten.conv2d of <a> (12.5 dB)" in text
    assert "First layer that is wrong: aten.conv2d of <a>, or what was fused into it (aten.relu)." in text
    # The gates that nobody asked for only where they fail.
    assert text.endswith("Gate FAILED: function, at least 1: 0\nGate passed: SQNR, at least 30: 40")
    layers = [line.split() for line in text.splitlines() if line.startswith("  aten.")]
    assert layers[0][3:] == ["exact", "30.0", "12.5", "3", "64", "5", "off"]
    assert layers[1] == ["aten.view", "fused"]
    assert max(map(len, _REPORT.text(80).splitlines())) <= 80


def test_rows_are_the_layers_or_else_the_comparisons() -> None:
    assert _REPORT.to_csv().splitlines()[1].startswith("aten.conv2d of <a>,inf,30.0,12.5,64,3,5.0,True,aten.relu")
    header, first, _ = dataclasses.replace(_REPORT, layers=()).to_csv().splitlines()
    assert header == "reference,candidate,output,sqnr_db,cosine,max_abs,mean_abs,rmse,worst_sample,worst_sqnr_db"
    assert first == "float,simulated,0,40.0,0.5,1.0,0.25,0.125,1,39.0"
