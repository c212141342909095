"""The driver of Arm's FVPs, with a stand-in for the FVP that takes the same command line. No FVP is run here."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.export import ExportSession, StageType
from torch import Tensor

from arm_recipes import ArmRecipeError, ArmRecipeType, ModelError, SimulationError, ToolError, export, verify
from arm_recipes.cli import group
from arm_recipes.tools.fvp import RUNNER
from tests import models

# Looks up what to answer by the inputs' bytes; the file that stands for the runner says what else to do.
_STAND_IN = """#!{python}
import hashlib, json, os, pathlib, shlex, signal, sys, time
given = sys.argv[1:]
settings = dict(given[at + 1].split("=", 1) for at, word in enumerate(given) if word == "-C")
(cpu,) = [key.partition(".semihosting-cwd")[0] for key in settings if key.endswith(".semihosting-cwd")]
assert settings[cpu + ".semihosting-enable"] == "1"
folder = pathlib.Path(settings[cpu + ".semihosting-cwd"])
line = settings[cpu + ".semihosting-cmd_line"]
assert line[0] == line[-1] == "'" and len(line) <= 256
words = shlex.split(line[1:-1])
assert words[0] == "executor_runner"
pairs = list(zip(words[1::2], words[2::2]))
inputs = [(folder / value).read_bytes() for key, value in pairs if key == "-i"]
runner = pathlib.Path(given[given.index("-a") + 1])
answers = runner.parent / "answers"
(runner.parent / "seen.json").write_text(json.dumps(settings))
(runner.parent / "seen.pte").write_bytes((folder / dict(pairs)["-m"]).read_bytes())
mode = runner.read_text()
if mode == "hang": time.sleep(60)
if mode.startswith("SIG"): os.kill(os.getpid(), getattr(signal, mode))
if mode == "fault": print("Hard fault at 0x0")
if mode == "error": print("E [executor_runner] missing operator")
if mode == "crash": print("no license", file=sys.stderr); sys.exit(9)
if mode != "silent":
    answer = (answers / hashlib.sha256(b"".join(inputs)).hexdigest()).read_bytes()
    (folder / (dict(pairs)["-o"] + "-0.bin")).write_bytes(answer[: 3 if mode == "short" else None])
