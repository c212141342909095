"""The command on a machine that lacks something, or whose user has had enough: a sentence, and nothing half done."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .forked import Command, Done, Machine, can_mount, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ethos_u,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets up disks, and rights, as Linux has them"),
]

_EXPORT = ["export", "model.py", "-r", "ethosu-u55-int8", "--shape", "1x3x8x8"]
_NEVER_WRITTEN = "No .pte was written. --log FILE keeps all that was said, and the traceback.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a model, and an empty folder for outputs."""
    (tmp_path / "model.py").write_text(
        "import torch\ntorch.manual_seed(0)\nmodel = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU())\n"
    )
    (tmp_path / "out").mkdir()
    return tmp_path


@functools.cache
def _mounts() -> bool:
    return can_mount()


@pytest.fixture
def mounts() -> None:
    if not _mounts():
        pytest.skip("no process here may have disks of its own")


def _files(done: Done) -> list[str]:
    return [name for name in done.left if not name.startswith("model.py ")]


_OUTPUTS = {
    "pte": (["--output", "out/a.pte"], "out/a.pte"),
    "folder": (["--output", "out"], "out/model_ethosu_u55_int8.pte"),
    "report": (["--output", "a.pte", "--report", "out/r.html"], "out/r.html"),
    "etrecord": (["--output", "out/a.pte", "--etrecord"], "out/a.etrecord"),
    "intermediates": (["--output", "a.pte", "--intermediates", "out/i"], "out/i"),
}


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(("given", "file"), _OUTPUTS.values(), ids=_OUTPUTS)
def test_a_disk_that_is_full(given: list[str], file: str, folder: Path) -> None:
    done = run([*_EXPORT, *given], folder, Machine(small={folder / "out": 4096}))
    assert done.status == 2
    assert file in done.err and "No space left on device" in done.err and "Traceback" not in done.err
    assert [name for name in _files(done) if "tmp" in name or name.endswith(".pte 0")] == []


@pytest.mark.usefixtures("mounts")
def test_a_log_on_a_full_disk_costs_no_program(folder: Path) -> None:
    machine = Machine(small={folder / "out": 4096})
    done = run([*_EXPORT, "--output", "a.pte", "--log", "out/log.txt"], folder, machine)
    assert done.status == 0
    assert (folder / "a.pte").stat().st_size > 3000


@pytest.mark.usefixtures("mounts")
def test_what_was_there_before_stays(folder: Path) -> None:
    (folder / "out" / "a.pte").write_bytes(b"before")
    done = run([*_EXPORT, "--output", "out/a.pte", "--force"], folder, Machine(read_only=[folder / "out"]))
    assert done.status == 2 and "out can't be written to" in done.err
    assert (folder / "out" / "a.pte").read_bytes() == b"before"


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("recipe", ["ethosu-u55-int8", "vgf-int8"])
def test_a_temporary_folder_that_is_full(recipe: str, folder: Path) -> None:
    temporary = folder / "out"
    line = ["export", "model.py", "-r", recipe, "--shape", "1x3x8x8", "--output", "a.pte"]
    machine = Machine(environment={"TMPDIR": str(temporary)}, small={temporary: 4096})
    done = run(line, folder, machine)
    assert done.status == 1
    assert f"Temporary files are in {temporary}: free some space there, or set TMPDIR" in " ".join(done.err.split())
    assert done.err.endswith(_NEVER_WRITTEN)
    assert _files(done) == []
    told = run(["doctor"], folder, machine)
    assert told.status == 1
    text = " ".join(told.out.split())
    assert "temporary folder broken" in text and "set TMPDIR to another folder" in text


_MACHINES: dict[str, Callable[[Path], Machine]] = {
    "as it is": lambda folder: Machine(),
    "no such temporary folder": lambda folder: Machine({"TMPDIR": str(folder / "not there")}),
    "a temporary folder with a space": lambda folder: Machine({"TMPDIR": str(_made(folder / "a b"))}),
    "a temporary folder with other letters": lambda folder: Machine({"TMPDIR": str(_made(folder / "\u00fc \u6f22"))}),
    "a HOME that is not there": lambda folder: Machine({"HOME": "/nonexistent"}),
}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_what_makes_no_difference(folder: Path) -> None:
    programs = {}
    for name, machine in _MACHINES.items():
        done = run([*_EXPORT, "--output", f"{name}.pte", "--report", f"{name}.html"], folder, machine(folder))
        assert (done.status, "Traceback" in done.err) == (0, False), (name, done.err)
        programs[name] = (folder / f"{name}.pte").read_bytes()
    assert len(set(programs.values())) == 1


