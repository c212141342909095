"""The command in a process of its own, on a machine that lacks something. It is forked from a process that has imported
what the command does: a tenth of a second and not six.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import multiprocessing
import os
import signal
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

_CLONE_NEWNS, _MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITIES = 0x20080522  # Linux' version of the call


@dataclass(frozen=True)
class Machine:
    """What is other than on a good one.

    Attributes:
        environment: variables; None for one that is unset.
        small: folders that are disks of their own, with so many bytes.
        read_only: folders that nothing can be written to.
        no_rights: root may do only what a file's permissions say.
        interrupted: a function, as module and qualified name, and the signal that the process gets when it is called.
    """

    environment: Mapping[str, str | None] = field(default_factory=dict)
    small: Mapping[Path, int] = field(default_factory=dict)
    read_only: Sequence[Path] = ()
    no_rights: bool = False
    interrupted: tuple[str, str, signal.Signals] | None = None

    def set_up(self) -> None:
        for name, value in self.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None  # as a new process has it
        if self.small or self.read_only:
            _call("unshare", _CLONE_NEWNS)
            _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        for folder, size in self.small.items():
            _call("mount", b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size}".encode())
        for folder in self.read_only:
            _call("mount", bytes(folder), bytes(folder), None, _MS_BIND, None)
            _call("mount", None, bytes(folder), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY, None)
        if self.no_rights:
            _drop(_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH)
        if self.interrupted is not None:
            _interrupt(*self.interrupted)


class Done(NamedTuple):
    status: int | None
    """None where it did not end within the time."""
    out: str
    err: str
    left: list[str]
    """What is in the current folder then, with sizes, as the process sees it."""


class Command:
    """The command, started in a folder."""

    def __init__(self, arguments: Sequence[str], folder: Path, machine: Machine = Machine()) -> None:
        self._mine, theirs = _FORKS.Pipe()
        self.process = _FORKS.Process(target=_run, args=(list(arguments), folder, machine, theirs))
        self.process.start()
        theirs.close()

    def done(self, timeout: float = 120) -> Done:
        """Wait for its end."""
        said: tuple[str, str, list[str]] = ("", "", [])
        with contextlib.suppress(EOFError):
            if self._mine.poll(timeout):
                said = self._mine.recv()
        self.process.join(10)
        status = self.process.exitcode
        self.process.kill()
        return Done(status, *said)


def run(arguments: Sequence[str], folder: Path, machine: Machine = Machine()) -> Done:
    """Run the command to its end."""
    return Command(arguments, folder, machine).done()


def _run(arguments: list[str], folder: Path, machine: Machine, told: Any) -> None:
    from arm_recipes.cli import group

    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background has not
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            machine.set_up()
            status = group.main(arguments)
        except BaseException as error:
            told.send((out.getvalue(), f"{err.getvalue()}{type(error).__name__}: {error}", _files()))
            raise
    told.send((out.getvalue(), err.getvalue(), _files()))
    sys.exit(status)


def _files() -> list[str]:
    return sorted(f"{path} {path.stat().st_size}" for path in Path().rglob("*") if path.is_file())


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def can_mount() -> bool:
    """Whether a process here may have disks of its own."""
    process = _FORKS.Process(target=_try_to_mount)
    process.start()
    process.join(60)
    return bool(process.exitcode == 0)


def _try_to_mount() -> None:
    Machine(read_only=[Path("/usr")]).set_up()


def _drop(*capabilities: int) -> None:
    """Of this process's effective and permitted ones."""
    if os.geteuid():
        return
    header = struct.pack("Ii", _CAPABILITIES, 0)
    data = ctypes.create_string_buffer(24)
    _call("capget", header, data)
    sets = list(struct.unpack("6I", data.raw))
    for capability in capabilities:
        sets[0] &= ~(1 << capability)
        sets[1] &= ~(1 << capability)
    _call("capset", header, struct.pack("6I", *sets))


def _interrupt(module: str, name: str, number: signal.Signals) -> None:
    """Have this process get a signal when a function is called."""
    *path, last = name.split(".")
    owner: Any = functools.reduce(getattr, path, importlib.import_module(module))
    known = getattr(owner, last)

    def interrupted(*arguments: Any, **given: Any) -> Any:
        os.kill(os.getpid(), number)
        return known(*arguments, **given)

    setattr(owner, last, interrupted)


_FORKS: Any = None
if sys.platform.startswith("linux"):
    _FORKS = multiprocessing.get_context("forkserver")
    _FORKS.set_forkserver_preload(
        ["arm_recipes.cli.export", "arm_recipes.session.export", "arm_recipes.reporting.build", "executorch.exir"]
    )
