"""What the session is told of models: the names of their arguments, and eval mode for the time being."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from arm_recipes.samples.models import argument_names, specs_for
from arm_recipes.session.arguments import carried, dynamic_shapes_of, in_eval_mode


class _Open(nn.Module):
    def forward(self, x: Tensor, *rest: Tensor, scale: float = 1.0) -> Tensor:
        return x * scale + sum(rest)


def _program() -> ExportedProgram:
    return torch.export.export(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), (torch.ones(1, 3),))


def test_argument_names() -> None:
    assert argument_names(_Open()) == ["x"]
    assert argument_names(nn.Linear(3, 2)) == argument_names(_program()) == ["input"]
    names = [[spec.name for spec in specs_for(_Open(), (torch.ones(1),) * count)] for count in (1, 2)]
    assert names == [["x"], [None, None]]


def test_dynamic_shapes_by_the_name_of_any_parameter() -> None:
    shapes: Any = {"x": None, "rest": None}
    assert dynamic_shapes_of(shapes, _Open(), {"forward": _Open()}) == {"forward": shapes}


def test_example_inputs_that_a_model_carries() -> None:
    model = nn.Linear(3, 2)
    assert carried(model) is None
    model.example_input_array = torch.ones(1, 3)
    assert carried(model) is model.example_input_array
    inputs = carried(_program())
    assert isinstance(inputs, tuple) and torch.equal(inputs[0], torch.ones(1, 3))


@pytest.mark.parametrize("captured", [False, True])
def test_eval_mode_for_the_time_being(captured: bool) -> None:
    """A module around a captured program has no eval() that works, and flags all the same."""
    model = nn.Sequential(_program().module() if captured else nn.Linear(3, 2), nn.Dropout(), nn.Dropout().eval())
    flags = [module.training for module in model.modules()]
    with pytest.raises(KeyError), in_eval_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == flags
