"""Cortex-M: every kernel gets its tensors in a memory order that it takes, and what is there computes the same.

That it does on the device is told by tests/simulators/test_vectors.py, on what the real kernels gave.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import pytest
import torch
from executorch.export import ExportSession
from torch import Tensor, nn
from torch.nn import functional

from arm_recipes import ArmRecipeType, LoweringError, export, verify
from arm_recipes.lowering import folded
from arm_recipes.lowering.changes import changes
from arm_recipes.lowering.device_kernels import NHWC, Demand, Placed, demand_of, portable_kernels
from tests import device_networks, models
from tests.exports import random_samples

_ROW = ArmRecipeType.CORTEX_M55_INT8


@functools.cache
def _exported(name: str, **options: Any) -> ExportSession:
    example = device_networks.example(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export(example.model, _ROW, random_samples(example, 2), allow_portable_fallback=True, **options)


def _kernels(session: ExportSession) -> list[str]:
    plan = session.get_executorch_program().execution_plan[0]
    return [f"{operator.name}.{operator.overload}" for operator in plan.operators]


def _cures(session: ExportSession) -> set[str]:
    return {change.id for told in changes(session).values() for change in told}


_CURES = {
    "wrong values: cat": {"memory-order"},
    "fails: where": {"integer-comparison"},
    "fails: pixel shuffle": {"memory-order", "portable-kernel"},
    "fails: conv3d of depths": {"memory-order", "three-dimensional-convolution"},
    "transposed: 4, 2, 1": {"transposed-convolution"},
    "hardswish: of the input": {"hardswish-table"},
    "hardswish: limits": {"integer-limits"},
    "hardsigmoid: shut": {"hardsigmoid-bias"},
    "others: filled": {"integer-fill", "memory-order"},
}


def test_what_was_changed_is_told_and_nothing_is_without_cures() -> None:
    """In one test, so that what it runs is measured."""
    for name, cures in _CURES.items():
        assert _cures(_exported(name)) == cures, name
    for name in ("wrong values: cat", "fails: where", "transposed: 4, 2, 1", "hardsigmoid: shut", "others: filled"):
        with pytest.raises(LoweringError):
            _exported(name, cures=False)


@pytest.mark.no_cover
@pytest.mark.parametrize("name", device_networks.NETWORKS)
def test_each_exports_and_its_kernels_are_there(name: str) -> None:
    """The export's own checks hold each layer to the model's, and each call to what its kernel takes."""
    kernels = _kernels(_exported(name))
    assert {kernel for kernel in kernels if not kernel.startswith("cortex_m::")} <= portable_kernels()


def test_a_refusal_names_the_line_of_the_model() -> None:
    with pytest.raises(LoweringError, match=r"aten\.cat \(device_networks\.py:\d+\) would read '\w+', which lies"):
        _exported("wrong values: cat", cures=False)


def test_what_needs_nothing_is_as_upstream_has_it() -> None:
    for name in ("of the input: add", "average: pool"):
        session = _exported(name)
        assert _cures(session) == set()
        assert session.get_pte_buffer() == _exported(name, cures=False).get_pte_buffer()


@pytest.mark.parametrize(("layout", "copies"), [("contiguous", 5), ("channels_last", 3)])
def test_one_copy_serves_all_that_read_it(layout: str, copies: int) -> None:
    """Two inputs of a cat that has three, its result, and with NCHW the program's input and output."""
    session = _exported("others: joined", io_layout=layout)
    plan = session.get_executorch_program().execution_plan[0]
    calls = [plan.operators[each.instr_args.op_index].name for each in plan.chains[0].instructions]
    assert calls.count("dim_order_ops::_clone_dim_order") == copies


def test_a_copy_costs_what_the_report_says() -> None:
    (change,) = {each for each in changes(_exported("wrong values: permute"))["forward"] if each.id == "memory-order"}
    assert change.where == "cortex_m.transpose"
    assert "in contiguous memory: one kernel and 384 bytes more" in change.what


