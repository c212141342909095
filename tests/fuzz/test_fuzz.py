"""Drawn networks are valid and always the same, failures are made small, and a handful per family comes out right."""

from __future__ import annotations

import ast

import pytest
import torch

from .generator import draw
from .network import Line, Network, runs
from .properties import BLAMED, FAILED, held
from .reduce import reduced

_SEEDS = range(40)


def test_a_seed_s_network_is_valid_and_always_the_same() -> None:
    networks = [draw(seed) for seed in _SEEDS]
    assert networks == [draw(seed) for seed in _SEEDS]
    assert len({network.source() for network in networks}) == len(networks)
    for network in networks:
        ast.parse(network.source())
        one, other = runs(network), runs(network)
        assert one is not None and other is not None
        assert all(map(torch.equal, one, other))


def _network(*lines: Line, outputs: tuple[int, ...] = (-1,)) -> Network:
    count = len(lines) + 1
    return Network(1, ((1, 4, 6, 6),), 1.0, lines, tuple(each % count for each in outputs))


def test_a_failure_is_made_small() -> None:
    network = _network(
        Line("{m}({0})", (0,), "nn.Conv2d(4, 4, 1)", ("{m}.weight.data *= 30",)),
        Line("torch.relu({0})", (1,)),
        Line("{0}.sin()", (2,)),
        Line("{0} + {1}", (3, 1)),
        Line("{0}.flatten(1)", (4,)),
        outputs=(-1, 1),
    )
    small = reduced(network, lambda smaller: ".sin()" in smaller.source())
    assert [line.expression for line in small.lines] == ["{0}.sin()"]
    assert len(small.outputs) == 1


def test_a_module_s_weights_stay_where_other_lines_go() -> None:
    conv = Line("{m}({0})", (1,), "nn.Conv2d(4, 4, 3)")
    network = _network(Line("torch.relu({0})", (0,)), conv)
    before, after = network.module(), network.without(0, 0).module()
    assert torch.equal(before.m1.weight, after.m0.weight)  # type: ignore[union-attr, arg-type]


# Of each family a few networks, by turns of its rows: what `python -m tests.fuzz` does with thousands.
_ROWS = {
    "ethos_u": ("ETHOSU_U55_INT8", "ETHOSU_U85_A16W8"),
    "tosa": ("TOSA_INT8", "TOSA_FP"),
    "vgf": ("VGF_INT8",),
    "cortex_m": ("CORTEX_M55_INT8", "CORTEX_M0_INT8"),
}


@pytest.mark.parametrize(("seed", "row"), [(1000 + at, row) for rows in _ROWS.values() for at, row in enumerate(rows)])
def test_what_is_drawn_is_right_or_refused(seed: int, row: str) -> None:
    outcome = held(draw(seed), row)
    assert outcome.kind not in (BLAMED, FAILED), f"{outcome.words}\n{outcome.trace}\n{draw(seed).source()}"
