"""The range by leaps is upstream's by steps, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchao.quantization.pt2e.observer import HistogramObserver

from arm_recipes.upstream import savings
from arm_recipes.upstream.histogram_search import search

_VALUES: dict[str, Callable[[], Tensor]] = {
    "normal": lambda: torch.randn(2000),
    "few": lambda: torch.randn(7),
    "to one side": lambda: torch.rand(3000) ** 3,
    "half zero": lambda: torch.relu(torch.randn(5000)),
    "outliers": lambda: torch.cat([torch.randn(1000), torch.tensor([100.0, -30.0])]),
    "an outlier alone": lambda: torch.cat([torch.zeros(1000), torch.tensor([-1e9])]),
    "two": lambda: torch.tensor([1.0, 2.0]),
    "one": lambda: torch.full((10,), 3.0),
    "none but zeros": lambda: torch.zeros(10),
    "small": lambda: torch.randn(40) * 1e-6,
    "integers": lambda: torch.randint(0, 5, (100,)).float(),
    "long tail": lambda: torch.exp(torch.randn(2000) * 3),
}


@pytest.mark.parametrize("values", _VALUES.values(), ids=_VALUES)
@pytest.mark.parametrize("samples", [1, 3])
def test_it_is_upstreams(values: Callable[[], Tensor], samples: int) -> None:
    torch.manual_seed(samples)
    observer = HistogramObserver(dtype=torch.int8, qscheme=torch.per_tensor_affine, quant_min=-128, quant_max=127)
    for _ in range(samples):
        observer(values())
    wanted = savings.stepwise_search(observer)
    assert all(map(torch.equal, search(observer), wanted))


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += 1
        return func(*args, **(kwargs or {}))


def test_upstream_goes_step_by_step() -> None:
    """Where this fails, the replacement can go."""
    torch.manual_seed(0)
    observer = HistogramObserver(dtype=torch.int8, qscheme=torch.per_tensor_affine, quant_min=-128, quant_max=127)
    observer(torch.cat([torch.randn(1000), torch.tensor([100.0, -30.0])]))
    operators = []
    for way in (savings.stepwise_search, search):
        with _Count() as count:  # type: ignore[no-untyped-call]
            way(observer)
        operators.append(count.operators)
    stepwise, by_leaps = operators
    assert stepwise > 4_000
    assert by_leaps < 1_000
