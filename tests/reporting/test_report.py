"""`arm_recipes.report`: against what made the program, its gates, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession
from executorch.export import export as standard_export
from torch import Tensor, nn

from arm_recipes import (
    ArmRecipeError,
    ArmRecipeType,
    LoweringError,
    ModelError,
    calibration_summary,
    export,
    report,
    retarget,
    vela_estimates,
)
from arm_recipes.upstream.session import lowered_graphs
from tests import models
from tests.exports import exported, reported

U55 = ArmRecipeType.ETHOSU_U55_INT8
U85 = ArmRecipeType.ETHOSU_U85_INT8
M55 = ArmRecipeType.CORTEX_M55_INT8


pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class Two(nn.Module):
    """Two delegates with an operator between them, and one after, that no delegate takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.second(torch.atan2(x, x))
        return torch.atan2(y, y)


@functools.cache
def _two(recipe: ArmRecipeType = U55) -> ExportSession:
    model, inputs = models.seeded(Two, (1, 3, 8, 8))
    return export(model, recipe, inputs)


class TestWhatIsInIt:
    def test_what_made_it(self) -> None:
        model, inputs = models.conv_net()
        session = export(model, U85, inputs, macs=512, optimise="Size", extra_flags=["--verbose-weights"])
        made = report(session, layers=False)
        assert (made.recipe, made.target) == ("ETHOSU_U85_INT8", "ethos-u85-512")
        assert made.options["optimise"] == "Size"
        assert made.options["memory_mode"] == "Sram_Only"  # a default, spelled out
        assert made.options["extra_flags"] == ["--verbose-weights"]
        assert made.versions["torch"].startswith("2.13")
        assert made.versions.keys() >= {"executorch", "torchao", "ethos-u-vela", "tosa-tools", "arm_recipes"}
        assert made.pte_sha256 == hashlib.sha256(session.get_pte_buffer()).hexdigest()
        assert made.methods[0].calibration == calibration_summary(session)["forward"]

    def test_a_digest_tells_weights_and_graphs_apart_and_nothing_else(self) -> None:
        model, inputs = models.conv_net()
        digests = [report(exported(U55, macs=macs), layers=False).methods[0].graph for macs in (32, 128)]
        with torch.no_grad():
            model.head.weight[0, 0] += 1  # type: ignore[index, union-attr, operator]
        digests.append(report(export(model, U55, inputs), layers=False).methods[0].graph)
        assert digests[0] == digests[1] != digests[2]

    def test_the_digest_of_a_given_program(self) -> None:
        model, inputs = models.conv_net()
        program = torch.export.export(model, inputs)
        recipe = ExportRecipe.get_recipe(ArmRecipeType.TOSA_FP)
        digests = [report(standard_export(program, [inputs], recipe)).methods[0].graph for _ in range(2)]
        assert digests[0] == digests[1] != ""

    def test_the_parts_are_the_whole(self) -> None:
        session = _two()
        made = report(session, layers=False)
        parts = dataclasses.asdict(made.parts)
        assert sum(parts.values()) == made.pte_bytes == len(session.get_pte_buffer())
        payloads = sum(each.payload_bytes for each in made.methods[0].delegates)
        weights = sum(each.weight_bytes or 0 for each in made.methods[0].delegates)
        commands = sum(each.command_bytes or 0 for each in made.methods[0].delegates)
        assert parts["command_bytes"] == commands > 0
        assert parts["payload_bytes"] == payloads - weights - commands
        assert parts["weight_bytes"] == weights > 0

    def test_delegates_and_what_crosses_their_border(self) -> None:
        (method,) = report(_two(), layers=False).methods
        first, second = method.delegates
        assert [(each.shape, each.dtype, each.bytes) for each in first.inputs] == [((1, 3, 8, 8), "int8", 192)]
        assert [each.bytes for each in first.outputs] == [each.bytes for each in second.inputs] == [256]
        assert [each.bytes for each in second.outputs] == [144]
        assert [(each.scratch_bytes or 0) > 0 for each in (first, second)] == [True, True]
        assert method.between == ("aten.atan2",)
        assert sum(each.count for each in method.not_delegated if each.operator == "aten.atan2") == 2

    def test_memory_of_each_kernel_on_cortex_m(self) -> None:
        (method,) = reported(M55).methods
        conv = next(call for call in method.calls if "conv2d" in call.operator)
        assert conv.module == "conv"
        assert conv.constant_bytes == 8 * 3 * 3 * 3 + 3 * 8 * 4  # weights; bias, multipliers and shifts
        assert (conv.input_bytes, conv.output_bytes) == (192, 512)
        assert conv.scratch_bytes > 0
        assert next(call for call in method.calls if "linear" in call.operator).module == "head"
        quantize = method.calls[0]
        assert (quantize.input_bytes, quantize.output_bytes) == (4 * 192, 192)
        assert [(step.kind, step.bytes) for step in method.border if step.kind == "quantize"] == [("quantize", 5 * 192)]
        assert method.pools is not None
        assert sum(method.planned_bytes) > conv.input_bytes + conv.output_bytes

    def test_layers_bear_the_models_names(self) -> None:
        made = report(_two())
        assert {layer.module for layer in made.layers if layer.operator == "Conv2D"} == {
            "first",
            "second.0",
            "second.2",
        }
        assert {layer.subgraph for layer in made.layers} == {0, 1}
        assert made.vela_estimates == vela_estimates(_two())
        assert sum(layer.macs for layer in made.layers) == sum(each.macs for each in made.vela_estimates)
        assert all(layer.bound for layer in made.layers if layer.cycles)

    def test_a_session_of_executorchs_own_export(self) -> None:
        model, inputs = models.conv_net()
        own = reported(U55)
        made = report(standard_export(model, [inputs], ExportRecipe.get_recipe(U55)))
        assert made.vela_estimates == own.vela_estimates != ()
        assert made.layers == own.layers != ()
        assert dataclasses.replace(made, methods=()) == dataclasses.replace(own, methods=())
        (theirs,), (ours,) = made.methods, own.methods
        assert {each.reason for each in theirs.not_delegated} == {None}
        assert theirs.check is None and ours.check is not None and ours.check.checked
        left_out: dict[str, Any] = {"not_delegated": (), "check": None}
        assert dataclasses.replace(theirs, **left_out) == dataclasses.replace(ours, **left_out)

    def test_advice(self) -> None:
        made = report(_two())
        told = {advice.kind: advice for advice in made.advice}
        assert told.keys() == {"transposes", "utilisation", "peak_sram", "between_delegates", "instead"}
        transposes = [layer for layer in made.layers if layer.operator == "Transpose"]
        assert told["transposes"].cycles == sum(layer.cycles for layer in transposes)
        assert "io_layout='channels_last'" in told["transposes"].text
        low = {layer.where for layer in made.layers if layer.macs and layer.utilisation < 0.1}
        assert set(told["utilisation"].where) == low != set()
        assert "(Shared_Sram)" in told["peak_sram"].text
        assert told["between_delegates"].where == ("aten.atan2",)
        at_stake = [advice.cycles or 0 for advice in made.advice]
        assert at_stake == sorted(at_stake, reverse=True)

    def test_transposes_at_the_border(self) -> None:
        model, (x,) = models.conv_net()
        steps = [step for step in reported(U55).methods[0].border if step.kind == "transpose"]
        assert [step.runs_on for step in steps] == ["NPU"]
        assert steps[0].cycles is not None
        laid_out = x.to(memory_format=torch.channels_last)
        fewer = report(export(model, U55, (laid_out,))).methods[0].border
        assert [step for step in fewer if step.kind == "transpose"] == []


