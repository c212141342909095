"""Exports in several threads."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from arm_recipes import ArmRecipeType, OptionError, export
from tests import models
from tests.exports import exported

_ROWS = ("ETHOSU_U55_INT8", "TOSA_FP")


@pytest.mark.usefixtures("one_sample_is_enough")
def test_threads_get_the_programs_of_one() -> None:
    networks = [models.linear() for _ in _ROWS * 2]  # here, as their weights come from the one generator of all threads
    model, inputs = models.linear()

    def program(name: str, network: models.Example) -> bytes:
        return bytes(export(network.model, ArmRecipeType[name], network.inputs, progress=False).get_pte_buffer())

    def refusal(_: int) -> bool:
        with pytest.raises(OptionError):
            export(model, ArmRecipeType.ETHOSU_U55_INT8, inputs, extra_flags=["--none"])
        return True

    before = (sys.stdout, sys.stderr, torch.backends.mkldnn.enabled, torch.is_grad_enabled())
    with ThreadPoolExecutor(4) as threads:
        refused = threads.map(refusal, range(8))
        programs = list(threads.map(program, _ROWS * 2, networks))
        assert all(refused)
    assert (sys.stdout, sys.stderr, torch.backends.mkldnn.enabled, torch.is_grad_enabled()) == before
    expected = [bytes(exported(name, models.linear).get_pte_buffer()) for name in _ROWS]
    assert programs == expected * 2
