"""Layers that executorch makes others of on Cortex-M: average pooling, with padding, and without a stride."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from executorch.export import ExportSession
from torch import nn

from arm_recipes import ArmRecipeType, LoweringError, export, report, verify

pytestmark = [pytest.mark.cortex_m, pytest.mark.no_cover]


def _exported(pooling: nn.Module, size: tuple[int, int], **options: Any) -> ExportSession:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), pooling).eval()
    samples = [(torch.randn(1, 3, *size),) for _ in range(2)]
    return export(model, ArmRecipeType.CORTEX_M55_INT8, samples, progress=False, **options)


@pytest.mark.parametrize(
    ("pooling", "size", "changed"),
    [
        (nn.AvgPool2d(3, 3, 1, ceil_mode=True), (5, 5), True),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (6, 6), False),  # a window more, and the model has it too
        (nn.AvgPool2d((3, 1), (3, 1), (1, 0), ceil_mode=True), (5, 4), True),
        (nn.AvgPool2d(3, 3, 1, ceil_mode=True, count_include_pad=False), (5, 5), False),
        (nn.AvgPool2d(3, 3, 1), (5, 5), False),
    ],
    ids=str,
)
def test_average_pooling_has_the_model_s_windows(pooling: nn.Module, size: tuple[int, int], changed: bool) -> None:
    session = _exported(pooling, size)
    kinds = [change.id for change in report(session).methods[0].changes]
    assert ("average-pooling" in kinds) == changed
    assert verify(session, [(torch.randn(1, 3, *size),)], progress=False).failed_gates == ()


class _NoStride(nn.Module):
    """avg_pool2d, whose stride is its kernel where none is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x, 2, padding=1)


def test_a_pooling_s_stride_may_be_left_out() -> None:
    assert verify(_exported(_NoStride(), (6, 6)), [(torch.randn(1, 3, 6, 6),)], progress=False).failed_gates == ()


def test_upstream_hands_on_an_empty_stride() -> None:
    with pytest.raises(LoweringError, match="Expected length-2 sequence"):
        _exported(_NoStride(), (6, 6), cures=False)


def test_upstream_has_one_window_more() -> None:
    with pytest.raises(LoweringError, match=r"First wrong is output 0, .*: on the .* it has another shape\."):
        _exported(nn.AvgPool2d(3, 3, 1, ceil_mode=True), (5, 5), cures=False)


@pytest.mark.parametrize("layer", [nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)], ids=str)
def test_a_batch_norm_is_folded_into_a_layer_that_was_rewritten(layer: nn.Module) -> None:
    session = _exported(nn.Sequential(layer, nn.BatchNorm2d(4), nn.ReLU()), (6, 6))
    assert "transposed-convolution" in [change.id for change in report(session).methods[0].changes]
    assert verify(session, [(torch.randn(1, 3, 6, 6),)], progress=False).failed_gates == ()
