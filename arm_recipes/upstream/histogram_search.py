"""The range of a histogram that loses least, found by leaps where torchao's observer goes step by step.

torchao's HistogramObserver lets quantiles of 1e-5 go in from both ends, one step at a time and each with several
comparisons of tensors, and measures the error whenever that drops a bin: tens of thousands of steps, 30 to 300 ms for
each observer. The step at which the next bin is dropped can be looked up. What is measured, and what comes out, is the
same to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

_STEP = 1e-5
# Each quantile as adding up the steps gives it, which is not its number times the step.
_LOWER = np.add.accumulate(np.concatenate([[0.0], np.full(100_001, _STEP)]))
_UPPER = np.add.accumulate(np.concatenate([[1.0], np.full(100_001, -_STEP)]))


class _Ends:
    """The lower and upper quantile, and the first and last bin of those between."""

    def __init__(self, histogram: Tensor) -> None:
        total = histogram.sum().item()
        self._below = histogram.cumsum(0).numpy()  # float32, and compared as such
        self._least = (_LOWER * total).astype(np.float32)
        self._falling = -(_UPPER * total).astype(np.float32)
        self._lower = self._upper = 0
        self.first, self.last = 0, len(self._below) - 1

    def next(self) -> tuple[int, int] | None:
        """The bins that are left after the next step that drops some; None where the quantiles meet before."""
        while _LOWER[self._lower] < _UPPER[self._upper]:
            first = self._inside(np.searchsorted(self._below, self._least[self._lower + 1], "left"))
            if first == self.first:
                self._leap()
                if self._upper >= len(_UPPER):
                    return None
                last = self._last_below(self._upper)
                if last < self.last:
                    return self.first, last
                continue
            last = self._last_below(self._upper + 1)
            if first - self.first > self.last - last:
                self._lower += 1
                return first, self.last
            self._upper += 1
            if last < self.last:
                return self.first, last
        return None

    def _leap(self) -> None:
        """Let the upper quantile go to where it drops the last bin, or past the end where it meets the lower one."""
        drops = int(np.searchsorted(self._falling, -self._below[self.last], "right"))
        meets = int(np.searchsorted(-_UPPER, -_LOWER[self._lower], "left"))
        self._upper = max(drops, self._upper + 1)
        if self._upper > meets:
            self._upper = len(_UPPER)

    def _last_below(self, upper: int) -> int:
        return self._inside(np.searchsorted(self._below, -self._falling[upper], "right") - 1)

    def _inside(self, index: Any) -> int:
        return min(max(int(index), self.first), self.last)


def search(observer: Any) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of the range, of a torchao HistogramObserver that has seen its samples."""
    ends = _Ends(observer.histogram.cpu())
    least = float("inf")
    while (bins := ends.next()) is not None:
        # Upstream: HistogramObserver._compute_quantization_error, whose own search calls it. Holds for torchao 0.18;
        # tests/upstream/test_histogram_search.py::test_it_is_upstreams fails when it changes.
        error = observer._compute_quantization_error(*bins)
        if error > least:
            break
        least = error
        ends.first, ends.last = bins
    width = (observer.max_val - observer.min_val) / observer.bins
    return observer.min_val + width * ends.first, observer.min_val + width * (ends.last + 1)
