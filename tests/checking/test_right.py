"""Programs that are right, with what makes the place of a layer hard to tell: none of their layers is blamed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession, StageType
from executorch.export import export as upstream_export
from torch import Tensor, nn
from torch.nn import functional as F

from arm_recipes import ArmRecipeType, check, export, verify
from arm_recipes.checking.run import recorded
from arm_recipes.lowering.snapshot import snapshots
from tests import tiny_models
from tests.checking import networks
from tests.exports import exported
from tests.models import Example


class _Of(nn.Module):
    """Two convolutions on 8 channels of 8x8, whose outputs a function takes: no layout shows in their shapes."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x, self.left(x), self.right(x))


def _example(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Example:
    torch.manual_seed(0)
    return Example(_Of(function).eval(), (torch.randn(1, 8, 8, 8),))


def stacked() -> Example:
    return _example(lambda x, a, b: torch.stack([a, b.transpose(2, 3)], 1).amax(1))


def compared() -> Example:
    return _example(lambda x, a, b: torch.minimum(a, torch.maximum(b, x)))


def pooled() -> Example:
    return _example(lambda x, a, b: F.avg_pool2d(x, 3, 1, 1) + F.max_pool2d(a, 3, 1, 1) * torch.sigmoid(b))


def gated() -> Example:
    return _example(lambda x, a, b: a * F.hardsigmoid(b))


def normalised() -> Example:
    return _example(lambda x, a, b: torch.softmax(F.layer_norm(a, (8,)), -1) @ b)


def scaled_up() -> Example:
    return _example(lambda x, a, b: F.interpolate(torch.where(x > 0, a, b)[:, ::2], scale_factor=2, mode="bilinear"))


class _Attended(nn.Module):
    """To itself: torch's own attention makes query, key and value in one, whose parts are only moved for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return y


def attended() -> Example:
    torch.manual_seed(0)
    return Example(_Attended().eval(), (torch.randn(1, 4, 8),))


@pytest.mark.parametrize(
    ("model", "recipe", "layout"),
    [
        *((model, "TOSA_INT8", None) for model in (attended, stacked, compared, pooled, normalised, scaled_up)),
        *((model, "TOSA_INT8", "channels_last") for model in (pooled, scaled_up)),
        *((model, "TOSA_A16W8", None) for model in (compared, pooled, scaled_up)),
        *((model, "TOSA_FP", None) for model in (stacked, normalised)),
        (gated, "CORTEX_M55_INT8", None),
        (tiny_models.mobilenet_v3_blocks, "CORTEX_M55_INT8", None),
    ],
)
def test_no_right_layer_is_blamed(model: Callable[[], Example], recipe: str, layout: str | None) -> None:
    options = {} if layout is None else {"io_layout": layout}
    outcome = recorded(exported(recipe, model, samples=2, **options))["forward"]
    assert outcome.checked and outcome.wrong == ()
    assert outcome.compared + outcome.grouped >= 0.9 * outcome.layers


class _Sums(nn.Module):
    """Of sums, each of which a convolution reads, too."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = x + conv(x)
        return x


class _SumAndNorm(nn.Module):
    """A sum that a subtraction reads, which a batch norm becomes, and something else."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        for buffer in (self.norm.running_mean, self.norm.running_var):
            buffer.uniform_(0.2, 0.8)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        y = x + x
        both = torch.cat([y, x], 1)
        return torch.cat([self.norm(y), both * both], 1)


@pytest.mark.parametrize("recipe", ["TOSA_INT8", "TOSA_A16W8"])
def test_a_sum_beyond_what_was_calibrated_is_no_fault(recipe: str) -> None:
    torch.manual_seed(0)
    samples = [(torch.randn(1, 4),) for _ in range(3)]
    session = export(_SumAndNorm().eval(), ArmRecipeType[recipe], samples)
    assert verify(session, [(1.3 * x,) for (x,) in samples]).failed_gates == ()


@pytest.mark.parametrize("recipe", ["TOSA_INT8", "TOSA_A16W8"])
def test_values_beyond_what_was_calibrated_are_no_fault(recipe: str) -> None:
    torch.manual_seed(0)
    model, samples = _Sums().eval(), [(torch.randn(1, 4, 8, 8),) for _ in range(2)]
    session = export(model, ArmRecipeType[recipe], samples)
    assert verify(session, [(3 * x,) for (x,) in samples]).failed_gates == ()


class _WithItsInput(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.relu(x) * 2, y


@pytest.mark.parametrize("recipe", ["TOSA_FP", "TOSA_INT8"])
def test_an_input_that_is_returned_is_no_fault(recipe: str) -> None:
    session = export(_WithItsInput(), ArmRecipeType[recipe], (torch.randn(1, 4), torch.randn(1, 3)), check=False)
    outcome = check(session).methods[0]
    assert outcome.checked and outcome.wrong == ()


class _NormAfterNorm(nn.Module):
    """The batch norm follows no convolution, so that it is lowered with 1 / sqrt(variance) by a table of constants."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv1d(3, 8, 3), nn.LayerNorm(6), nn.BatchNorm1d(8)
        for name, range_ in (("running_mean", (-0.5, 0.5)), ("running_var", (0.5, 2))):
            getattr(self.last, name).uniform_(*range_)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.norm(self.conv(x)))
        return y


