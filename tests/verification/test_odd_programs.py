"""Programs of an unusual form: exported, checked and verified as others are, or refused in words that help."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from torch import Tensor, nn
from torch.nn import functional as F

from arm_recipes import ArmRecipeType, CalibrationError, LoweringError, ModelError, check, export, report, verify
from tests.exports import random_samples
from tests.models import Example

pytestmark = [pytest.mark.usefixtures("one_sample_is_enough"), pytest.mark.slow]


class _Of(nn.Module):
    """What a function makes of a convolution and of the inputs."""

    def __init__(self, function: Callable[..., Any], conv: nn.Module | None) -> None:
        super().__init__()
        self.conv = conv
        self._function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self._function(self.conv, *inputs) if self.conv is not None else self._function(*inputs)


def _example(function: Callable[..., Any], *inputs: Tensor, conv: bool = True, **options: Any) -> Example:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, options.pop("out", 4), 3, **{"padding": 1, **options}) if conv else None
    return Example(_Of(function, layer).eval(), inputs or (torch.randn(1, 3, 8, 8),))


_X = torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8)
_INTS = torch.arange(8, dtype=torch.int32).reshape(2, 4)

_RIGHT: dict[str, tuple[str, Callable[[], Example]]] = {
    "a number as output": ("TOSA_INT8", lambda: _example(lambda conv, x: conv(x).mean())),
    "a number as output, 16 bits": ("ETHOSU_U85_A16W8", lambda: _example(lambda conv, x: conv(x).mean())),
    "a number as output, Cortex-M": ("CORTEX_M55_INT8", lambda: _example(lambda conv, x: conv(x).mean())),
    "a number as input": ("TOSA_INT8", lambda: _example(lambda conv, x, y: conv(x) * y, _X, torch.tensor(0.5))),
    "a number as input, float": ("TOSA_FP", lambda: _example(lambda conv, x, y: conv(x) * y, _X, torch.tensor(0.5))),
    "a number as constant": ("CORTEX_M55_INT8", lambda: _example(lambda conv, x: F.hardswish(conv(x)))),
    "amax of rank 1": ("TOSA_INT8", lambda: _example(lambda x: torch.amax(x, 0), torch.randn(16), conv=False)),
    "amin of rank 1": ("TOSA_FP", lambda: _example(lambda x: torch.amin(x, 0), torch.randn(16), conv=False)),
    "dilated": ("CORTEX_M55_INT8", lambda: _example(lambda conv, x: conv(x), dilation=2)),
    "dilated, depthwise": (
        "CORTEX_M55_INT8",
        lambda: _example(lambda conv, x: conv(x), groups=3, dilation=(1, 2), out=3),
    ),
    "None and a number beside the output": ("TOSA_INT8", lambda: _example(lambda conv, x: (conv(x), None, 3))),
    "an input unused": ("TOSA_INT8", lambda: _example(lambda conv, x, y: conv(x), _X, torch.randn(1, 3))),
    "any": ("TOSA_INT8", lambda: _example(lambda x: torch.any(x, 1), _INTS > 2, conv=False)),
    "bits": ("TOSA_INT8", lambda: _example(lambda x: (x & 3) << 2, _INTS, conv=False)),
    "gather": ("TOSA_INT8", lambda: _example(lambda x: torch.gather(x, 1, x.long() % 4), _INTS, conv=False)),
    "half precision": ("TOSA_FP", lambda: _half(_example(lambda conv, x: conv(x)))),
    "transposed and relu on U55": (
        "ETHOSU_U55_INT8",
        lambda: Example(nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.ReLU()).eval(), (torch.randn(1, 8, 8, 8),)),
    ),
    "linear attention on U55": ("ETHOSU_U55_INT8", lambda: _linear_attention()),
}


def _half(example: Example) -> Example:
    return Example(example.model.half(), tuple(value.half() for value in example.inputs))


class _LinearAttention(nn.Module):
    """Attention without softmax (Katharopoulos et al., 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys, self.values = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        queries, keys = F.elu(self.queries(x)) + 1, F.elu(self.keys(x)) + 1
        context = keys.transpose(1, 2) @ self.values(x)
        y: Tensor = (queries @ context) / (queries @ keys.sum(1, keepdim=True).transpose(1, 2))
        return y


def _linear_attention() -> Example:
    torch.manual_seed(0)
    return Example(_LinearAttention().eval(), (torch.randn(1, 8, 16),))


@pytest.mark.parametrize("case", _RIGHT)
def test_it_is_exported_checked_and_verified(case: str) -> None:
    recipe, model = _RIGHT[case]
    example = model()
    session = export(example.model, ArmRecipeType[recipe], example.inputs)
    (outcome,) = check(session).methods
    assert (outcome.checked, outcome.why_not, outcome.wrong) == (True, "", ())
    verified = verify(session, [example.inputs])
    assert verified.failed_gates == ()
    assert report(session).delegation > 0


def _while() -> Example:
    from torch._higher_order_ops.while_loop import while_loop

    def double(x: Tensor) -> Any:
        return while_loop(  # type: ignore[no-untyped-call]
            lambda i, _: i < 3, lambda i, v: (i + 1, v * 2), (torch.tensor(0), x)
        )[1]

    return _example(double, torch.randn(1, 8), conv=False)


_REFUSED: dict[str, tuple[str, Callable[[], Example], type[Exception], str]] = {
    "NaN inside": (
        "TOSA_INT8",
        lambda: _example(lambda conv, x: torch.log(conv(x))),
        CalibrationError,
        r"TOSA_INT8: a value of aten\.log is NaN or infinite on a calibration sample.*It arises inside the model",
    ),
    "half precision": (
        "TOSA_INT8",
        lambda: _half(_example(lambda conv, x: conv(x))),
        ModelError,
        r"the model computes in float16, and executorch quantizes float32 alone\. Give model\.float\(\)",
    ),
    "a loop": ("TOSA_INT8", _while, LoweringError, r"executorch can't quantize the model's while_loop: RuntimeError: "),
    "a convolution in a branch": (
        "TOSA_FP",
        lambda: _example(lambda conv, x: torch.cond(x.sum() > 0, conv, lambda y: conv(y) - 1, (x,))),
        LoweringError,
        r"executorch's lowering fails at .*, with RuntimeError: unsupported param type",
    ),
    "pooling alone": (
        "TOSA_INT8",
        lambda: _example(lambda x: F.max_pool1d(x, 2), torch.randn(1, 3, 8), conv=False),
        LoweringError,
        r"no operator was delegated to tosa.*says of aten\.max_pool2d_with_indices: Node was not marked as quantized.*"
        r"takes pooling and the like only behind an operator that it quantizes",
    ),
    "padding in words": (
        "ETHOSU_U55_INT8",
        lambda: Example(nn.Conv1d(3, 4, 3, padding="same").eval(), (torch.randn(1, 3, 8),)),
        LoweringError,
        r'no operator was delegated to ethos-u55.*aten\.convolution.*padding is a number, not "same"',
    ),
}


@pytest.mark.no_cover
@pytest.mark.parametrize("case", _REFUSED)
def test_it_is_refused_and_the_error_says_why(case: str) -> None:
    recipe, model, error, message = _REFUSED[case]
    example = model()
    with pytest.raises(error, match=message):
        export(example.model, ArmRecipeType[recipe], example.inputs)


def _largest(x: Tensor) -> Tensor:
    return torch.topk(x, 2)[0]


@pytest.mark.parametrize("values", [_INTS, torch.randn(2, 4)], ids=["integers", "floats"])
def test_argmax_alone_is_exported_where_no_delegate_is_asked_for(values: Tensor) -> None:
    """TOSA's gives int32, so that none takes it."""
    example = _example(lambda x: torch.argmax(x, 1), values, conv=False)
    with pytest.raises(LoweringError, match="aten.argmax: TOSA ARGMAX produces int32"):
        export(example.model, ArmRecipeType.TOSA_INT8, example.inputs)
    session = export(example.model, ArmRecipeType.TOSA_INT8, example.inputs, allow_no_delegation=True)
    assert verify(session, [example.inputs]).failed_gates == ()


def test_where_nothing_is_delegated_the_report_says_so() -> None:
    """In a session of executorch's own, and whatever the logger is set to."""
    example = _example(_largest, torch.randn(2, 8), conv=False)
    recipe = ExportRecipe.get_recipe(ArmRecipeType.TOSA_FP, allow_no_delegation=True)
    assert report(upstream_export(example.model, [example.inputs], recipe)).delegation == 0
    logging.disable(logging.CRITICAL)
    try:
        assert report(export(example.model, recipe, example.inputs)).delegation == 0
    finally:
        logging.disable(logging.NOTSET)


def test_the_bodies_of_branches_are_counted() -> None:
    example = _example(lambda conv, x: torch.cond(x.sum() > 0, conv, lambda y: conv(y) - 1, (x,)))
    session = export(example.model, ArmRecipeType.TOSA_INT8, example.inputs)
    reported = report(session)
    assert "aten.convolution" in {each.operator.removesuffix(".out") for each in reported.methods[0].not_delegated}
    assert reported.delegation < 50
    assert reported.methods[0].check is not None and reported.methods[0].check.checked


def test_parts_of_a_decomposed_operator_have_no_error_of_their_own() -> None:
    """They have no value in the float model: each was compared with that of the whole."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.PReLU(4), nn.Softmax(1)).eval()
    example = Example(model, (torch.randn(1, 3, 8, 8),))
    samples = random_samples(example, 2)
    session = export(model, ArmRecipeType.TOSA_INT8, example.inputs, calibration=samples)
    layers = verify(session, samples, per_layer=True).layers
    known = {layer.layer: layer.simulated_sqnr_db for layer in layers if layer.simulated_sqnr_db is not None}
    assert list(known) == ["aten.conv2d of 0", "aten.add.Tensor of 1", "aten.mul.Tensor of 2"]
    assert min(known.values()) > 30
    assert max(layer.lost_db for layer in layers if layer.lost_db is not None) < 10
    assert len(layers) > 2 * len(known)
