"""Cortex-M programs on an emulated Cortex-M55: QEMU, and Arm's runner where its kernels are those of the program."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_recipes import ArmRecipeError, ArmRecipeType, SimulationError, ToolError, export, report, verify
from arm_recipes.simulators.simulate import simulate
from arm_recipes.tools import qemu
from tests import models, tiny_models
from tests.exports import random_samples
from tests.models import Example, seeded

_ROW = ArmRecipeType.CORTEX_M55_INT8


class Parts(nn.Module):
    """Two linear layers and what a function makes of their outputs."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.a(x), self.b(x))


# What the packaged runner has kernels for; convolutions, additions and tables are of another executorch there.
_FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "softmax": lambda a, b: a.softmax(-1),
    "product": lambda a, b: a * b,
    "maximum": lambda a, b: torch.maximum(a, b),
    "cat": lambda a, b: torch.cat([a, b], 1).permute(0, 2, 1),
    "image": lambda a, b: a.view(1, 2, 4, 4).to(memory_format=torch.channels_last).flip(3),
    "float": lambda a, b: (a.exp().amax(1), b.abs().cumsum(1)),
    "outputs": lambda a, b: (a.argmax(-1), b.unsqueeze(1), a > 0),
    "six dimensions": lambda a, b: a.view(1, 2, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4),
}


@pytest.fixture
def runner() -> None:
    try:
        qemu.find("cortex-m55")
        import elftools  # noqa: F401
    except (ToolError, ModuleNotFoundError) as missing:
        pytest.skip(f"{missing}")


def _example(name: str) -> Example:
    return seeded(lambda: Parts(_FUNCTIONS[name]), (1, 4, 8))


@pytest.mark.needs("qemu")
@pytest.mark.usefixtures("runner")
@pytest.mark.no_cover
@pytest.mark.parametrize("name", _FUNCTIONS)
def test_the_reference_simulators_numbers_are_the_boards(name: str) -> None:
    example = _example(name)
    samples = random_samples(example, 2)
    session = export(example.model, _ROW, samples, allow_portable_fallback=True)
    given = simulate(session, simulator="qemu")(*samples[0])
    expected = simulate(session)(*samples[0])
    for one, other in zip(_leaves(given), _leaves(expected), strict=True):
        assert torch.equal(one, other)


def _leaves(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)


@pytest.mark.needs("qemu")
@pytest.mark.usefixtures("runner")
def test_an_autoencoder_is_verified_and_its_pools_are_as_told() -> None:
    example = tiny_models.deep_autoencoder()
    samples = random_samples(example, 2)
    session = export(example.model, _ROW, samples)
    runner = qemu.find("cortex-m55")[1].path
    result = verify(session, samples, simulator="qemu", runner=runner)
    assert result.failed_gates == ()
    assert any("mlek_inference_runner.axf on qemu-system-arm" in note for note in result.notes)
    method, temp = (int(word.replace(",", "")) for word in result.notes[-1].split() if word.replace(",", "").isdigit())
    pools = report(session).methods[0].pools
    assert pools is not None
    inputs = samples[0][0].numel() * 4
    assert pools.method_bytes + inputs < method <= pools.runner_method_bytes + inputs + 64
    assert 0 < temp <= pools.temp_bytes


@pytest.mark.needs("qemu")
@pytest.mark.usefixtures("runner")
def test_what_the_runner_has_not_is_told() -> None:
    example = models.conv_net()
    session = export(example.model, _ROW, random_samples(example, 2))
    with pytest.raises(SimulationError, match=r"Expected 14args received 15.*of another executorch than the program"):
        simulate(session, simulator="qemu")(*example.inputs)
    example = seeded(lambda: nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()), (1, 8))
    session = export(example.model, _ROW, random_samples(example, 2))
    with pytest.raises(SimulationError, match=r"has no cortex_m::quantized_activation\.out, which the program calls"):
        simulate(session, simulator="qemu")(*example.inputs)
    example = models.linear()
    session = export(example.model, _ROW, random_samples(example, 2))
    with pytest.raises(SimulationError, match=r"did not end within 0\.01 s, and was stopped"):
        simulate(session, simulator="qemu", timeout=0.01)(*example.inputs)


def test_what_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = models.linear()
    with pytest.raises(ArmRecipeError, match="shows nothing of a program's inside"):
        verify(example.model, ArmRecipeType.CORTEX_M55_INT8, example.inputs, simulator="qemu", per_layer=True)
    with pytest.raises(ToolError, match="programs for cortex-m4 are made for other kernels"):
        verify(example.model, ArmRecipeType.CORTEX_M4_INT8, example.inputs, simulator="qemu")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(qemu.RUNNER, str(tmp_path / "none.elf"))
    with pytest.raises(ToolError, match=r"qemu-system-arm is not on PATH and ARM_RECIPES_RUNNER='.*none\.elf' is no"):
        verify(example.model, ArmRecipeType.CORTEX_M55_INT8, example.inputs, simulator="qemu")


# Takes the command line of executorch's runner with semihosting, and answers with each input's bytes.
_STAND_IN = """#!{python}
import pathlib, sys
given = sys.argv[1:]
config = given[given.index("-semihosting-config") + 1].split(",")
assert config[:2] == ["enable=on", "target=native"], config
words = [word.removeprefix("arg=") for word in config[2:]]
assert words[0] == "executor_runner" and pathlib.Path(dict(zip(words[1::2], words[2::2]))["-m"]).is_file()
assert given[:2] == ["-M", "mps3-an547"]
mode = pathlib.Path(given[given.index("-kernel") + 1]).read_text()
if mode == "fail":
    print("E [executorch:method.cpp:85 Init()] Backend EthosUBackend is not registered.")
    sys.exit(255)
for index, name in enumerate(word for key, word in zip(words, words[1:]) if key == "-i"):
    pathlib.Path(f"out-{index}.bin").write_bytes(pathlib.Path(name).read_bytes())
"""


def test_executorchs_own_runner_is_driven_by_semihosting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for QEMU: there is no such runner here."""
    stand_in, runner, folder = tmp_path / qemu.QEMU, tmp_path / "runner.elf", tmp_path / "folder"
    stand_in.write_text(_STAND_IN.replace("{python}", sys.executable))
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(qemu.RUNNER, str(runner))
    runner.write_text("work")
    found = qemu.find("cortex-m85")
    assert not found[1].packaged and shutil.which(qemu.QEMU) == str(found[0])
    folder.mkdir()
    ran = qemu.run_semihosted(*found, b"program", [b"one", b"two"], folder, timeout=30)
    assert ran.outputs == b"onetwo"
    runner.write_text("fail")
    with pytest.raises(SimulationError, match=r"failed\. It said: E \[executorch:.*\] Backend EthosUBackend is not"):
        qemu.run_semihosted(*found, b"program", [b"one"], folder, timeout=30)
