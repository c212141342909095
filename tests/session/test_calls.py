"""Example inputs that are not what the model takes: told by the model's own arguments, before or after the capture."""

from __future__ import annotations

import gc
import logging
import os
import random
import re
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arm_recipes import ArmRecipeError, ArmRecipeType, ModelError, export, simulate, verify
from tests import models
from tests.exports import exported


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor:
        joined: Tensor = self.linear(left) + right * scale
        return joined


_X = torch.ones(1, 4)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((_X,), "has 1 inputs, and the model takes left, right, scale (missing a required argument: 'right')."),
        ((_X, _X, 1.0, _X), "has 4 inputs, and the model takes left, right, scale (too many positional arguments)."),
        ((_X, np.ones((1, 4))), "input 1 is a NumPy array. Give torch.from_numpy(array)."),
        ((_X.long(), _X), "itself fails on its example inputs, int64 [1, 4], float32 [1, 4], with RuntimeError: "),
        ((torch.ones(1, 5), _X), "itself fails on its example inputs, float32 [1, 5], float32 [1, 4], with RuntimeErr"),
    ],
)
@pytest.mark.parametrize("recipe", ["TOSA_FP", "CORTEX_M55_INT8"])
def test_what_the_model_does_not_take_is_told(recipe: str, inputs: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        export(_Two().eval(), ArmRecipeType[recipe], inputs)


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), 0, -1, "1", True])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    session = exported("TOSA_FP", models.linear)
    with pytest.raises(ArmRecipeError, match=r"timeout=.* is no number of seconds above 0"):
        verify(session, models.linear().inputs, timeout=timeout)
    with pytest.raises(ArmRecipeError, match=r"timeout=.* is no number of seconds above 0"):
        simulate(session, timeout=timeout)


@pytest.mark.usefixtures("one_sample_is_enough")
def test_temporary_files_may_be_in_a_folder_with_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sp ace").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "sp ace"))
    model, inputs = models.linear()
    session = export(model, ArmRecipeType.ETHOSU_U55_INT8, inputs)
    assert tempfile.tempdir == str(tmp_path / "sp ace")
    assert session.get_pte_buffer() == exported("ETHOSU_U55_INT8", models.linear).get_pte_buffer()


def _state() -> dict[str, Any]:
    """Of the process, as far as torch, executorch or Vela could leave it otherwise."""
    return {
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "generators": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),  # type: ignore[index]
        "threads": torch.get_num_threads(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "path": list(sys.path),
        "streams": (sys.stdout, sys.stderr),
        "logging": (logging.getLogger().level, list(logging.getLogger().handlers)),
        "warnings": list(warnings.filters),
        "collector": (gc.isenabled(), gc.get_threshold()),
        "limit": sys.getrecursionlimit(),
        "temporary": tempfile.tempdir,
    }


@pytest.mark.usefixtures("one_sample_is_enough")
@pytest.mark.parametrize("recipe", ["ETHOSU_U55_INT8", "CORTEX_M55_INT8", "TOSA_FP", "VGF_INT8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_state_of_the_process_is_as_before(recipe: str, dtype: torch.dtype) -> None:
    model, inputs = models.linear()
    torch.set_default_dtype(dtype)
    try:
        before = _state()
        session = export(model, ArmRecipeType[recipe], inputs)
        assert _state() == before
        with pytest.raises(ModelError):
            export(model, ArmRecipeType[recipe], (torch.zeros(1, 3),))
        for error in (KeyboardInterrupt, ValueError):
            calibration = _interrupted(error, inputs)
            with pytest.raises(error if recipe.endswith("INT8") else ArmRecipeError):
                export(model, ArmRecipeType[recipe], inputs, calibration=calibration)
        assert _state() == before
    finally:
        torch.set_default_dtype(torch.float32)
    assert session.get_pte_buffer() == exported(recipe, models.linear).get_pte_buffer()


def _interrupted(error: type[BaseException], inputs: tuple[Tensor, ...]) -> Any:
    def samples() -> Any:
        yield inputs
        raise error

    return samples
