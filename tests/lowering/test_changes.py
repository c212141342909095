"""What a recipe changes is told by the session, the report and its text, wherever in the pipeline it was done."""

from __future__ import annotations

import dataclasses

import pytest
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from executorch.export import ExportRecipe, ExportSession, export
from torch.export import ExportedProgram
from torch.fx import GraphModule

from arm_recipes import ArmRecipeType, ExportReport, report
from arm_recipes.lowering.changes import changes, note
from arm_recipes.lowering.records import Change
from tests.models import linear

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")

CAPTURED, EXPORTED, INSIDE, LOWERED = (Change(name, name, "what", "why") for name in ("one", "two", "three", "four"))


def _on_module(module: GraphModule) -> GraphModule:
    note(module, CAPTURED)
    return module


def _on_program(method: str, program: ExportedProgram) -> ExportedProgram:
    note(program, EXPORTED)
    note(next(node for node in program.graph.nodes if "linear" in node.name), INSIDE)  # goes into the delegate
    return program


def _on_lowered(manager: EdgeProgramManager) -> list[PassType]:
    program = manager.exported_program("forward")
    note(next(node for node in program.graph.nodes if node.op == "call_function"), LOWERED)
    return []


@pytest.fixture(scope="module")
def changed() -> ExportSession:
    """Of executorch's own `export`, with a recipe that says at each of its places that it changed something."""
    recipe = ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8)
    assert recipe.quantization_recipe and recipe.lowering_recipe
    passes = recipe.quantization_recipe.pre_prepare_passes or []
    managers = recipe.lowering_recipe.edge_manager_transform_passes or []
    recipe = dataclasses.replace(
        recipe,
        quantization_recipe=dataclasses.replace(recipe.quantization_recipe, pre_prepare_passes=[_on_module, *passes]),
        aten_transform_passes=[*(recipe.aten_transform_passes or []), _on_program],
        lowering_recipe=dataclasses.replace(
            recipe.lowering_recipe, edge_manager_transform_passes=[*managers[:-1], _on_lowered, managers[-1]]
        ),
    )
    model, inputs = linear()
    return export(model, [inputs], recipe)


def test_a_session_tells_them_in_order(changed: ExportSession) -> None:
    told = changes(changed)
    assert set(told["forward"]) == {CAPTURED, EXPORTED, INSIDE, LOWERED}
    assert told["forward"][:2] == (CAPTURED, EXPORTED)


def test_a_report_tells_them(changed: ExportSession) -> None:
    made = report(changed)
    assert made.methods[0].changes == changes(changed)["forward"]
    assert "three: what, as why [three]" in made.text(200)
    assert "four: what, as why [four]" in made.to_html()
    assert ExportReport.from_json(made.to_json()) == made
