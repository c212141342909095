"""The table of operators is what comes out when it is measured again, and has all that executorch's tables name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from arm_recipes import ArmRecipeType, LoweringError, export, report
from arm_recipes.recipes import catalog
from arm_recipes.recipes.operators import instead_of

from .measure import FAILED, exported, measured
from .record import RECORD, kept
from .table import FORMS
from .upstream import WITHOUT_A_ROW, named, plain

_RECORD: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
_BY_CODE: dict[str, dict[str, Any]] = {form["code"]: form for form in _RECORD["forms"]}

# In dB: kernels of torch, and so ranges, differ a little from machine to machine.
_NEAR = 1.5

# Of each verdict some, which take a second each.
_SAMPLE = (
    ("F.relu6(x)", "ETHOSU_U55_INT8"),
    ("F.softplus(x)", "ETHOSU_U55_INT8"),
    ("torch.where(x > y, x, y)", "ETHOSU_U55_INT8"),
    ("F.softmax(x, -1)", "ETHOSU_U55_INT8"),
    ("nn.Dropout(0.1)(x)", "ETHOSU_U55_INT8"),
    ("x > y", "ETHOSU_U85_INT8"),
    ("F.gelu(x)", "TOSA_FP"),
    ("x.topk(2, 1)[0]", "TOSA_FP"),
    ("nn.Conv1d(6, 8, 3)(x)", "CORTEX_M55_INT8"),
    ("F.max_pool2d(x, 2)", "CORTEX_M55_INT8"),
    ("torch.erf(x)", "CORTEX_M55_INT8"),
)


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for name in ("quantized_db", "program_db"):
        before, after = one.get(name), other.get(name)
        if isinstance(before, float) and isinstance(after, float):
            assert abs(before - after) < _NEAR, name
        else:
            assert before == after, name
    rest = [{name: each[name] for name in each if not name.endswith("_db")} for each in (one, other)]
    assert json.loads(json.dumps(rest[0])) == rest[1]  # through JSON, as the record went


@pytest.mark.parametrize(("code", "row"), [(code, row) for code, row in _SAMPLE if row in _RECORD["rows"]])
def test_what_was_measured_is_measured_again(code: str, row: str) -> None:
    _alike(kept(measured(FORMS[code], row)), _BY_CODE[code]["measured"][row])


# Recipes that were not measured take what another one takes, which messages rely on.
_KIN = (
    ("ETHOSU_U65_INT8", "ETHOSU_U55_INT8"),
    ("VGF_FP", "TOSA_FP"),
    ("CORTEX_M0_INT8", "CORTEX_M55_INT8"),
)


@pytest.mark.parametrize(("row", "other"), [(row, other) for row, other in _KIN if other in _RECORD["rows"]])
@pytest.mark.parametrize("code", ["F.relu6(x)", "x > y", "F.softmax(x, -1)"])
def test_kin_take_the_same(code: str, row: str, other: str) -> None:
    found = kept(measured(FORMS[code], row))
    assert found["verdict"] == _BY_CODE[code]["measured"][other]["verdict"]


def test_the_record_is_of_the_table_as_it_is() -> None:
    table = {
        key: (form.operator, list(form.use.inputs), list(form.use.instead))
        for key, form in FORMS.items()
    }  # fmt: skip
    assert table == {code: (form["operator"], form["inputs"], form["instead"]) for code, form in _BY_CODE.items()}
    assert all(form["measured"].keys() == set(_RECORD["rows"]) for form in _RECORD["forms"])


def test_no_error_is_not_ours() -> None:
    rows = (row for form in _BY_CODE.values() for row in form["measured"].values())
    assert all(found["verdict"] != FAILED for found in rows)


def test_what_is_told_instead_is_a_row_of_its_own() -> None:
    assert {code for form in FORMS.values() for code in form.use.instead} <= FORMS.keys()


@pytest.mark.slow
def test_each_form_uses_its_operator() -> None:
    others = []
    for key, form in FORMS.items():
        captured = torch.export.export(form.network().module(), form.samples(1)[0])
        if form.operator not in {str(node.target) for node in captured.graph.nodes}:
            others.append(key)
    assert others == []


def test_every_operator_that_executorch_names_has_a_row() -> None:
    seen = {plain(form.operator) for form in FORMS.values()}
    for form in _RECORD["forms"]:
        for found in form["measured"].values():
            seen |= {plain(name) for name in (*found.get("taken", ()), *(name for name, _ in found.get("left", ())))}
    assert named() - seen == WITHOUT_A_ROW.keys()


# --- What messages say of it ---------------------------------------------------------------------------------------


class _Relu6(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu6(self.conv(x) * 2)


_RELU6 = "ethos-u55 takes F.hardtanh(x, 0.0, 6.0) in the place of F.relu6(x)"


def test_a_recipe_takes_something_else() -> None:
    u55 = catalog.BY_NAME["ETHOSU_U55_INT8"]
    assert instead_of(u55, "aten.relu6.default") == (_RELU6,)
    assert instead_of(u55, "aten.relu.default") == ()


def test_the_report_says_what_is_taken_instead() -> None:
    samples = [(torch.randn(1, 3, 8, 8),) for _ in range(2)]
    session = exported(_Relu6().eval(), samples, catalog.BY_NAME["ETHOSU_U55_INT8"])
    told = report(session, layers=False)
    assert [each.text for each in told.advice if each.kind == "instead"] == [f"{_RELU6}."]
    assert {each.captured for each in told.methods[0].not_delegated} >= {("aten.relu6.default",)}


def test_the_error_says_what_is_taken_instead() -> None:
    class Alone(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.square(x)

    samples = [(torch.randn(1, 8),) for _ in range(2)]
    with pytest.raises(LoweringError, match="ethos-u55 takes x [*] x in the place of torch.square"):
        export(Alone().eval(), ArmRecipeType.ETHOSU_U55_INT8, samples[0], calibration=samples, progress=False)
