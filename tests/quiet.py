"""For scripts that run many exports: others stay silent, and results are kept in a file and not made again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


@contextlib.contextmanager
def others_silent() -> Iterator[TextIO]:
    """What libraries and tools print goes away; what is yielded is standard error as it was."""
    before = os.dup(1), os.dup(2)
    with open(os.devnull, "w") as nothing, os.fdopen(os.dup(2), "w") as terminal:  # noqa: PTH123
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
        try:
            yield terminal
        finally:
            for stream, old in zip((1, 2), before, strict=True):
                os.dup2(old, stream)
                os.close(old)


def run_in_parts(jobs: int, *command: str) -> None:
    """Run what is running in several processes, each with a part of the work: ``--part 0/JOBS`` and so on.

    Args:
        jobs: number of processes.
        command: what this one is, after Python: a file, or ``-m`` and a module.
    """
    own = [sys.executable, *command, *sys.argv[1:], "--jobs", "1"]
    for process in [subprocess.Popen([*own, "--part", f"{number}/{jobs}"]) for number in range(jobs)]:
        process.wait()


def results_in(path: Path, *key: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The results in a file, one a line, by their values of `key`; of equal ones the last. A line cut off is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return {tuple(each[name] for name in key): each for each in found}


def add_result(path: Path, result: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
