"""arm_recipes.retarget: the bytes of a fresh export, from a session that was made for another configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession
from executorch.export import export as standard_export
from torch import Tensor, nn

from arm_recipes import ArmRecipeError, ArmRecipeType, LoweringError, OptionError, export, retarget, vela_estimates
from arm_recipes.sweeping.retarget import LoweredProgram, configuration_of
from tests import models
from tests.bordering_models import map_and_head
from tests.exports import exported
from tests.models import linear

U55 = ArmRecipeType.ETHOSU_U55_INT8
U65 = ArmRecipeType.ETHOSU_U65_INT8
U85 = ArmRecipeType.ETHOSU_U85_INT8


pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class TwoSubgraphs(nn.Module):
    """Two convolutions, with an operator between them that no Arm delegate takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.atan2(self.first(x), torch.ones(1)))
        return y


def _two_subgraphs() -> models.Example:
    return models.seeded(TwoSubgraphs, (1, 3, 8, 8))


@pytest.mark.parametrize(
    ("make", "recipe", "options"),
    [
        (models.conv_net, U55, {"macs": 32, "memory_mode": "Sram_Only", "system_config": "Ethos_U55_Deep_Embedded"}),
        (models.two_inputs, U85, {"macs": 1024, "memory_mode": "Dedicated_Sram_256KB", "optimise": "Size"}),
        (models.partly_delegated, U65, {"macs": 512, "arena_cache_size": 4096, "extra_flags": ["--verbose-weights"]}),
        (_two_subgraphs, U55, {"macs": 256, "optimise": "Size"}),
        (map_and_head, U55, {"macs": 256}),  # whose delegate was mended
    ],
)
def test_the_bytes_are_a_fresh_exports(make: Any, recipe: ArmRecipeType, options: dict[str, Any]) -> None:
    model, inputs = make()
    session = standard_export(model, [inputs], ExportRecipe.get_recipe(recipe))
    before = session.get_pte_buffer()
    program = retarget(session, **options)
    fresh = export(model, recipe, inputs, **options)
    assert program.get_pte_buffer() == fresh.get_pte_buffer() != before
    assert program.vela_estimates == vela_estimates(fresh)
    assert len(program.vela_estimates) == (2 if make is _two_subgraphs else 1)
    # What is not given is the recipe's default; and the session's own program can still be made.
    assert retarget(session).get_pte_buffer() == before
    assert _emitted_anew(session) == before


def _emitted_anew(session: ExportSession) -> bytes:
    """The session's .pte once more, so not what it keeps of it."""
    from executorch.exir._serialize._serialize import serialize_for_executorch

    manager = session.get_executorch_program_manager()
    config = ExportRecipe.get_recipe(U55).executorch_backend_config
    return bytes(
        serialize_for_executorch(manager._emitter_output, config, manager._data_serializer, manager._named_data)[0]
    )


def _methods() -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Two methods of which one has two subgraphs, and a third that is the same as the first."""
    first, second = linear(), _two_subgraphs()
    methods = {"zeta": first.model, "alpha": second.model, "beta": first.model}
    return methods, {"zeta": first.inputs, "alpha": second.inputs, "beta": first.inputs}


@pytest.mark.no_cover
def test_several_methods_and_the_sessions_own_lowering_options() -> None:
    methods, inputs = _methods()
    lowering: dict[str, Any] = {"per_channel": False, "constant_methods": {"version": 3}}
    session = export(methods, U55, inputs, macs=32, **lowering)
    fresh = export(methods, U55, inputs, macs=256, **lowering)
    assert retarget(session, macs=256).get_pte_buffer() == fresh.get_pte_buffer()


@pytest.mark.no_cover
def test_integer_inputs_and_outputs() -> None:
    model, inputs = linear()
    session = export(model, U85, inputs, io_dtype="int8")
    fresh = export(model, U85, inputs, io_dtype="int8", macs=2048)
    assert retarget(session, macs=2048).get_pte_buffer() == fresh.get_pte_buffer()


@pytest.mark.no_cover
@pytest.mark.parametrize("make", [_two_subgraphs, models.conv_net])
def test_u55_and_u65_lower_alike(make: Any) -> None:
    sessions = {recipe: exported(recipe, make) for recipe in (U55, U65)}
    assert retarget(sessions[U55], U65).get_pte_buffer() == sessions[U65].get_pte_buffer()
    assert retarget(sessions[U65], U55).get_pte_buffer() == sessions[U55].get_pte_buffer()


@pytest.fixture(scope="module")
def session() -> ExportSession:
    return exported(U55, linear)


def test_it_is_written_as_a_session_writes(session: ExportSession, tmp_path: Path) -> None:
    program = retarget(session, macs=32)
    program.save_to_pte(str(tmp_path / "net"))
    assert [path.name for path in tmp_path.iterdir()] == ["net.pte"]
    assert (tmp_path / "net.pte").read_bytes() == program.get_pte_buffer()
    assert (program.recipe, program.options["macs"]) == ("ETHOSU_U55_INT8", 32)
    assert program.options["memory_mode"] == "Shared_Sram"


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        (
            None,
            {"per_channel": False},
            "per_channel=False changes the lowering, and so can't be given here. Allowed: macs",
        ),
        (None, {"io_dtype": "int8"}, "io_dtype='int8' changes the lowering"),
        (None, {"mac": 32}, "mac=32 is no option of this recipe. Did you mean 'macs'?"),
        (None, {"macs": 512}, "macs=512 is not legal for ethos-u55. Allowed: 32, 64, 128, 256."),
        (None, {"memory_mode": "Dedicated_Sram"}, "is not legal for ethos-u55"),
        (U85, {}, "recipe=ETHOSU_U85_INT8: the session's program (ETHOSU_U55_INT8) was lowered differently"),
        (ArmRecipeType.ETHOSU_U55_A16W8, {}, "the session's program is quantized as ETHOSU_U55_INT8. Export anew."),
        (ArmRecipeType.TOSA_INT8, {}, "recipe=TOSA_INT8 is not for Ethos-U"),
        ("u65", {}, "recipe='u65' is no ArmRecipeType"),
    ],
)
def test_refused(session: ExportSession, recipe: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArmRecipeError, match=re.escape(message)):
        retarget(session, recipe, **options)


def test_a_payload_with_another_border_is_refused() -> None:
    lowered, other = (LoweredProgram(exported(U55, model)) for model in (models.conv_net, linear))
    lowered.graphs = other.graphs
    with pytest.raises(LoweringError, match="Vela's tables of a delegate's inputs and outputs are not those"):
        lowered.compiled(lowered.recipe, configuration_of(lowered.recipe, {}))


def test_option_errors_are_those_of_the_recipe(session: ExportSession) -> None:
    with pytest.raises(OptionError):
        retarget(session, macs="512")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (ArmRecipeType.TOSA_INT8, "has a delegate of TOSABackend"),
        (ArmRecipeType.CORTEX_M55_INT8, "no Ethos-U delegate"),
    ],
)
def test_programs_of_other_targets_are_refused(recipe: ArmRecipeType, message: str) -> None:
    with pytest.raises(ArmRecipeError, match=message):
        retarget(exported(recipe, linear))