class TestDemands:
    nchw = Placed((1, 4, 3, 2), (0, 1, 2, 3))
    nhwc = Placed((1, 4, 3, 2), NHWC)
    one_channel = Placed((1, 1, 3, 2), (0, 2, 1, 3))
    scalar = Placed((), ())

    def test_elementwise_kernels_take_one_order(self) -> None:
        add = demand_of("aten.add")
        assert list(add.wanted([self.nhwc, self.nhwc])) == [None, None]
        assert list(add.wanted([self.nchw, self.nhwc])) == [NHWC, None]
        assert list(add.wanted([self.nhwc, self.scalar])) == [(0, 1, 2, 3), None]  # broadcast
        assert list(add.wanted([self.one_channel] * 2)) == [(0, 1, 2, 3)] * 2  # an order that no kernel knows
        assert add.gives([self.nhwc], [self.nhwc]) and not add.gives([self.nhwc], [self.nchw])

    def test_cmsis_nn_multiplies_with_a_value_per_channel_in_nhwc(self) -> None:
        mul = demand_of("cortex_m.quantized_mul")
        channels = Placed((1, 4, 1, 1), (0, 1, 2, 3))
        assert list(mul.wanted([self.nchw, channels])) == [NHWC, None]
        assert list(mul.wanted([self.nchw, self.nchw])) == [None, None]

    def test_convolutions_take_one_channel_as_it_is(self) -> None:
        convolution = demand_of("cortex_m.quantized_conv2d")
        assert list(convolution.wanted([self.one_channel])) == [None]
        assert list(convolution.wanted([self.nchw])) == [NHWC]

    def test_what_is_not_known_takes_contiguous_memory(self) -> None:
        assert demand_of("aten.something_new") is Demand.CONTIGUOUS


def test_a_compared_number_becomes_an_integer() -> None:
    from executorch.exir.dialects._ops import ops

    from arm_recipes.lowering.folded import _threshold

    scale, zero_point = 0.1, 20
    values = (torch.arange(-128, 128).float() - zero_point) * scale
    for name in ("gt", "ge", "lt", "le", "eq", "ne"):
        for number in (0.0, 0.1, 0.15, -0.3, 50.0, -50.0):
            target = getattr(ops.edge.aten, name).Scalar
            compare = getattr(torch, name)
            threshold = _threshold(target, number, scale, zero_point)
            assert torch.equal(compare(torch.arange(-128, 128), threshold), compare(values, number)), (name, number)


class _OneColumn(nn.Module):
    """CREPE's layers: a batch norm behind the ReLU, in float, and values one wide, which lie in two orders at once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 4, (3, 1)), nn.BatchNorm2d(4), nn.Conv2d(4, 2, (3, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.norm(torch.relu(self.first(x[:, None, :, None]))), (2, 1))
        y: Tensor = self.last(functional.pad(x, (0, 0, 1, 2)))
        return y


class _Product(nn.Module):
    """As of attention's weights with its values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x, self.linear(y))


def _made(make: type[nn.Module], *shapes: tuple[int, ...], **options: Any) -> None:
    torch.manual_seed(0)
    model, samples = make().eval(), [tuple(map(torch.randn, shapes)) for _ in range(2)]
    session = export(model, _ROW, samples, **options)
    assert verify(session, samples, progress=False).failed_gates == ()


def test_padding_is_written_for_the_order_that_its_input_will_have(monkeypatch: pytest.MonkeyPatch) -> None:
    _made(_OneColumn, (1, 14))
    monkeypatch.setattr(folded, "_PADDING", ())  # as upstream
    with pytest.raises(LoweringError, match="does not compute what the model does"):
        _made(_OneColumn, (1, 14))


def test_a_product_reads_a_linear_layer_with_a_bias() -> None:
    _made(_Product, (1, 4, 4), (1, 4, 8))
    with pytest.raises(LoweringError, match="expected scalar type"):  # upstream
        _made(_Product, (1, 4, 4), (1, 4, 8), cures=False)


def test_an_ordinary_network_has_no_copy_inside() -> None:
    example = models.conv_net()
    session = export(example.model, _ROW, random_samples(example, 2))
    assert _cures(session) == set()
