"""The reference simulator gives what executorch's own kernels gave, to the bit, for programs that were run on them."""

from __future__ import annotations

import re
from pathlib import Path

import executorch.backends.cortex_m.passes  # noqa: F401 - registers the kernels
import numpy as np
import pytest
import torch

from arm_recipes.errors import SimulationError
from arm_recipes.lowering import device_kernels
from arm_recipes.lowering.device_kernels import Demand, demand_of
from arm_recipes.simulators import planned_program
from arm_recipes.simulators.edge_program import physical, run
from tests import device_networks, kernel_calls, vectors

_NAMES = vectors.names()
# Programs of the script that run, with wrong values.
_WRONG = {
    f"{vectors.SCRIPT}{name}"
    for name in (
        "of the input: cat",
        "others: joined",
        "transposed: 4, 2, 1",
        "wrong values: cat",
        "wrong values: cat in height",
        "wrong values: flip",
        "wrong values: maximum",
        "wrong values: permute",
    )
}
# They mix strides and sizes, and read beyond the ends of their tensors.
_NOT_KNOWN = {
    f"{vectors.CALL}aten._softmax",
    f"{vectors.CALL}aten._log_softmax",
    f"{vectors.SCRIPT}wrong values: extremes per channel",
}
# Of the table of what kernels do with other memory orders, what was read in their sources only, or in whole programs.
_READ_ONLY = """
    aten.addmm aten.arange aten.bmm aten.floor_divide aten.full aten.full_like aten.gather aten.index
    aten.index_select aten.logit aten.mm aten.native_layer_norm aten.rsub aten.split_with_sizes_copy
    cortex_m.quantized_activation cortex_m.quantized_avg_pool2d cortex_m.quantized_conv2d
    cortex_m.quantized_depthwise_conv2d cortex_m.quantized_div cortex_m.quantized_max_pool2d
    cortex_m.quantized_transpose_conv2d
"""
_PAGE = Path(__file__).parents[2] / "docs/cortex_m.md"


@pytest.mark.parametrize("name", _NAMES)
def test_it_gives_what_the_kernels_gave(name: str) -> None:
    vector = vectors.load(name)
    outputs = run(vector.program, vector.inputs)
    assert len(outputs) == len(vector.outputs) > 0
    for given, measured in zip(outputs, vector.outputs, strict=True):
        assert given.dtype == measured.dtype and torch.equal(given, measured)
        assert measured.numel() > 1 and bool((measured != measured.flatten()[0]).any())


@pytest.mark.parametrize("name", [*vectors.names(vectors.SCRIPT), *vectors.names(vectors.CALL)])
def test_in_every_memory_order_it_does_what_the_kernels_did(name: str) -> None:
    for orders, vector in vectors.load_planned(name).items():
        try:
            given, failed = planned_program.run(vector.program, vector.inputs), ""
        except SimulationError as error:
            given, failed = [], str(error)
        told = planned_program.notes_on(vector.program)
        if "not known here" in failed:
            assert name in _NOT_KNOWN and (not orders or "l" in orders), (orders, failed)
        elif vector.failed:
            kernel, status = vector.failed.split()
            assert failed.startswith(f"{kernel} fails on the device with {status} (InvalidArgument) at "), (
                orders,
                failed,
            )
        else:
            assert len(given) == len(vector.outputs) > 0, (orders, failed)
            for index, value, measured in zip(vector.program.outputs, given, vector.outputs, strict=True):
                order = vector.program.values[index]["slot"]["order"]
                # Of functions of one number the last bit is the C library's.
                close = 1e-6 if name.startswith(vectors.CALL) and value.is_floating_point() else 0
                np.testing.assert_allclose(physical(value, order).reshape(-1), measured, rtol=close, atol=close)
            assert name not in _WRONG or told


def test_where_values_are_wrong_they_are_said_to_be() -> None:
    """And nowhere else, of the programs that executorch's own script makes."""
    noted = {name for name in vectors.names(vectors.SCRIPT) if planned_program.notes_on(_script(name).program)}
    assert {name for name in noted if not _script(name).failed} == _WRONG


def _script(name: str) -> vectors.Planned:
    return vectors.load_planned(name)[""]


def test_what_the_table_knows_was_measured() -> None:
    measured = {name.removeprefix(vectors.CALL).partition(",")[0] for name in vectors.names(vectors.CALL)}
    facts = {kernel for names in device_kernels.ON_DEVICE.values() for kernel in names.split()}
    assert kernel_calls.CALLS.keys() == {name.removeprefix(vectors.CALL) for name in vectors.names(vectors.CALL)}
    assert facts - measured == set(_READ_ONLY.split())


def test_every_network_was_measured() -> None:
    assert device_networks.NETWORKS.keys() <= set(_NAMES)


def test_the_page_lists_the_kernels_that_were_measured_and_those_that_were_not() -> None:
    measured = {kernel for name in _NAMES for kernel in vectors.load(name).kernels}
    text = _PAGE.read_text(encoding="utf-8")
    told = re.search(r"Measured: (.*?)\n\n", text, re.DOTALL)
    lacking = re.search(r"Not measured, of those that the table knows: (.*?)\n\n", text, re.DOTALL)
    assert told is not None and lacking is not None
    names = {match.group(1) for match in re.finditer(r"`([a-z_]+\.\w+)`", told[1])}
    assert names == {kernel.rpartition(".")[0] if kernel.count(".") > 1 else kernel for kernel in measured}
    others = {match.group(1) for match in re.finditer(r"`([a-z_]+\.\w+)`", lacking[1])}
    alone = re.search(r"Called alone, below: (.*?)\n\n", text, re.DOTALL)
    assert alone is not None
    calls = {match.group(1) for match in re.finditer(r"`([a-z_]+\.\w+)`", alone[1])}
    assert calls <= kernel_calls.CALLS.keys() and not (names | calls) & others and not names & calls
    assert all(demand_of(name) is not Demand.CONTIGUOUS for name in others)
