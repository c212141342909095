"""One run of Vela over the graphs of a program, with upstream's own packing of what comes out. No torch here, so that a
worker process starts fast."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import io
import signal
import struct
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from arm_recipes.errors import ToolError

_UPSTREAM = "executorch.backends.arm.arm_vela"


class VelaFailure(Exception):
    """Vela could not compile a graph; the text is Vela's own."""


@dataclass(frozen=True)
class Compiled:
    """What Vela made of one graph.

    Attributes:
        payload: what the .pte holds for the delegate.
        summary: Vela's summary table, by the column names of its CSV file.
        layers: its table of layers, likewise; empty without the flag that asks for it.
        printed: all that Vela printed.
    """

    payload: bytes
    summary: dict[str, str]
    layers: tuple[dict[str, str], ...]
    printed: str


@dataclass(frozen=True)
class Outline:
    """A `Compiled` without the payload, which is too large to send between processes.

    Attributes:
        payload_bytes: the payload's size.
        payload_digest: its SHA-256.
        summary: as in `Compiled`.
        layers: likewise.
    """

    payload_bytes: int
    payload_digest: bytes
    summary: dict[str, str]
    layers: tuple[dict[str, str], ...]


def compile_graph(graph: bytes, flags: Sequence[str]) -> Compiled:
    """Compile a TOSA graph.

    Args:
        graph: as upstream's TOSABackend serialises it.
        flags: Vela's, as `EthosUCompileSpec` makes them.

    Raises:
        VelaFailure: Vela did not compile it.
        ToolError: Vela is missing.
    """
    upstream = _upstream()
    printed = io.StringIO()
    limit = sys.getrecursionlimit()  # Vela's main sets it
    with tempfile.TemporaryDirectory(prefix="arm_recipes_") as folder:
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                result: Any = upstream.vela_compile(graph, list(flags), intermediate_path=folder)
        except (Exception, SystemExit) as error:
            raise VelaFailure(_reason(error, printed.getvalue())) from error
        finally:
            sys.setrecursionlimit(limit)
        (summary,) = _rows(Path(folder), "*_summary_*.csv")
        layers = _rows(Path(folder), "*_per-layer.csv")
        return Compiled(result.processed_bytes, summary, tuple(layers), printed.getvalue())


def outline(graphs: Sequence[bytes], flags: Sequence[str]) -> tuple[Outline, ...]:
    """Compile each of `graphs`: the task of a worker process.

    Raises:
        VelaFailure: as `compile_graph`.
    """
    # A flag for what Vela reports, which has no part in what it makes.
    made = (compile_graph(graph, [*flags, "--verbose-performance"]) for graph in graphs)
    return tuple(
        Outline(len(each.payload), hashlib.sha256(each.payload).digest(), each.summary, each.layers) for each in made
    )


def blocks(payload: bytes) -> dict[str, bytes]:
    """The blocks of a delegate's payload by name: ``cmd_data``, ``weight_data``, ``scratch_size``...

    Upstream packs each as 16 bytes of name, 4 of length, 12 of other things, and the content, padded to 16 bytes.
    """
    found, place = {}, 0
    while place < len(payload):
        name, length = struct.unpack_from("<16sI", payload, place)
        found[name.rstrip(b"\0").decode()] = payload[place + 32 : place + 32 + length]
        place += 32 + -(-length // 16) * 16
    return found


def start_worker() -> None:
    """Prepare a worker process: Ctrl-C in a terminal goes to all processes, and is for the main one to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _upstream()


def _upstream() -> ModuleType:
    """Upstream's wrapper of Vela. Its package imports torch, which it does not need itself; so where that has not
    happened anyway, its file is loaded by itself."""
    if _UPSTREAM in sys.modules:
        return sys.modules[_UPSTREAM]
    name = "arm_recipes._arm_vela"
    if name in sys.modules:
        return sys.modules[name]
    package = importlib.util.find_spec("executorch")
    places = package.submodule_search_locations if package is not None else None
    files = [Path(place, *_UPSTREAM.split(".")[1:]).with_suffix(".py") for place in places or ()]
    file = next((each for each in files if each.is_file()), None)
    spec = importlib.util.spec_from_file_location(name, file) if file else None
    if spec is None or spec.loader is None:
        raise ToolError(f"{_UPSTREAM} is not here. Install it with: pip install 'executorch[ethos-u]'")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _rows(folder: Path, pattern: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for file in folder.rglob(pattern):
        with file.open(encoding="utf-8", newline="") as lines:
            rows += csv.DictReader(lines)
    return rows


def _reason(error: BaseException, printed: str) -> str:
    if isinstance(error, SystemExit):
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        return " ".join(lines[-3:]) or f"Vela ended with status {error.code} and without a word"
    return str(getattr(error, "data", error)).strip() or type(error).__name__
