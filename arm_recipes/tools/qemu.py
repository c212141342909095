"""QEMU's board with a Cortex-M55, and runners for it: where they are here, and how they run. No torch here."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from arm_recipes.errors import SimulationError, ToolError

from .processes import how_it_ended, kill_group, run_tool, started

QEMU = "qemu-system-arm"
MACHINE = "mps3-an547"  # a Corstone-300: Cortex-M55 with MVE, no NPU
RUNNER = "ARM_RECIPES_RUNNER"
PACKAGE = "mlia-ethos-u"
INSTALL = (
    "Install QEMU 7 or newer (Debian's package qemu-system-arm), and a runner: pip install 'arm_recipes[emulation]', "
    f"or give executorch's arm_executor_runner as runner= or {RUNNER}, built for Corstone-300 with semihosting."
)
TARGETS = ("cortex-m55", "cortex-m85")  # whose programs have kernels for MVE

# Arm's inference runner of PACKAGE: where it reads and writes, and what it says.
_PROGRAM, _INPUT, _OUTPUT = 0x90000000, 0x92000000, 0x93000000
_NPU = "arm_ethosu_npu_init"
_RETURN_0 = bytes.fromhex("00207047")  # movs r0, #0; bx lr
_WRITTEN = re.compile(r"(\d+) output tensor/s worth (\d+) bytes copied to 0x93000000")
_USED = re.compile(r"(Method|Temp) memory: Used: \d+; Peak: (\d+)")
_END = re.compile(r"program terminating|Hard fault|HardFault")
# What the runtime says of an error; the types of a call's arguments say nothing more.
_WRONG = re.compile(
    r"[EF] \[(?:ExecuTorch: |executorch:)(?!.*arg \d+ with type id).*|ERROR - .*|.*[Hh]ard ?[Ff]ault.*"
    r"|.*assert failed.*"
)
_OLDER = re.compile(r"Expected \d+args received \d+")


@dataclass(frozen=True)
class Runner:
    """An ELF file for the board that runs a .pte.

    Attributes:
        path: the file.
        packaged: whether it is the one of PACKAGE, that takes its data from memory, and not executorch's own.
    """

    path: Path
    packaged: bool

    def lacks(self, kernels: frozenset[str]) -> list[str]:
        """Of `kernels`, e.g. ``aten::add.out``, those whose name isn't in the file."""
        content = self.path.read_bytes()
        return sorted(kernel for kernel in kernels if kernel.encode() + b"\0" not in content)


@dataclass(frozen=True)
class Ran:
    """What came of a run.

    Attributes:
        outputs: the bytes of all outputs, one after the other.
        method_bytes: most that was taken of the method allocator; None where the runner doesn't say.
        temp_bytes: most that was taken of the temporary allocator; the same.
    """

    outputs: bytes
    method_bytes: int | None = None
    temp_bytes: int | None = None


def find(target: str, runner: str | None = None) -> tuple[Path, Runner]:
    """QEMU, and the runner.

    Args:
        target: of the recipe, e.g. ``cortex-m55``.
        runner: path of it; None for the one that ARM_RECIPES_RUNNER names, or else that of the package.

    Raises:
        ToolError: something is missing, or the board is not for `target`.
    """
    if target not in TARGETS:
        raise ToolError(
            f"simulator='qemu': {MACHINE} has a Cortex-M55, and programs for {target} are made for other kernels. "
            f"Allowed: recipes for {', '.join(TARGETS)}. Leave out simulator= to verify on the reference simulator."
        )
    qemu, named = shutil.which(QEMU), runner or os.environ.get(RUNNER)
    file = Path(named) if named else _packaged()
    lacking = [f"{QEMU} is not on PATH"] if qemu is None else []
    if file is None:
        lacking.append(f"{RUNNER} is not set and the package {PACKAGE} is not installed")
    elif not file.is_file():
        lacking.append(f"{'runner' if runner else RUNNER}={named!r} is no file")
    if qemu is None or file is None or lacking:
        raise ToolError(
            f"simulator='qemu': {' and '.join(lacking)}. {INSTALL} Or leave out simulator= to verify on the reference "
            "simulator."
        )
    return Path(qemu), Runner(file, packaged=_NPU.encode() in file.read_bytes())


def _packaged() -> Path | None:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    found = [file for file in files if re.search(r"sse-300-.*executorch.*/\w+\.axf$", file.as_posix())]
    return Path(str(found[0].locate())) if found else None