@pytest.mark.usefixtures("mounts")
def test_a_bare_environment_and_site_packages_that_are_read_only(folder: Path) -> None:
    """In a process that is not forked: Python reads LANG and the like, and would write .pyc files, as it starts."""
    bare = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[1])}  # no HOME, TERM, LANG
    done = subprocess.run(
        [sys.executable, "-m", "arm_recipes", *_EXPORT, "--output", "out/\u00fc.pte", "--report", "out/r.html"],
        cwd=folder,
        env=bare,
        preexec_fn=Machine(read_only=[Path(sysconfig.get_path("purelib"))]).set_up,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    run([*_EXPORT, "--output", "as it is.pte"], folder)
    assert (folder / "out" / "\u00fc.pte").read_bytes() == (folder / "as it is.pte").read_bytes()


_DENIED = {
    "a folder to write to": (
        "out",
        0o500,
        ["--output", "out/a.pte"],
        "out can't be written to. Give another --output.",
    ),
    "a report's folder": ("out", 0o500, ["--output", "a.pte", "--report", "out/r.html"], "out can't be written to"),
    "a model": ("model.py", 0o000, ["--output", "a.pte"], "model.py"),
    "data": ("data.npy", 0o000, ["--output", "a.pte", "--calibration", "data.npy"], "data.npy"),
    "a folder of data": ("data", 0o000, ["--output", "a.pte", "--calibration", "data"], "data"),
    "a vela.ini": ("v.ini", 0o000, ["--output", "a.pte", "-o", "config_ini=v.ini"], "v.ini"),
}


@pytest.mark.parametrize(("name", "mode", "given", "told"), _DENIED.values(), ids=_DENIED)
def test_no_permission(name: str, mode: int, given: list[str], told: str, folder: Path) -> None:
    path = folder / name
    if not path.exists():
        path.mkdir() if name == "data" else path.write_text("")
    path.chmod(mode)
    done = run([*_EXPORT, *given], folder, Machine(no_rights=True))
    path.chmod(0o700)
    assert done.status == 2, done.err
    assert told in done.err and "Traceback" not in done.err
    assert [name for name in _files(done) if name.startswith(("a.pte", "out"))] == []


_STAGES = [
    ("executorch.export.stages", "TorchExportStage.run", signal.SIGINT),
    ("executorch.export.stages", "QuantizeStage.run", signal.SIGHUP),
    ("executorch.export.stages", "EdgeTransformAndLowerStage.run", signal.SIGINT),
    ("executorch.backends.arm.ethosu.backend", "vela_compile", signal.SIGTERM),
    ("executorch.export.stages", "ExecutorchStage.run", signal.SIGINT),
    ("arm_recipes.checking.run", "check", signal.SIGTERM),
    ("arm_recipes.reporting.build", "report", signal.SIGINT),
    ("os", "replace", signal.SIGTERM),
]


@pytest.mark.parametrize(("module", "function", "number"), _STAGES, ids=[name for _, name, _ in _STAGES])
def test_a_signal_at_each_stage(module: str, function: str, number: signal.Signals, folder: Path) -> None:
    temporary = _made(folder / "temporary")
    machine = Machine({"TMPDIR": str(temporary)}, interrupted=(module, function, number))
    done = run([*_EXPORT, "--output", "out/a.pte"], folder, machine)
    assert done.status == 128 + number, done.err
    assert "Traceback" not in done.err and len(done.err.strip().splitlines()) <= 6
    written = module == "arm_recipes.reporting.build"  # and whole, before it was reported
    assert [name.split()[0] for name in _files(done)] == ["out/a.pte"] * written
    assert [path.name for path in temporary.iterdir() if not path.name.startswith("torchinductor_")] == []
    assert _running_in(folder) == []


def _running_in(folder: Path) -> list[str]:
    """Command lines of processes that have the folder as their current one, after a while in which they may end."""
    for _ in range(100):
        running = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                if (process / "cwd").readlink().is_relative_to(folder):
                    running.append((process / "cmdline").read_text().replace("\0", " "))
        if not running:
            break
        time.sleep(0.1)
    return running


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("executorch.backends.arm.ethosu.backend", "vela_compile"),
        ("arm_recipes.simulators.worker.messages", "read"),  # the simulator runs
        ("os", "replace"),
    ],
)
def test_killed_at_a_stage(module: str, function: str, folder: Path) -> None:
    """Nothing can be undone then. What there is has its whole content, and no process goes on."""
    machine = Machine({"TMPDIR": str(_made(folder / "temporary"))}, interrupted=(module, function, signal.SIGKILL))
    assert run([*_EXPORT, "--output", "out/a.pte"], folder, machine).status == -signal.SIGKILL
    assert not (folder / "out/a.pte").exists()
    assert _running_in(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_simulator_runs(number: signal.Signals, folder: Path) -> None:
    line = ["verify", "model.py", "-r", "ethosu-u55-int8", "--shape", "1x3x8x8", "--report", "out/r.html"]
    machine = Machine(interrupted=("arm_recipes.simulators.worker.messages", "read", number))
    done = run(line, folder, machine)
    assert done.status == 128 + number, done.err
    assert "Traceback" not in done.err and _files(done) == [] and _running_in(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_sweep_runs(number: signal.Signals, folder: Path) -> None:
    """What is done is kept, and the status is that of the signal all the same."""
    line = ["sweep", "model.py", "-r", "ethosu-u55-int8", "--shape", "1x3x8x8", "--macs", "64", "--workers", "1"]
    machine = Machine(interrupted=("arm_recipes.sweeping.store", "Store.add", number))
    done = run([*line, "--resume", "out/s.json", "--json"], folder, machine)
    assert done.status == 128 + number, done.err
    told = json.loads(done.out)
    assert (told["status"], told["result"]["interrupted"], "Traceback" in done.err) == (done.status, True, False)
    assert [name.split()[0] for name in _files(done)] == ["out/s.json"] and _running_in(folder) == []


def test_two_processes_write_one_file(folder: Path) -> None:
    lines = [[*_EXPORT, "--output", "new/a.pte", "--intermediates", f"new/i{index}", "--force"] for index in range(2)]
    for done in [each.done() for each in [Command(line, folder) for line in lines]]:
        assert done.status == 0, done.err
    run([*_EXPORT, "--output", "alone.pte"], folder)
    assert (folder / "new/a.pte").read_bytes() == (folder / "alone.pte").read_bytes()
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["a.pte", "i0", "i1"]


_CONVERTERS = {
    "crashes": ("kill -SEGV $$", "SIGSEGV"),
    "is killed": ("kill -KILL $$", "SIGKILL"),
    "fails": ("echo no such operator >&2; exit 3", "no such operator"),
    "writes nothing": ("exit 0", "wrote none"),
}


def _converter(folder: Path, does: str) -> Machine:
    program = folder / "model-converter"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    return Machine({"MODEL_CONVERTER_PATH": str(program)})


_VGF = ["export", "model.py", "-r", "vgf-int8", "--shape", "1x3x8x8", "--output", "out/a.pte"]


@pytest.mark.vgf
@pytest.mark.parametrize(("does", "told"), _CONVERTERS.values(), ids=_CONVERTERS)
def test_a_converter_that(does: str, told: str, folder: Path) -> None:
    done = run(_VGF, folder, _converter(folder, does))
    assert done.status == 1, done.err
    assert told in done.err and "Traceback" not in done.err
    assert [name for name in _files(done) if name.startswith("out")] == []


def _ended_while_a_tool_hangs(line: list[str], number: signal.Signals, folder: Path, machine: Machine) -> None:
    command = Command(line, folder, machine)
    pid = folder / "pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert command.process.pid is not None
    assert pid.exists(), command.done().err
    os.kill(command.process.pid, number)
    done = command.done()
    assert done.status == (-number if number == signal.SIGKILL else 128 + number), done.err
    assert not (folder / "out/a.pte").exists() and _running_in(folder) == []


@pytest.mark.vgf
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_converter_that_hangs_ends_with_the_command(number: signal.Signals, folder: Path) -> None:
    machine = _converter(folder, f"echo $$ > {folder}/pid; exec sleep 300")
    _ended_while_a_tool_hangs(_VGF, number, folder, machine)


_KERNELS = "quantize_per_tensor", "dequantize_per_tensor", "quantized_linear"


@pytest.mark.cortex_m
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_board_that_hangs_ends_with_the_command(number: signal.Signals, folder: Path) -> None:
    program = folder / "bin/qemu-system-arm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncd {folder}; echo $$ > pid; exec sleep 300\n")
    program.chmod(0o755)
    (folder / "linear.py").write_text("import torch\nmodel = torch.nn.Linear(4, 4).eval()\n")
    (folder / "runner.elf").write_bytes(b"".join(f"cortex_m::{kernel}.out\0".encode() for kernel in _KERNELS))
    line = ["verify", "linear.py", "-r", "cortex-m55-int8", "--shape", "1x4", "--simulator", "qemu"]
    machine = Machine({"PATH": f"{program.parent}:{os.environ['PATH']}"})
    _ended_while_a_tool_hangs([*line, "--runner", "runner.elf"], number, folder, machine)
