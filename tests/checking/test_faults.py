"""Faults put into programs on purpose: each is caught and its layer named, and none is seen in the whole program."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from arm_recipes.checking.result import MethodCheck
from arm_recipes.checking.run import check_method, reference_of
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.simulators.registry import REFERENCE, make_simulator
from arm_recipes.simulators.tosa_reference import TosaReference
from tests.exports import exported, random_samples
from tests.models import Example

from .faults import FAULTS, Fault, Graph, deep, good

Network = Callable[[], Example]
_SAMPLES = 2

_networks = pytest.mark.parametrize("network", [good, deep])


class _Program:
    """A network lowered for TOSA_INT8, whose graph can be replaced."""

    def __init__(self, network: Network) -> None:
        session = exported("TOSA_INT8", network, samples=_SAMPLES)
        self._program = snapshots(session)["forward"]
        self._reference = reference_of(session, "forward")
        simulator = make_simulator(REFERENCE, session, self._program, timeout=60)
        assert isinstance(simulator, TosaReference)
        self._simulator = simulator
        self.samples = random_samples(network(), _SAMPLES)
        ((self._name, self.graph),) = simulator._graphs.items()

    def check(self, graph: bytes) -> MethodCheck:
        self._set(graph)
        return check_method(self._program, self._reference, self._simulator, self.samples)

    def run(self, graph: bytes) -> tuple[list[Tensor], list[Tensor]]:
        """The first output of the quantized module and of the program, for each sample."""
        self._set(graph)
        with torch.no_grad():
            quantized = [self._reference(*sample)[0] for sample in self.samples]
        return quantized, [self._simulator.run(sample)[0] for sample in self.samples]

    def _set(self, graph: bytes) -> None:
        self._simulator._graphs[self._name] = graph
        self._simulator._traced.clear()


@functools.cache
def _program(network: Network) -> _Program:
    return _Program(network)


def _sqnr(reference: list[Tensor], value: list[Tensor]) -> float:
    wanted, got = torch.cat(reference), torch.cat(value)
    return 10 * math.log10(float((wanted**2).sum() / ((wanted - got) ** 2).sum().clamp(min=1e-30)))


@_networks
def test_the_whole_program_is_right(network: Network) -> None:
    program = _program(network)
    outcome = program.check(program.graph)
    assert outcome.checked and outcome.wrong == ()
    assert outcome.compared + outcome.grouped == outcome.layers
    assert outcome.compared >= outcome.layers - 1


def test_the_deep_network_is_badly_quantized() -> None:
    """So that its outputs can't tell: a wrong one is as near to the float model's as the right one."""
    program = _program(deep)
    quantized, _ = program.run(program.graph)
    with torch.no_grad():
        wanted = [deep().model(*sample)[0] for sample in program.samples]
    assert _sqnr(wanted, quantized) < 20


@pytest.mark.no_cover
@_networks
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught_and_its_layer_named(fault: Fault, network: Network) -> None:
    program = _program(network)
    graph = Graph(program.graph)
    fault.put(graph)
    assert bytes(graph.buffer) != program.graph
    outcome = program.check(bytes(graph.buffer))
    assert outcome.checked and outcome.wrong
    assert any(name in outcome.wrong[0].layer for name in fault.layers), outcome.wrong[0]


def test_a_program_that_the_simulator_refuses_is_not_checked() -> None:
    program = _program(good)
    outcome = program.check(program.graph[:200] + bytes(200) + program.graph[400:])
    assert not outcome.checked and "TOSA reference model" in outcome.why_not
    assert program.check(program.graph).right