_GATES = [
    (U55, {"max_flash": 100}, {"max_flash": True}),
    (U55, {"max_flash": 1, "max_sram": 100}, {"max_sram": True, "max_flash": False}),
    (U55, {"max_sram": 2, "min_delegation": 60}, {"max_sram": False, "min_delegation": True}),
    (U55, {"min_delegation": 80}, {"min_delegation": False}),
    (U55, {"require_full_delegation": True}, {"require_full_delegation": False}),
    (M55, {"max_sram": 100, "require_full_delegation": True}, {"max_sram": True, "require_full_delegation": False}),
    (M55, {"max_sram": 1}, {"max_sram": False}),
    (U55, {"min_sqnr": 5}, {"min_sqnr": True}),
    (M55, {"min_sqnr": 90}, {"min_sqnr": False}),
]


class TestGates:
    @pytest.mark.parametrize(("recipe", "asked", "expected"), _GATES)
    def test_gates(self, recipe: ArmRecipeType, asked: dict[str, Any], expected: dict[str, bool]) -> None:
        made = report(_two(recipe), layers=False, **asked)
        assert {gate.name: gate.passed for gate in made.gates} == expected
        assert [gate.name for gate in made.failed_gates] == [name for name, passed in expected.items() if not passed]
        assert made.to_dict()["failed_gates"] == [gate.name for gate in made.failed_gates]
        for gate in made.gates:
            assert f"{'passed' if gate.passed else 'FAILED'}: " in str(made)

    def test_the_figures(self) -> None:
        session = _two()
        made = report(session, layers=False, max_sram=1, max_flash=1, min_delegation=1)
        figures = {gate.name: gate.figure for gate in made.gates}
        assert figures["max_flash"] == len(session.get_pte_buffer()) / 1024
        # 3 convolutions and an activation are delegated, 2 operators are not.
        assert figures["min_delegation"] == pytest.approx(100 * 4 / 6)
        (method,) = made.methods
        assert method.pools is not None
        sram = max(each.memory_kib["SRAM"] for each in made.vela_estimates)
        needed = sram * 1024 + sum(method.planned_bytes) + method.pools.method_bytes
        assert figures["max_sram"] == pytest.approx(needed / 1024, abs=1 / 1024)

    def test_all_delegated(self) -> None:
        made = report(exported(U55), layers=False, require_full_delegation=True)
        assert made.failed_gates == ()  # quantize and dequantize don't count


