"""Simulators that are missing, crash, hang or are killed: an error of ours, in time, and nothing of them goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from arm_recipes import SimulationError, ToolError, verify
from arm_recipes.simulators.simulate import simulate
from arm_recipes.simulators.worker import messages, process
from arm_recipes.tools import qemu, vulkan
from tests import models
from tests.exports import exported

pytestmark = [
    pytest.mark.no_cover,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals, and scripts as tools"),
]

_INPUTS = models.linear().inputs

# What stands for a tool, in sh; and what is said of it.
_TOOLS = {
    "crashes": ("kill -SEGV $$", "was ended by SIGSEGV"),
    "is killed": ("kill -KILL $$", "was ended by SIGKILL"),
    "fails": ("echo no such device; exit 3", "no such device"),
    "hangs": ("echo $$ > {pid}; exec sleep 300", "within {seconds} s, and was stopped"),
    "hangs behind a script": ("sleep 300 & echo $! > {pid}; wait", "within {seconds} s, and was stopped"),
}


def _tool(file: Path, does: str, pid: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{does.format(pid=pid)}\n")
    file.chmod(0o755)
    return file


def _ended(pid: Path) -> bool:
    """Whether what wrote its number to a file, if anything did, is no more. It may take a moment to be cleaned up."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("module", "recipe", "fault", "told"),
    [
        ("tosa", "TOSA_INT8", signal.SIGKILL, "was ended by SIGKILL while it ran the program. "),
        ("tosa", "TOSA_INT8", signal.SIGSEGV, "was ended by SIGSEGV while it ran the program. "),
        ("tosa", "TOSA_INT8", None, "did not answer within 4 s, and was stopped. Give verify a longer timeout="),
        ("edge", "CORTEX_M55_INT8", signal.SIGKILL, "was ended by SIGKILL while it ran the program. "),
    ],
    ids=["killed", "crashes", "hangs", "Cortex-M, killed"],
)
def test_a_worker_while_it_runs(
    module: str, recipe: str, fault: signal.Signals | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = simulate(exported(recipe, models.linear), timeout=60 if fault else 4)
    expected = program(*_INPUTS)
    pid = process.running(module, "it")._process.pid
    os.kill(pid, signal.SIGSTOP)  # in the middle of its answer
    read = messages.read

    def fail_and_read(stream: BinaryIO) -> Any:  # it has its request by then
        for number in (fault, signal.SIGCONT) if fault else ():
            os.kill(pid, number)
        return read(stream)

    with monkeypatch.context() as patch, pytest.raises(SimulationError, match=told):
        patch.setattr(messages, "read", fail_and_read)
        program(*_INPUTS)
    assert not Path(f"/proc/{pid}").exists()
    assert program(*_INPUTS).equal(expected)


@contextlib.contextmanager
def _another_reference_model(folder: Path, code: str) -> Iterator[None]:
    (folder / "tosa_reference_model.py").write_text(code)
    process.stop("tosa")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    process.stop("tosa")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "raise ImportError('no libstdc++')",
            r"ended with status 1 as it started\. .*no libstdc\+\+\. arm-recipes doc",
        ),
        ("import os; os.kill(os.getpid(), 11)", r"was ended by SIGSEGV as it started\. arm-recipes doctor looks"),
        ("import time; time.sleep(300)", "did not start within 1 s, and was stopped"),
    ],
    ids=["missing", "crashes", "hangs"],
)
def test_a_worker_that_does_not_start(code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = exported("TOSA_INT8", models.linear)
    if "sleep" in code:
        monkeypatch.setattr(process, "_STARTUP_SECONDS", 1.0)
    with _another_reference_model(tmp_path, code), pytest.raises(SimulationError, match=told):
        verify(session, _INPUTS)
    assert verify(session, _INPUTS).samples == 1


@pytest.mark.cortex_m
@pytest.mark.parametrize(
    ("name", "packaged"),
    [*((name, False) for name in _TOOLS), ("crashes", True), ("hangs behind a script", True)],
)
def test_a_qemu(name: str, packaged: bool, tmp_path: Path) -> None:
    does, told = _TOOLS[name]
    pid, folder = tmp_path / "pid", tmp_path / "folder"
    folder.mkdir()
    program = _tool(tmp_path / qemu.QEMU, does, pid)
    run, inputs = qemu.run_semihosted, [b"one"]
    runner = qemu.Runner(tmp_path / "runner.elf", packaged=False)
    if packaged:
        pytest.importorskip("elftools")
        found = qemu._packaged()
        if found is None:
            pytest.skip(f"{qemu.PACKAGE} is not here")
        run, inputs, runner = qemu.run_packaged, b"one", qemu.Runner(found, packaged=True)  # type: ignore[assignment]
    with pytest.raises(SimulationError) as caught:
        run(program, runner, b"program", inputs, folder, timeout=1 if "sleep" in does else 60)
    assert told.format(seconds=1) in str(caught.value) and qemu.QEMU in str(caught.value)
    assert _ended(pid)


@pytest.mark.cortex_m
def test_a_qemu_that_can_t_be_started(tmp_path: Path) -> None:
    program = tmp_path / qemu.QEMU
    program.write_text("#!/nowhere\n")
    program.chmod(0o755)
    with pytest.raises(SimulationError, match="qemu-system-arm can't be started: .*No such file"):
        qemu.run_semihosted(program, qemu.Runner(tmp_path, packaged=False), b"", [], tmp_path, timeout=1)


@pytest.mark.parametrize(
    ("does", "told"),
    [*list(_TOOLS.values())[1:], ("exit 0", "ld-linux-x86-64.so.2 wrote nothing that can be read")],
    ids=[*list(_TOOLS)[1:], "writes nothing"],
)
def test_an_emulation_of_vulkan(does: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree with a loader that does so: Arm's own programs are started by it."""
    session, pid, tree = exported("VGF_INT8", models.linear), tmp_path / "pid", tmp_path / "tree"
    _tool(tree / "lib64/ld-linux-x86-64.so.2", does, pid)
    driver = tree / "usr/share/vulkan/icd.d/lvp_icd.json"
    driver.parent.mkdir(parents=True)
    driver.touch()
    monkeypatch.setenv(vulkan.ROOT, str(tree))
    try:
        vulkan.find_scenario_runner()
        vulkan.find_vgf_dump()
    except ToolError as missing:
        pytest.skip(f"{missing}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(SimulationError) as caught:
        verify(session, _INPUTS, simulator="vulkan", timeout=5 if "sleep" in does else 60)
    assert told.format(seconds=5) in str(caught.value) and "emulation layer for Vulkan" in str(caught.value)
    assert "longer timeout=" in str(caught.value) or f"environment variable {vulkan.ROOT}" in str(caught.value)
    assert _ended(pid)
