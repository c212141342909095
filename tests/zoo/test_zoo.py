"""The models run and are always the same, and a few of them come out as docs/models.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from . import DOMAINS, MODELS
from .images import _MobileOneBlock
from .measure import measured

_DATA = Path(__file__).parents[2] / "docs" / "models.json"


def _outputs(name: str) -> list[torch.Tensor]:
    model = MODELS[name]
    with torch.no_grad():
        outputs = model.module()(*model.samples(1)[0])
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_always_the_same_and_says_something(name: str) -> None:
    first, second = _outputs(name), _outputs(name)
    assert all(map(torch.equal, first, second))
    assert all(output.isfinite().all() for output in first)
    one, other = MODELS[name].samples(2)
    assert not all(map(torch.equal, one, other))


def test_names_are_of_one_model_each() -> None:
    assert len(MODELS) == sum(map(len, DOMAINS.values()))


def test_mobileone_s_merged_convolution_computes_what_its_branches_do() -> None:
    torch.manual_seed(0)
    block, x = _MobileOneBlock(8, 8, 3, 1, groups=8), torch.randn(4, 8, 6, 6)
    block(x)  # batch norms take statistics
    block.eval()
    torch.testing.assert_close(block.merged()(x), block(x))


# Of different families, the soonest.
@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("MTCNN", "ETHOSU_U55_INT8"),
        ("HAR CNN", "TOSA_FP"),
        ("MLP", "VGF_INT8"),
        ("ESPCN", "CORTEX_M55_INT8"),
    ],
)
def test_what_comes_of_a_model_is_what_the_page_says(name: str, row: str) -> None:
    told: dict[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))["models"][name]["rows"][row]
    found = measured(MODELS[name], row)
    assert found["kind"] == told["kind"], found["words"]
    same = [key for key in ("share", "subgraphs") if found.get(key) != told.get(key)]
    assert not same, f"{same}: run docs/models.py and docs/generate.py"
    for key in ("quantized_db", "program_db"):
        assert found.get(key) == pytest.approx(told.get(key), abs=1.0)