class TestRefusals:
    def test_no_firmware_no_memory(self) -> None:
        session = exported("TOSA_INT8")
        with pytest.raises(ArmRecipeError, match="max_sram=5: TOSA_INT8 is for no firmware whose memory could be told"):
            report(session, max_sram=5)

    @pytest.mark.parametrize("limit", ["5", float("nan"), True])
    def test_a_limit_that_is_none(self, limit: Any) -> None:
        with pytest.raises(ArmRecipeError, match=r"max_flash=.* is no limit. Give a number, e.g. max_flash=50, or"):
            report(_two(), max_flash=limit)

    def test_no_session(self) -> None:
        with pytest.raises(ArmRecipeError, match="report of int: give what arm_recipes.export or"):
            report(5)

    def test_nothing_is_known_of_the_peak(self) -> None:
        model, inputs = models.conv_net()
        session = standard_export(model, [inputs], ExportRecipe.get_recipe(U55))
        with pytest.raises(ArmRecipeError, match="nothing is known of Vela's peak of SRAM.*Give layers=True"):
            report(session, layers=False, max_sram=5)
        assert report(session, max_sram=5).failed_gates == ()

    def test_another_recipe(self) -> None:
        model, inputs = models.conv_net()
        session = standard_export(model, [inputs], ExportRecipe(name="plain"))
        with pytest.raises(ModelError, match="keeps no lowered program of an Arm recipe"):
            report(session)

    def test_a_delegate_that_was_changed_since(self) -> None:
        model, inputs = models.conv_net()
        session = export(model, U55, inputs)
        (graph,) = lowered_graphs(session).values()
        module = next(each for each in graph.modules() if hasattr(each, "processed_bytes"))
        payload = bytearray(module.processed_bytes)  # type: ignore[arg-type]
        payload[len(payload) // 2] ^= 1
        module._processed_bytes = bytes(payload)  # type: ignore[assignment]
        with pytest.raises(LoweringError, match="compiled once more for its layers, came out different"):
            report(session)


def test_a_report_leaves_the_session_as_it_was() -> None:
    session = _two()
    before = session.get_pte_buffer()
    assert report(session) == report(session)
    assert session.get_pte_buffer() == before == retarget(session).get_pte_buffer()


def test_text_fits_the_width() -> None:
    made = report(_two(), max_flash=1)
    for width in (80, 160):
        text = made.text(width)
        assert max(map(len, text.splitlines())) <= width
    assert str(made) == made.text(100)
    assert "not measured" in text
    assert "second.2" in text
