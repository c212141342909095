"""A network of real size, end to end. Its weights are random, so that quantization leaves little of its outputs."""

from __future__ import annotations

import pytest

from arm_recipes import verify
from tests import models
from tests.exports import exported


@pytest.mark.no_cover
@pytest.mark.parametrize("name", ["ETHOSU_U55_INT8", "CORTEX_M55_INT8"])
def test_the_lowering_costs_little_beside_the_quantization(name: str) -> None:
    report = verify(exported(name, models.mobilenet_v2), [models.mobilenet_v2().inputs])
    assert report.failed_gates == ()
    quantized, simulated = (
        report.comparison("float", stage).metrics["sqnr_db"] for stage in ("quantized", "simulated")
    )
    assert simulated > quantized - 1 > 5
