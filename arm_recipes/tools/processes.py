"""Running a program with a time limit, and what it said last; workers that end with their parent. No torch here."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            preexec_fn=END_WITH_THREAD,
        )
    except subprocess.TimeoutExpired as expired:
        raise error(f"{name} did not answer within {timeout:g} s, and was stopped. {advice}".rstrip()) from expired
    except OSError as problem:
        raise error(f"{name} can't be started: {problem}.") from problem
    return Finished(done.returncode, done.stdout + done.stderr)


# PR_SET_PDEATHSIG, which Linux has. Made here, as a process between fork and exec had better do little.
_ON_DEATH_OF_PARENT = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
# For subprocess: has a program end with the thread that starts it, whatever ends that. None where there is no such.
END_WITH_THREAD = None if _prctl is None else functools.partial(_prctl, _ON_DEATH_OF_PARENT, int(signal.SIGKILL))

# Python puts the current folder first on the path of what is given by -c or -m: a file numpy.py there would run.
ELSEWHERE = "import sys; sys.path[:] = filter(None, sys.path); "


def end_with(parent: int) -> None:
    """End this process within a second or two of the one that started it, whatever ends that; not on Windows.

    Args:
        parent: the other's process ID.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    if os.name != "nt":
        threading.Thread(target=watch, daemon=True).start()
