"""Cure: a range so small that the configuration's least scale would leave little of it, or nothing.

Upstream's configurations pad every scale to a least one, 2**-16 in INT8 and 2**-12 in A16W8, of activations and of
constants alike. A mean is lowered as a sum times 1/N: in A16W8 1/12544 becomes zero, and so does `x * 1e-4`; a softmax
over 1,000 values has 1/sum in two or three steps. Where a range has fewer steps than makes sense, its observer's least
scale is lowered here; all others keep theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import ObserverBase

from arm_recipes.upstream.graphs import kernel_name, where

from .changes import note
from .observed import Inputs, attribute, observed, observer_of, observers, run_float
from .records import Change

# Signal to noise of a range in steps of the least scale, in dB, below which it gets steps of its own. In A16W8 that of
# 8 bits: 16 that keep less are none. In INT8 below what a usual layer keeps, by 5 to 10 dB.
LEAST_DB = {torch.int16: 48.0, torch.int8: 30.0}
# A bias is an integer of 32 bits in steps of its input's scale times the weight's.
_LARGEST_BIAS = 2.0**30
# The least normal scale that still leaves a product of two in float32's range.
_LEAST_SCALE = 2.0**-40


@dataclass
class _Range:
    """What is known of an observer's range: sums of squares of its values, and of their errors in the steps it has.

    Attributes:
        node: the first that observes with it.
        step: its scale; of weights one per channel, in a shape that goes with theirs.
        eps: the least that a scale may be.
    """

    node: Node
    step: Tensor
    eps: float
    signal: float = 0.0
    noise: float = 0.0

    @property
    def sqnr_db(self) -> float:
        if self.signal == 0 or self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise)


def finer_steps(prepared: GraphModule, samples: list[Inputs]) -> None:
    """Lower the least scale of observers whose range would have too few steps, and note it.

    Args:
        prepared: the model after calibration, before it is converted. Its observers are changed.
        samples: to measure on.
    """
    ranges = {id(observer): range_ for observer, range_ in _padded(prepared)}
    if not ranges:
        return

    def see(node: Node, value: Tensor) -> None:
        observer = observer_of(prepared, node)
        range_ = ranges.get(id(observer)) if observer is not None else None
        if range_ is None:
            return
        value = torch.nan_to_num(value, posinf=0.0, neginf=0.0)
        error = torch.round(value / range_.step) * range_.step - value
        range_.signal += float(value.double().square().sum())
        noise = float(error.double().square().sum())
        if observed(node).op != "get_attr":
            # Of a few values that happen to lie on a step others will not.
            noise = max(noise, float(range_.step.mean()) ** 2 / 12 * value.numel())
        range_.noise += noise

    run_float(prepared, samples, see)
    biases = list(_biases(prepared))
    for observer in dict.fromkeys(observer for _, observer in observers(prepared)):
        range_ = ranges.get(id(observer))
        if range_ is None or range_.sqnr_db >= LEAST_DB[observer.dtype] or _negligible(prepared, range_.node):
            continue
        lower = max(_LEAST_SCALE, *(bound(observer) for bound in biases)) if biases else _LEAST_SCALE
        if lower >= range_.eps:
            continue
        # Upstream: the least scale of get_symmetric_a16w8_quantization_config is 2**-12 and of INT8's 2**-16. Holds for
        # executorch 1.5.1; tests/lowering/test_a16w8.py::test_upstream_loses_it fails when it can go.
        observer.eps.fill_(lower)
        source = observed(range_.node)
        note(
            prepared,
            Change(
                "finer-step",
                where(source) if source.op == "call_function" else _readers(range_.node),
                f"quantized in steps of its own range and not of {range_.eps:g}",
                f"its values are so small that {range_.sqnr_db:.1f} dB of them would be left in steps of "
                f"{range_.eps:g}, the least of executorch's {observer.dtype} configuration",
            ),
        )


def _readers(node: Node) -> str:
    """A constant by who reads it."""
    readers = [reader for reader in node.users if reader.op == "call_function"]
    return f"constant of {where(readers[0])}" if readers else "constant"


def _padded(prepared: GraphModule) -> Iterator[tuple[ObserverBase, _Range]]:
    """The observers of one range whose own scale is below the least."""
    known: set[int] = set()
    for node, observer in observers(prepared):
        if id(observer) in known or observer.dtype not in LEAST_DB:
            continue
        known.add(id(observer))
        eps, low, high = (getattr(observer, name, None) for name in ("eps", "min_val", "max_val"))
        if not (isinstance(eps, Tensor) and isinstance(low, Tensor) and isinstance(high, Tensor)):
            continue
        if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
            continue
        step = step_of(observer)
        if bool(((step > 0) & (step < eps)).any()):
            step = torch.maximum(step, eps)
            axis = getattr(observer, "ch_axis", 0)
            source = observed(node).meta.get("val")
            if step.numel() > 1 and isinstance(source, Tensor):
                step = step.reshape([-1 if index == axis else 1 for index in range(source.dim())])
            yield observer, _Range(node, step, float(eps))


def step_of(observer: ObserverBase) -> Tensor:
    """The scale that an observer's range would have without a least one."""
    zero = torch.zeros_like(observer.min_val)
    span = torch.maximum(observer.max_val, zero) - torch.minimum(observer.min_val, zero)
    if observer.qscheme in (torch.per_tensor_symmetric, torch.per_channel_symmetric):
        span = 2 * torch.maximum(observer.max_val.abs(), observer.min_val.abs())
    step: Tensor = span / (int(observer.quant_max) - int(observer.quant_min))
    return step


def _negligible(prepared: GraphModule, node: Node) -> bool:
    """Whether it is a constant that is added to values whose own steps are larger, as a norm's eps of 1e-5 is."""
    source = observed(node)
    if source.op != "get_attr":
        return False
    largest = float(attribute(prepared, str(source.target)).abs().max())
    for reader in node.users:
        after = [observer_of(prepared, user) for user in reader.users]
        if kernel_name(reader.target)[1] not in ("add", "sub") or len(after) != 1 or after[0] is None:
            return False
        if largest >= max(float(step_of(after[0]).max()), float(after[0].eps)):
            return False
    return True


class _Bias:
    """The least scale that a layer's bias leaves its input."""

    def __init__(self, source: ObserverBase, scale: float) -> None:
        self._source = source
        self._scale = scale

    def __call__(self, observer: ObserverBase) -> float:
        return self._scale if observer is self._source else 0.0


def _biases(prepared: GraphModule) -> Iterator[_Bias]:
    for node in prepared.graph.nodes:
        if node.op != "call_function" or len(node.args) < 3 or not all(isinstance(a, Node) for a in node.args[:3]):
            continue
        source, weight = (observer_of(prepared, argument) for argument in node.args[:2])
        bias = observed(node.args[2])
        if source is None or weight is None or bias.op != "get_attr":
            continue
        values = attribute(prepared, str(bias.target))
        scales = weight.calculate_qparams()[0].to(torch.float64).flatten()
        if values.numel() % scales.numel() == 0:
            largest = values.detach().to(torch.float64).abs().reshape(scales.numel(), -1).amax(1)
            yield _Bias(source, float((largest / scales).max()) / _LARGEST_BIAS)