def run_packaged(qemu: Path, runner: Runner, program: bytes, inputs: bytes, folder: Path, *, timeout: float) -> Ran:
    """Run a program's first method on the package's runner.

    Args:
        qemu: its executable.
        runner: the package's.
        program: the .pte.
        inputs: the bytes of all inputs, one after the other.
        folder: an empty one of the caller's.
        timeout: seconds.

    Raises:
        ToolError: the runner is not known here, or QEMU can't be started.
        SimulationError: the run failed, or took too long.
    """
    kernel = folder / "runner.axf"
    kernel.write_bytes(_without_npu(runner.path))
    (folder / "program.pte").write_bytes(program)
    (folder / "inputs").write_bytes(inputs)
    loaded = [(folder / "program.pte", _PROGRAM), *([(folder / "inputs", _INPUT)] if inputs else [])]
    command = [str(qemu), "-M", MACHINE, "-nographic", "-monitor", "none", "-serial", "stdio", "-kernel", str(kernel)]
    command += ["-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
    for file, address in loaded:
        command += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
    with started(command, name=QEMU, stderr=subprocess.STDOUT) as process:
        timer = threading.Timer(timeout, kill_group, [process])
        timer.start()
        try:
            said = _until_the_end(process.stdout)
            late = not timer.is_alive()
            written = _WRITTEN.search(said)
            if written is None or _END.search(said) is None:
                raise SimulationError(_failure(said, _end(process), timeout if late else None))
            outputs = _memory(folder, _OUTPUT, int(written[2]))
        finally:
            timer.cancel()
            timer.join()  # it may be at it already
    used = {name: int(peak) for name, peak in _USED.findall(said)}
    return Ran(outputs, used.get("Method"), used.get("Temp"))


def run_semihosted(
    qemu: Path, runner: Runner, program: bytes, inputs: list[bytes], folder: Path, *, timeout: float
) -> Ran:
    """The same on executorch's arm_executor_runner with semihosting, which reads and writes files of `folder`."""
    (folder / "program.pte").write_bytes(program)
    arguments = ["executor_runner", "-m", "program.pte", "-o", "out"]
    for index, value in enumerate(inputs):
        (folder / f"i{index}.bin").write_bytes(value)
        arguments += ["-i", f"i{index}.bin"]
    config = ",".join(f"arg={argument}" for argument in arguments)
    command: list[str | Path] = [qemu, "-M", MACHINE, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", f"enable=on,target=native,{config}", "-kernel", runner.path]
    finished = run_tool(
        command,
        name=QEMU,
        timeout=timeout,
        cwd=folder,
        error=SimulationError,
        advice="Give verify a longer timeout=.",
    )
    if finished.status != 0:
        raise SimulationError(_failure(finished.said, finished.end if finished.status < 0 else "", None))
    outputs = sorted(folder.glob("out-*.bin"), key=lambda file: int(file.stem.rpartition("-")[2]))
    return Ran(b"".join(file.read_bytes() for file in outputs))


def _without_npu(runner: Path) -> bytes:
    """The runner with a start of its NPU that does nothing, as the board has none."""
    try:
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection
    except ModuleNotFoundError as error:
        raise ToolError(f"simulator='qemu' needs the package pyelftools. {INSTALL}") from error
    content = bytearray(runner.read_bytes())
    with runner.open("rb") as stream:
        file = ELFFile(stream)
        symbols = file.get_section_by_name(".symtab")
        found = symbols.get_symbol_by_name(_NPU) if isinstance(symbols, SymbolTableSection) else None
        if not found:
            raise ToolError(f"{runner} has no symbol {_NPU}, which the runner of {PACKAGE} 0.1.0 has. {INSTALL}")
        address = found[0]["st_value"] & ~1
        for segment in file.iter_segments():
            start = segment["p_vaddr"]
            if segment["p_type"] == "PT_LOAD" and start <= address < start + segment["p_filesz"]:
                offset = address - start + segment["p_offset"]
                content[offset : offset + len(_RETURN_0)] = _RETURN_0
    return bytes(content)


def _until_the_end(stream: IO[str] | None) -> str:
    assert stream is not None
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if _END.search(line):
            break
    return "".join(lines)


def _end(process: subprocess.Popen[str]) -> str:
    """How QEMU ended; nothing where it didn't, and only the program on its board did."""
    try:
        return how_it_ended(process.wait(1))
    except subprocess.TimeoutExpired:
        return ""


def _memory(folder: Path, address: int, size: int) -> bytes:
    """The board's memory, by QEMU's own protocol."""
    copy = folder / "memory"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(folder / "qmp"))
            with connection.makefile("rw") as stream:
                stream.readline()  # the greeting
                save = {"val": address, "size": size, "filename": str(copy)}
                for request in ({"execute": "qmp_capabilities"}, {"execute": "pmemsave", "arguments": save}):
                    answer = _answer(stream, request)
                    if "error" in answer:
                        raise SimulationError(f"{QEMU} can't show the board's memory: {answer['error'].get('desc')}.")
        return copy.read_bytes()
    except (OSError, json.JSONDecodeError) as error:  # it ended meanwhile
        raise SimulationError(f"{QEMU} did not show the board's memory: {error}. Run it once more.") from error


def _answer(stream: IO[str], request: dict[str, Any]) -> dict[str, Any]:
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    while True:
        answer: dict[str, Any] = json.loads(stream.readline())
        if "event" not in answer:
            return answer


def _failure(said: str, end: str, timeout: float | None) -> str:
    told = list(dict.fromkeys(_WRONG.findall(said)))
    words = " / ".join(told[:4]) or " / ".join(said.strip().splitlines()[-3:]) or "nothing"
    if timeout is not None:
        return (
            f"{QEMU} did not end within {timeout:g} s, and was stopped. The runner said: {words}. Give more "
            "as timeout=."
        )
    if _OLDER.search(said):
        words += (
            f". Its kernels are of another executorch than the program: set {RUNNER} to a runner of executorch 1.5.1"
        )
    return f"The runner on {QEMU} failed{f', as that {end}' if end else ''}. It said: {words}."
