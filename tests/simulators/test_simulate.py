"""`simulate`: the lowered program as a function."""

from __future__ import annotations

import pytest
import torch

from arm_recipes import ArmRecipeType, ModelError, SimulationError, export, quantized_io, simulate
from tests import models
from tests.exports import exported

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


@pytest.mark.parametrize("name", ["TOSA_INT8", "CORTEX_M55_INT8"])
def test_it_gives_what_the_program_gives(name: str) -> None:
    program = simulate(exported(name, models.two_inputs))
    example = models.two_inputs()
    output = program(*example.inputs)
    assert torch.allclose(output, example.model(*example.inputs), atol=0.1)
    assert torch.equal(program(*example.inputs), output)
    assert repr(program) == f"<method 'forward' on {program.name}>"
    assert program.proves


def test_integers_stay_integers() -> None:
    session = exported("TOSA_INT8", models.conv_net, io_dtype="int8")
    (given,) = models.conv_net().inputs
    scales = quantized_io(session)["forward"]
    output = simulate(session)(scales.inputs[0].quantize(given))
    assert output.dtype == torch.int8
    with pytest.raises(SimulationError, match=r"Input 0 is float32 \[1, 3, 8, 8\], and the program takes x: int8 "):
        simulate(session)(given)


def test_one_of_several_methods() -> None:
    first, second = models.linear(), models.two_inputs()
    session = export(
        {"one": first.model, "two": second.model},
        ArmRecipeType.TOSA_FP,
        {"one": [first.inputs], "two": [second.inputs]},
    )
    assert simulate(session, method="two")(*second.inputs).shape == (1, 4, 8, 8)
    with pytest.raises(ModelError, match=r"the program has the methods 'one', 'two'\. Give one as method="):
        simulate(session)


def test_what_is_not_taken_is_said() -> None:
    program = simulate(exported("TOSA_INT8", models.two_inputs))
    x, _ = models.two_inputs().inputs
    with pytest.raises(SimulationError, match=r"takes 2 inputs and got 1: x: float32 \[1, 3, 8, 8\], y: "):
        program(x)
    with pytest.raises(SimulationError, match=r"Input 1 is float32 \[1, 3, 8, 8\], and the program takes"):
        program(x, x)
    with pytest.raises(SimulationError, match=r"Input 1 is of type int\. The program takes x: "):
        program(x, 3)
