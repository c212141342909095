"""Processes of the package: they end with the one that started them, and see nothing of the current folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]

# Vela and the reference model hold Python's lock while they compute, so that no other thread runs; so does this.
_COMPUTES = "import ctypes, os; open(f'runs{os.getpid()}', 'w').close(); ctypes.PyDLL(None).sleep(60)"
_SWEEP = f"""
import pathlib, time
from arm_recipes.sweeping.executors import _processes
with _processes(2) as pool:
    tasks = [pool.submit(exec, {_COMPUTES!r}) for _ in range(2)]
    while len(list(pathlib.Path().glob("runs*"))) < 2:
        time.sleep(0.05)
    print(*pool._processes, flush=True)
    time.sleep(60)
"""
_SIMULATOR = """
import time
from arm_recipes.simulators.worker.process import running
process = running("tosa", "it")
print(process._process.pid, flush=True)
process._process.send_signal(19)  # it does not see that its input ends
time.sleep(60)
"""
_COMPUTING = f"""
import os, pathlib, sys, threading, time
open("tosa_reference_model.py", "w").write("def run(*a, **k):\\n    {_COMPUTES}")
sys.path.insert(0, os.getcwd())
import numpy as np
from arm_recipes.simulators.worker.process import running
process = running("tosa", "it")
process.call({{"do": "load", "graph": ""}}, {{"graph": np.zeros(1)}}, timeout=60)
given = {{"do": "run", "graph": ""}}, {{}}
threading.Thread(target=process.call, args=given, kwargs={{"timeout": 60}}, daemon=True).start()
while not list(pathlib.Path().glob("runs*")):
    time.sleep(0.05)
print(process._process.pid, flush=True)
time.sleep(60)
"""

_TOOL = """
import os, threading, time
from arm_recipes.tools.processes import run_tool
command = ["sh", "-c", "echo $$ > pid; exec sleep 60"]
threading.Thread(target=run_tool, args=[command], kwargs={"name": "it", "timeout": 60}, daemon=True).start()
while not (os.path.exists("pid") and open("pid").read().strip()):
    time.sleep(0.05)
print(open("pid").read(), flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def _started(code: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that starts others, and their IDs."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-c", f"import sys; sys.path[:] = filter(None, sys.path); {code}"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            yield parent, [int(word) for word in parent.stdout.readline().split()]
        finally:
            parent.kill()


def _alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc who is alive")
@pytest.mark.parametrize(
    "code", [_SWEEP, _SIMULATOR, _COMPUTING, _TOOL], ids=["sweep", "simulator", "simulator that computes", "tool"]
)
def test_they_end_with_their_parent(code: str, tmp_path: Path) -> None:
    with _started(code, tmp_path) as (parent, workers):
        assert workers and all(map(_alive, workers))
        parent.kill()
        parent.wait()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)
        deadline = time.monotonic() + 30
        while any(map(_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(map(_alive, workers))


@pytest.mark.parametrize("code", [_SWEEP, _SIMULATOR], ids=["sweep", "simulator"])
def test_they_run_no_file_of_the_current_folder(code: str, tmp_path: Path) -> None:
    if code is _SWEEP and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 puts the current folder on the path of processes that multiprocessing starts")
    for name in ("numpy", "pickle", "multiprocessing", "arm_recipes", "runpy"):
        (tmp_path / f"{name}.py").write_text(f"open('ran', 'w').write({name!r})\nraise SystemExit(1)\n")
    with _started(code, tmp_path) as (_, workers):
        assert workers
    assert not (tmp_path / "ran").exists()


_WRITES = """
import os, signal, sys, threading
from pathlib import Path
from arm_recipes.cli import group
from arm_recipes.files import replacing

def write(*arguments, **options):
    with replacing(Path("model.pte")) as file:
        file.write(b"half")
        os.kill(os.getpid(), signal.{name})
        threading.Event().wait(30)

group.{place} = write
sys.exit(group.main(["list"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("place", ["_run", "cli.main"])  # click turns what it catches into an exception of its own
def test_a_signal_leaves_nothing_half_written(name: str, place: str, tmp_path: Path) -> None:
    code = _WRITES.format(name=name, place=place if place == "_run" else "list_recipes.callback")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.strip()) == (
        128 + getattr(signal, name),
        f"ended by {name}; no file is left half-written",
    )
    assert list(tmp_path.iterdir()) == []


_IMPORTS = """
import importlib.abc, os, signal, sys, time
class Interrupted(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "{name}":
            os.kill(os.getpid(), signal.{number})
            time.sleep(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background has not
sys.meta_path.insert(0, Interrupted())
from arm_recipes.__main__ import main
sys.argv[1:] = ["export", "model.py", "-r", "tosa-fp", "--shape", "1x4"]
sys.exit(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("click", "SIGINT"),
        ("arm_recipes.recipes.catalog", "SIGINT"),
        ("torch", "SIGINT"),
        ("torch", "SIGTERM"),
        ("torch", "SIGHUP"),
        ("executorch.exir", "SIGINT"),
    ],
)
def test_a_signal_while_it_is_imported(name: str, number: str, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import torch\nmodel = torch.nn.Linear(4, 4).eval()\n")
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS.format(name=name, number=number)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    last = done.stderr.strip().splitlines()[-1]
    told = "interrupted" if number == "SIGINT" else f"ended by {number}"
    assert (done.returncode, last) == (128 + getattr(signal, number), f"{told}; no file is left half-written")
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]
