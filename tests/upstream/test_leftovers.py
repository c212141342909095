"""Of an export nothing stays but what the caller holds."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from torch.fx import Graph

from arm_recipes import ArmRecipeType, export
from tests import models

pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("one_sample_is_enough")]


def _graphs() -> int:
    gc.collect()
    return sum(type(each) is Graph for each in gc.get_objects())


def _grown(ours: bool) -> int:
    """By how many graphs the process grows with an export, of which no session is held."""

    def run() -> None:
        model, inputs = models.linear()
        recipe = ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8)
        if ours:
            export(model, recipe, inputs, check=False)
        else:
            upstream_export(model, [inputs], recipe)

    assert gc.get_freeze_count()  # by conftest.py: else an export freezes graphs of before, which are none then
    run()
    before = _graphs()
    run()
    return _graphs() - before


def test_torch_keeps_graphs() -> None:
    """Where this fails, `leftovers` can go."""
    assert _grown(ours=False) >= 4


@pytest.mark.parametrize("recipe", ["ETHOSU_U55_INT8", "CORTEX_M55_INT8"])
def test_a_session_goes_with_its_last_reference(recipe: str) -> None:
    assert _grown(ours=True) == 0
    model, inputs = models.linear()
    session = export(model, ArmRecipeType[recipe], inputs)
    kept = weakref.ref(session)
    del session
    gc.collect()
    assert kept() is None


def test_what_is_held_goes_on_working() -> None:
    model, inputs = models.linear()
    session = export(model, ArmRecipeType.TOSA_INT8, inputs)
    (quantized,) = [
        artifact.data["forward"]
        for stage, artifact in session.get_stage_artifacts().items()
        if stage.name == "QUANTIZE"
    ]
    assert torch.equal(quantized(*inputs), session.get_exported_program().module()(*inputs))
