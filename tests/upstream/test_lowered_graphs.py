"""What an export keeps of its lowering is what another lowering would make, and costs the program nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from executorch.backends.arm._passes import arm_pass_manager
from executorch.export import ExportRecipe
from executorch.export import export as standard_export

from arm_recipes import ArmRecipeType, export
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.upstream.delegates import Recompiled, recompiled
from arm_recipes.upstream.lowered_graphs import keeping
from tests import models
from tests.exports import exported

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")

_TWO = {"first": models.linear, "second": models.two_inputs}


def _two_methods() -> dict[str, models.Example]:
    return {method: make() for method, make in _TWO.items()}


@pytest.mark.no_cover
@pytest.mark.parametrize("name", ["TOSA_INT8", "ETHOSU_U55_INT8", "VGF_INT8"])
def test_the_bytes_are_those_without_it(name: str) -> None:
    examples = _two_methods()
    recipe = ExportRecipe.get_recipe(ArmRecipeType[name])
    given = {method: example.model for method, example in examples.items()}
    inputs = {method: [tuple(example.inputs)] for method, example in examples.items()}
    kept = export(given, ArmRecipeType[name], inputs)
    assert kept.get_pte_buffer() == standard_export(given, inputs, recipe).get_pte_buffer()
    for program in snapshots(kept).values():
        (delegate,) = program.modules.values()
        again = Recompiled(delegate)
        assert recompiled(delegate).origins == again.origins
        assert recompiled(delegate).border == again.border
        assert recompiled(delegate).reproduced


def test_a_graph_is_converted_alone() -> None:
    """Lowered again only where nothing was kept."""
    (delegate,) = snapshots(exported("VGF_INT8"))["forward"].modules.values()
    original = delegate.original_module
    delegate._original_exported_program = None  # which lowering again would need
    try:
        assert recompiled(delegate).reproduced
    finally:
        delegate._original_exported_program = original


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = _insertions()
    example = models.linear()
    session = export(example.model, ArmRecipeType.TOSA_FP, example.inputs)
    with pytest.raises(ZeroDivisionError), keeping():
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []
    assert b"arm_recipes_" not in bytes(session.get_pte_buffer())
    assert _insertions() == before


def _insertions() -> dict[type, list[object]]:
    registered: dict[type, Any] = arm_pass_manager._registered_pass_insertions
    return {key: list(passes.after_passes) for key, passes in registered.items() if passes.after_passes}
