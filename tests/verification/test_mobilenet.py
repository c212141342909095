"""A network of real size, end to end. Its weights are random, so that quantization leaves little of its outputs."""

from __future__ import annotations

import pytest

from arm_recipes import verify
from tests import models, tiny_models
from tests.exports import Model, exported


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("model", "name"), [(models.mobilenet_v2, "CORTEX_M55_INT8"), (tiny_models.resnet8, "ETHOSU_U55_INT8")]
)
def test_the_lowering_costs_little_beside_the_quantization(model: Model, name: str) -> None:
    report = verify(exported(name, model), [model().inputs])
    assert report.failed_gates == ()
    quantized, simulated = (
        report.comparison("float", stage).metrics["sqnr_db"] for stage in ("quantized", "simulated")
    )
    assert simulated > quantized - 1 > 5
