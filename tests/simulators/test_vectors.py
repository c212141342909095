"""The reference simulator gives what executorch's own kernels gave, to the bit, for programs that were run on them."""

from __future__ import annotations

import re
from pathlib import Path

import executorch.backends.cortex_m.passes  # noqa: F401 - registers the kernels
import pytest
import torch

from arm_recipes.lowering.device_kernels import Demand, demand_of
from arm_recipes.simulators.edge_program import run
from tests import device_networks, vectors

_NAMES = vectors.names()
_PAGE = Path(__file__).parents[2] / "docs/cortex_m.md"


@pytest.mark.parametrize("name", _NAMES)
def test_it_gives_what_the_kernels_gave(name: str) -> None:
    vector = vectors.load(name)
    outputs = run(vector.program, vector.inputs)
    assert len(outputs) == len(vector.outputs) > 0
    for given, measured in zip(outputs, vector.outputs, strict=True):
        assert given.dtype == measured.dtype and torch.equal(given, measured)
        assert measured.numel() > 1 and bool((measured != measured.flatten()[0]).any())


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
    assert not names & others
    assert all(demand_of(name) is not Demand.CONTIGUOUS for name in others)