def test_a_constant_that_a_table_makes_is_no_fault() -> None:
    torch.manual_seed(0)
    model, samples = _NormAfterNorm().eval(), [(5 * torch.randn(1, 3, 8),) for _ in range(3)]
    session = export(model, ArmRecipeType.TOSA_A16W8, samples, check=False)
    outcome = check(session).methods[0]
    assert outcome.wrong == () and outcome.compared + outcome.grouped == outcome.layers


class _AfterAConstant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + torch.tensor([0.5])
        return y * y


def _after_a_constant() -> ExportSession:
    model, inputs = _AfterAConstant().eval(), [(torch.randn(1, 4),)]
    return upstream_export(model, inputs, ExportRecipe.get_recipe(ArmRecipeType.TOSA_FP))


def test_a_constant_of_the_forward_is_still_there() -> None:
    outcome = check(_after_a_constant()).methods[0]
    assert outcome.checked and outcome.wrong == () and outcome.compared == 2


def test_upstream_takes_constants_out() -> None:
    """Where this fails, what is kept of them can go."""
    program = _after_a_constant().get_stage_artifacts()[StageType.TORCH_EXPORT].data["forward"]
    (name,) = program.graph_signature.lifted_tensor_constants
    assert name not in program.constants


class _Shuffled(nn.Module):
    """Its transpose is put before the first sum, whose value is nowhere in its own order then."""

    def forward(self, x: Tensor) -> Tensor:
        y = (x + x).reshape(1, 2, 2, 8, 8).transpose(1, 2).reshape(1, 4, 8, 8)
        return y + y


class _Turned(nn.Module):
    """Key, query and value of one unbind, in another order in the program, and each explained by another."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (x + x).view(1, 8, 3, 2, 16).permute(2, 0, 3, 1, 4).unbind(0)
        query, key = (part * 0.5 + torch.cat((-part[..., 8:], part[..., :8]), -1) * 0.3 for part in (query, key))
        return F.scaled_dot_product_attention(query, key, value)


class _Approximated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.clamp(-1, 1)
        return torch.cat([torch.asin(x), torch.acos(x), torch.atan(x)], 1)


@pytest.mark.parametrize(
    ("model", "shape"), [(_Shuffled, (1, 4, 8, 8)), (_Turned, (1, 8, 96)), (_Approximated, (1, 4, 8, 8))]
)
def test_what_upstream_computes_otherwise_in_float_is_no_fault(model: type[nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    session = export(model().eval(), ArmRecipeType.TOSA_FP, (torch.randn(shape),), check=False)
    outcome = check(session).methods[0]
    assert outcome.checked and outcome.wrong == ()


class _LittleIsLeft(nn.Module):
    """One step of the table of tanh is a tenth of what most of the differences are."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) - x


def test_a_table_that_is_rounded_is_no_fault() -> None:
    generator = torch.Generator().manual_seed(253)
    samples = [(torch.randn(1, 4, 16, generator=generator) * 0.1,) for _ in range(3)]
    session = export(_LittleIsLeft().eval(), ArmRecipeType.TOSA_A16W8, samples, check=False)
    outcome = check(session).methods[0]
    assert outcome.wrong == () and outcome.one_step == 1


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        (networks.efficient_net, "ETHOSU_U85_INT8"),
        (networks.yolo, "ETHOSU_U85_INT8"),
        (networks.states, "ETHOSU_U55_INT8"),
    ],
)
def test_whole_networks_are_right_layer_by_layer(model: Callable[[], Example], recipe: str) -> None:
    """An export that isn't right, at a layer or at a border, would have been refused."""
    session = exported(recipe, model, samples=2)
    outcome = recorded(session)["forward"]
    assert outcome.checked and outcome.wrong == ()
    assert outcome.compared + outcome.grouped >= 0.8 * outcome.layers
    borders = snapshots(session)["forward"].borders
    assert borders is not None and borders.delegates == 1
    assert borders.outputs == len(session.get_executorch_program().execution_plan[0].outputs)
