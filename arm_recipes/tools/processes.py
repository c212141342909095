"""Running a program with a time limit, and what it said last; workers that end with their parent. No torch here."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arm_recipes.errors import ArmRecipeError, ToolError


@dataclass(frozen=True)
class Finished:
    """A program that ended by itself.

    Attributes:
        status: exit status; negative for the signal that ended it.
        said: standard output, then standard error.
    """

    status: int
    said: str

    @property
    def end(self) -> str:
        """How it ended, e.g. ``ended with status 3``, ``was ended by SIGSEGV``."""
        return how_it_ended(self.status)

    def last_words(self, lines: int = 3) -> str:
        """The last lines that it printed, in one; ``nothing`` where there are none."""
        return " / ".join(self.said.strip().splitlines()[-lines:]) or "nothing"


def run_tool(
    command: Sequence[str | Path],
    *,
    name: str,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    error: type[ArmRecipeError] = ToolError,
    advice: str = "",
) -> Finished:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        name: what to call it in messages.
        timeout: seconds that it may take.
        cwd: its working directory; this process's if None.
        env: its environment; this process's if None.
        error: what is raised.
        advice: the end of the message where it took too long.

    Raises:
        ArmRecipeError: it took too long, or can't be started: of the class `error`.
    """
    try:
        with started(command, name=name, error=error, cwd=cwd, env=env, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        raise error(f"{name} did not answer within {timeout:g} s, and was stopped. {advice}".rstrip()) from expired
    return Finished(process.returncode, out + err)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], *, name: str, error: type[ArmRecipeError] = ToolError, **how: Any
) -> Iterator[subprocess.Popen[str]]:
    """A program whose output can be read, in a group of its own: what of it has not ended by itself is ended with the
    context. Some programs are scripts that start the real one.

    Args:
        command: the program and its arguments.
        name: what to call it in messages.
        error: what is raised.
        how: further arguments of `subprocess.Popen`.

    Raises:
        ArmRecipeError: it can't be started: of the class `error`.
    """
    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=END_WITH_THREAD,
            **how,
        )
    except OSError as problem:
        raise error(f"{name} can't be started: {problem}.") from problem
    with process:
        try:
            yield process
        finally:
            kill_group(process)


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a program of `started`, and what it started."""
    if process.returncode is not None:  # it was waited for, and its number may be another's
        return
    if os.name == "nt":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what macOS says of one that has ended
            os.killpg(process.pid, signal.SIGKILL)


def how_it_ended(status: int) -> str:
    """In words, e.g. ``ended with status 3``, ``was ended by SIGSEGV``.

    Args:
        status: exit status; negative for the signal that ended it.
    """
    if status >= 0:
        return f"ended with status {status}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was ended by {names.get(-status, f'signal {-status}')}"


# PR_SET_PDEATHSIG, which Linux has. Made here, as a process between fork and exec had better do little.
_ON_DEATH_OF_PARENT = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
# For subprocess: has a program end with the thread that starts it, whatever ends that. None where there is no such.
END_WITH_THREAD = None if _prctl is None else functools.partial(_prctl, _ON_DEATH_OF_PARENT, int(signal.SIGKILL))

# Python puts the current folder first on the path of what is given by -c or -m: a file numpy.py there would run.
ELSEWHERE = "import sys; sys.path[:] = filter(None, sys.path); "


def end_with(parent: int, held: int | None) -> None:
    """End this process within a second or two of the one that started it, whatever ends that; not on Windows.

    Args:
        parent: the other's process ID.
        held: reading end of a pipe of which the other holds the writing end, and that nothing more comes from.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    if os.name != "nt":
        threading.Thread(target=watch, daemon=True).start()
    # The thread stands still while Vela or the reference model computes, as they hold Python's lock all the while. The
    # kernel does not: when the pipe's other end closes it sends SIGIO, which ends a process that doesn't handle it.
    if held is not None and sys.platform in ("linux", "darwin"):
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(held, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(held, fcntl.F_SETFL, fcntl.fcntl(held, fcntl.F_GETFL) | os.O_ASYNC)


def kill_workers(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool with what they are at, for which its `shutdown` would wait."""
    # Python 3.14 has it as a method.
    for process in list((pool._processes or {}).values()):
        process.kill()