"""

_DATA = [tuple(torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for shape in shapes)
         for shapes in [((1, 3, 8, 8), (1, 2, 8, 8))] for seed in range(3)]  # fmt: skip


class _Place:
    """A folder on PATH with a stand-in, and a runner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runner = folder / "runner.elf"
        self.runner.write_text("work")
        (folder / "answers").mkdir()

    def install(self, program: str) -> None:
        file = self.folder / program
        file.write_text(_STAND_IN.replace("{python}", sys.executable))
        file.chmod(0o755)

    def teach(self, inputs: list[Tensor], output: Tensor) -> None:
        key = hashlib.sha256(b"".join(value.numpy().tobytes() for value in inputs)).hexdigest()
        (self.folder / "answers" / key).write_bytes(output.detach().numpy().tobytes())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Place:
    made = _Place(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(RUNNER, str(made.runner))
    return made


@pytest.fixture(scope="module")
def sessions() -> dict[str, ExportSession]:
    example = models.two_inputs()
    options: dict[str, Any] = {"CORTEX_M55_INT8": {"io_layout": "channels_last"}}
    return {
        name: export(example.model, ArmRecipeType[name], example.inputs, calibration=_DATA, **options.get(name, {}))
        for name in ("ETHOSU_U55_INT8", "CORTEX_M55_INT8")
    }


def _quantized(session: ExportSession, inputs: tuple[Tensor, ...]) -> Tensor:
    module = session.get_stage_artifacts()[StageType.QUANTIZE].data["forward"]
    output: Tensor = module(*inputs)
    return output


@pytest.mark.parametrize(
    ("name", "program", "npu"),
    [
        ("ETHOSU_U55_INT8", "FVP_Corstone_SSE-300_Ethos-U55", "128"),
        ("CORTEX_M55_INT8", "FVP_Corstone_SSE-300_Ethos-U55", None),
    ],
)
def test_the_pte_and_every_sample_go_over_and_the_outputs_come_back(
    name: str, program: str, npu: str | None, place: _Place, sessions: dict[str, ExportSession]
) -> None:
    """The stand-in knows the quantized module's answers, by the bytes of the inputs as the program takes them."""
    session = sessions[name]
    place.install(program)
    for inputs in _DATA:
        nhwc = name == "CORTEX_M55_INT8"
        given = [value.permute(0, 2, 3, 1).contiguous() if nhwc else value for value in inputs]
        output = _quantized(session, inputs)
        place.teach(given, output.permute(0, 2, 3, 1).contiguous() if nhwc else output.contiguous())
    report = verify(session, _DATA, simulator="fvp", min_sqnr=20)
    assert report.failed_gates == () and report.samples == 3
    assert report.simulator == program
    assert report.integers[0].exact
    assert report.delegates == ()
    assert (place.folder / "seen.pte").read_bytes() == session.get_pte_buffer()
    seen = (place.folder / "seen.json").read_text()
    assert ('"ethosu.num_macs": "128"' in seen) is (npu is not None)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("hang", "FVP_Corstone_SSE-300_Ethos-U55 did not answer within 1 s, and was stopped."),
        ("SIGSEGV", "was ended by SIGSEGV. It said: nothing. Is the runner"),
        ("SIGKILL", "was ended by SIGKILL. It said: nothing. Is the runner"),
        ("crash", "ended with status 9. It said: no license."),
        ("fault", "It said: Hard fault at 0x0."),
        ("error", r"It said: E \[executor_runner\] missing operator\. Is the runner in ARM_RECIPES_FVP_RUNNER"),
        ("silent", "left 0 bytes of an output of 1,024."),
        ("short", "left 3 bytes of an output of 1,024."),
    ],
)
def test_what_goes_wrong_on_it(mode: str, message: str, place: _Place, sessions: dict[str, ExportSession]) -> None:
    place.install("FVP_Corstone_SSE-300_Ethos-U55")
    session = sessions["ETHOSU_U55_INT8"]
    place.teach(list(_DATA[0]), _quantized(session, _DATA[0]))
    place.runner.write_text(mode)
    with pytest.raises(SimulationError, match=message):
        verify(session, _DATA, simulator="fvp", timeout=1 if mode == "hang" else 60)


def test_what_is_missing_is_said_before_the_export(
    place: _Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["verify", "no.py", "--simulator", "fvp", "-r"]
    assert group.main([*line, "ethosu-u85-int8"]) == 2
    assert "error: simulator='fvp': FVP_Corstone_SSE-320 is not on PATH. Install" in capsys.readouterr().err
    place.install("FVP_Corstone_SSE-320")
    monkeypatch.setenv(RUNNER, "/nowhere")
    assert group.main([*line, "cortex-m85-int8"]) == 2
    assert f"error: simulator='fvp': {RUNNER}='/nowhere' is no file. Install" in capsys.readouterr().err
    assert group.main([*line, "cortex-m4-int8"]) == 2
    assert "Arm has no FVP with a cortex-m4 that" in capsys.readouterr().err
    assert group.main([*line, "ethosu-u85-int8", "--per-layer"]) == 2
    assert "shows nothing of a program's inside, and so no layers." in capsys.readouterr().err


@pytest.mark.no_cover
def test_what_the_library_refuses(place: _Place, sessions: dict[str, ExportSession]) -> None:
    with pytest.raises(ToolError, match="FVP_Corstone_SSE-300_Ethos-U55 is not on PATH"):
        verify(sessions["ETHOSU_U55_INT8"], _DATA, simulator="fvp")
    place.install("FVP_Corstone_SSE-300_Ethos-U55")
    with pytest.raises(ArmRecipeError, match="no layers"):
        verify(sessions["ETHOSU_U55_INT8"], _DATA, simulator="fvp", per_layer=True)
    example = models.conv_net()
    both = export(
        {"a": example.model, "b": example.model},
        ArmRecipeType.ETHOSU_U55_INT8,
        {"a": example.inputs, "b": example.inputs},
    )
    with pytest.raises(ModelError, match="runs a program's only method, and this one has several"):
        verify(both, [example.inputs], simulator="fvp", method="a")
