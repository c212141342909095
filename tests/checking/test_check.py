"""`check` on programs that are right, on one that upstream's recipe gets wrong, and on what can't be checked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from arm_recipes import CheckResult, ModelError, check
from arm_recipes.checking.result import MethodCheck, WrongLayer, failure
from tests import models, tiny_models
from tests.exports import exported

_RECIPES = ("ETHOSU_U55_INT8", "TOSA_A16W8", "TOSA_FP", "CORTEX_M55_INT8")


@pytest.mark.parametrize("recipe", _RECIPES)
@pytest.mark.parametrize("model", [models.conv_net, tiny_models.residual], ids=["conv_net", "residual"])
def test_each_layer_of_a_right_program_is_found_and_right(recipe: str, model: object) -> None:
    result = check(exported(recipe, model, samples=2))  # type: ignore[arg-type]
    (method,) = result.methods
    assert result.right and result.checked
    assert method.compared + method.grouped == method.layers > 3
    assert method.samples == 2
    assert method.more == 0
    assert str(method).startswith("checked: right, ")


def test_an_outcome_in_words() -> None:
    assert str(MethodCheck("forward", False, "it keeps state")) == "checked: no, because it keeps state"
    wrong = WrongLayer("aten.conv2d of c1", "aten.conv2d", "c1", 68.0, 3, 12, 0, ("aten.relu",), "A cause.")
    outcome = MethodCheck("forward", True, "", "a simulator", 2, 5, 4, 1, 3, 0, 0, 0.0, (wrong,))
    assert not outcome.right
    assert str(outcome) == (
        "checked: WRONG in aten.conv2d of c1, or what was fused into it (aten.relu): 68 steps in 3 of 12 values (4 of "
        "5 layers compared on 2 samples, and 1 with the layers that read them)."
    )
    message = failure("TOSA_INT8", outcome)
    assert "First wrong is aten.conv2d of c1, or what was fused into it (aten.relu): on sample 0 3 of its 12" in message
    assert "A cause." in message and "check=False" in message
    result = CheckResult(recipe="TOSA_INT8", target="tosa", methods=(outcome,))
    assert not result.right and "Layers that are wrong" in result.text()


class _State(nn.Module):
    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("last", torch.zeros(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x) + self.last
        self.last.copy_(y)
        return y


def stateful() -> models.Example:
    return models.seeded(_State, (1, 4))


def test_what_keeps_state_is_not_checked_and_says_so() -> None:
    result = check(exported("TOSA_FP", stateful))
    assert result.right and not result.checked
    assert "checked: no, because the program keeps state between calls" in result.text(200)


def test_a_time_limit_ends_it_between_samples() -> None:
    (method,) = check(exported("TOSA_FP", models.conv_net, samples=2), time_limit=1e-9).methods
    assert not method.checked or (method.samples == 1 and "The time limit of 1e-09 s was up" in method.note)


def test_data_of_the_callers() -> None:
    session = exported("TOSA_FP", models.conv_net, samples=2)
    (method,) = check(session, [torch.zeros(1, 3, 8, 8)] * 3, samples=3).methods
    assert method.samples == 3 and method.right
    with pytest.raises(ValueError, match="the model takes"):
        check(session, [torch.zeros(1, 3, 4, 4)])


def test_a_session_without_a_program_is_an_error() -> None:
    from executorch.export import ExportRecipe, ExportSession

    with pytest.raises(ModelError):
        check(ExportSession(models.linear().model, [models.linear().inputs], ExportRecipe()))
