"""One run of Vela over the graphs of a program, with upstream's own packing of what comes out. No torch here, so that a
worker process starts fast."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import multiprocessing
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from arm_recipes.errors import ToolError
from arm_recipes.tools.alone import ALONE
from arm_recipes.tools.processes import end_with

from .estimates import read_layers, read_summary
from .installed import OTHER_VELA, muted, temporary_without_spaces

_logger = logging.getLogger("arm_recipes.vela")

_UPSTREAM = "executorch.backends.arm.arm_vela"

# A flag for what Vela reports, which has no part in what it compiles.
WITH_LAYERS = "--verbose-performance"


class VelaFailure(Exception):
    """Vela could not compile a graph; the text is Vela's own."""


@dataclass(frozen=True)
class Compiled:
    """What Vela made of one graph.

    Attributes:
        payload: bytes that the .pte holds for the delegate.
        summary: Vela's summary, by the column names of its CSV file.
        layers: Vela's table of layers, by the column names of its CSV file; empty without the flag that asks for it.
    """

    payload: bytes
    summary: dict[str, str]
    layers: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Outline:
    """A `Compiled` without the payload, which is too large to send between processes.

    Attributes:
        payload_bytes: size of the payload in bytes.
        payload_digest: SHA-256 of the payload.
        summary: Vela's summary, by the column names of its CSV file.
        layers: Vela's table of layers, by the column names of its CSV file.
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
        ToolError: Vela is missing, or its estimates are not of the form that is known here.
    """
    upstream = _upstream()
    with temporary_without_spaces(), tempfile.TemporaryDirectory(prefix="arm_recipes_") as folder:
        with muted() as printed:
            try:
                result: Any = upstream.vela_compile(graph, list(flags), intermediate_path=folder)
            except (Exception, SystemExit) as error:
                raise VelaFailure(_reason(error, printed.getvalue())) from error
        summaries = list(Path(folder).rglob("*_summary_*.csv"))
        if len(summaries) != 1:
            raise ToolError(
                f"Vela wrote {len(summaries)} files *_summary_*.csv for a graph, and should write one. {OTHER_VELA}"
            )
        layers = [row for file in Path(folder).rglob("*_per-layer.csv") for row in read_layers(file)]
        return Compiled(result.processed_bytes, read_summary(summaries[0]), tuple(layers))


def outline(graphs: Sequence[bytes], flags: Sequence[str]) -> tuple[Outline, ...]:
    """Compile each of `graphs`: the task of a worker process.

    Raises:
        VelaFailure: as `compile_graph`.
    """
    results = (compile_graph(graph, [*flags, WITH_LAYERS]) for graph in graphs)
    return tuple(
        Outline(len(compiled.payload), hashlib.sha256(compiled.payload).digest(), compiled.summary, compiled.layers)
        for compiled in results
    )


@contextlib.contextmanager
def printed_to_log(level: int) -> Iterator[io.StringIO]:
    """Collect what Vela prints while it compiles, and send it to the logger ``arm_recipes.vela``."""
    printed = io.StringIO()
    try:
        with ALONE, contextlib.redirect_stdout(printed):
            yield printed
    finally:
        if printed.getvalue().strip():
            _logger.log(level, "%s", printed.getvalue().strip())


def start_worker() -> None:
    """Prepare a worker process: Ctrl-C in a terminal goes to all processes, and is for the main one to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with(parent.pid, parent.sentinel)
    _upstream()


def _upstream() -> ModuleType:
    """Upstream's wrapper of Vela. Its package imports torch, which it does not need itself; so where that has not
    happened anyway, its file is loaded by itself."""
    # Upstream: executorch.backends.arm imports torch in its __init__. Holds for executorch 1.5.1;
    # tests/tools/test_upstream_vela.py::test_the_wrapper_s_package_needs_torch fails when it can go.
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


def _reason(error: BaseException, printed: str) -> str:
    if isinstance(error, SystemExit):
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        return " ".join(lines[-3:]) or f"Vela ended with status {error.code} and without a word"
    return str(getattr(error, "data", error)).strip() or type(error).__name__
