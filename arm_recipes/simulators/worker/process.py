"""A simulator's process, seen from here: started when first needed, used again, killed when it takes too long."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from typing import Any

from arm_recipes.errors import SimulationError
from arm_recipes.tools.processes import ELSEWHERE, how_it_ended

from . import messages

_STARTUP_SECONDS = 120.0
_RUN = "import runpy; runpy.run_module(sys.argv[1], run_name='__main__')"


class Process:
    """Runs one of the worker modules of this package.

    Attributes:
        name: name of the simulator that uses it now, for messages.
        loaded: what it was given to run, by name.
    """

    def __init__(self, module: str, name: str) -> None:
        self.name = name
        self.loaded: set[str] = set()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        # The folders that this process imports from, wherever they came from.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
        reading, held = (None, None) if os.name == "nt" else os.pipe()
        self._held: int | None = held
        run = [sys.executable, "-c", f"{ELSEWHERE}{_RUN}", f"{__package__}.{module}"]
        self._process = subprocess.Popen(
            [*run, str(os.getpid()), str(reading or 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            pass_fds=() if reading is None else (reading,),
        )
        if reading is not None:
            os.close(reading)
        self._lock = threading.Lock()
        self._started = False

    def wait_until_started(self) -> None:
        """
        Raises:
            SimulationError: it does not start.
        """
        if not self._started:
            self.call({"do": "start"}, {}, timeout=_STARTUP_SECONDS)
            self._started = True

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(
        self, header: dict[str, Any], arrays: messages.Arrays, *, timeout: float
    ) -> tuple[dict[str, Any], messages.Arrays]:
        """Send a message and wait for its answer, for `timeout` seconds at most.

        Raises:
            SimulationError: the process ended or took too long, either of which ends it, or it answered with an error.
        """
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(timeout, kill)
        with self._lock:
            timer.start()
            try:
                messages.write(self._process.stdin, header, arrays)  # type: ignore[arg-type]
                answer, results = messages.read(self._process.stdout)  # type: ignore[arg-type]
            except (EOFError, OSError) as error:
                raise SimulationError(self._epitaph(timeout if late.is_set() else None)) from error
            except BaseException:  # such as Ctrl-C: the answer that is on its way must not be the next call's
                self._process.kill()
                self._process.wait()
                raise
            finally:
                timer.cancel()
                timer.join()  # it may be at it already
            if late.is_set():  # just after the answer
                raise SimulationError(self._epitaph(timeout))
        if "error" in answer:
            raise SimulationError(f"{self.name} can't run the program: {answer['error']}.")
        return answer, results

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._held is not None:
            os.close(self._held)
            self._held = None
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not sent any more
                    stream.close()

    def _epitaph(self, timeout: float | None) -> str:
        status = self._process.wait()
        if timeout is not None:
            advice = "Give verify a longer timeout=, or a smaller model." if self._started else "Is this machine busy?"
            did = "answer" if self._started else "start"
            return f"{self.name} did not {did} within {timeout:g} s, and was stopped. {advice}"
        self._said.seek(0)
        words = self._said.read().decode(errors="replace").strip().splitlines()[-5:]
        said = f" It said last: {' / '.join(words)}." if words else ""
        if not self._started:
            return (
                f"{self.name} {how_it_ended(status)} as it started.{said} arm-recipes doctor looks at what is "
                "installed here."
            )
        return (
            f"{self.name} {how_it_ended(status)} while it ran the program.{said} The program may be broken; export "
            "once more, and report this with the model if it happens again."
        )


_RUNNING: dict[str, Process] = {}


def running(module: str, name: str) -> Process:
    """The process that runs a worker module, for the simulator `name`; one that died is replaced.

    Raises:
        SimulationError: it does not start.
    """
    process = start(module, name)
    process.wait_until_started()
    return process


def start(module: str, name: str) -> Process:
    """The same, which may be starting still: that takes seconds, in which there is other work to do."""
    known = _RUNNING.get(module)
    if known is None or not known.alive:
        if known is not None:
            known.close()
        else:
            atexit.register(stop, module)
        _RUNNING[module] = Process(module, name)
    process = _RUNNING[module]
    process.name = name  # several simulators share a module
    return process


def stop(module: str) -> None:
    """End the process of a worker module, if there is one."""
    process = _RUNNING.pop(module, None)
    if process is not None:
        process.close()
