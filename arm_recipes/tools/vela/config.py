"""What the installed Vela knows, asked of Vela itself: accelerators, configuration files, command-line flags.

No torch here. Importing this module needs no Vela; its functions raise `ToolError` where Vela is missing.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import io
import logging
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from arm_recipes.errors import ToolError

STOCK_CONFIG = "Arm/vela.ini"

_logger = logging.getLogger("arm_recipes.vela")


class VelaRefusal(Exception):
    """Vela does not accept a configuration or a flag; the text is Vela's own."""


@dataclass(frozen=True)
class ConfigFile:
    """A Vela configuration file.

    Attributes:
        argument: what to give to ``--config`` so that Vela reads this very file.
        path: where the file is.
        stock: whether it is one that Vela ships.
        system_configs: names of its ``[System_Config.*]`` sections.
        memory_modes: names of its ``[Memory_Mode.*]`` sections.
    """

    argument: str
    path: Path
    stock: bool
    system_configs: tuple[str, ...]
    memory_modes: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """Vela's estimate for one delegated subgraph. No figure in it was measured on hardware.

    Attributes:
        cycles: of one inference, at the accelerator's clock.
        milliseconds: of one inference, which is `cycles` at `clock_mhz`.
        clock_mhz: the system configuration's clock.
        npu_cycles: in which the NPU computes.
        sram_access_cycles: in which SRAM is read or written; likewise the others. All of these overlap.
        macs: multiply-accumulates of one inference.
        memory_kib: KiB used by memory, e.g. ``{"SRAM": 353.5, "Off-chip Flash": 3614.2}``.
    """

    cycles: int
    milliseconds: float
    clock_mhz: float
    npu_cycles: int
    sram_access_cycles: int
    dram_access_cycles: int
    on_chip_flash_access_cycles: int
    off_chip_flash_access_cycles: int
    macs: int
    memory_kib: dict[str, float]


def parse_estimates(printed: str) -> tuple[Estimate, ...]:
    """Read the estimates out of what Vela prints with ``--verbose-cycle-estimate``, as every recipe has it do."""
    estimates = []
    for summary in printed.split("Network summary for ")[1:]:

        def figure(pattern: str, summary: str = summary) -> float:
            found = re.search(rf"^{pattern}\s+([\d.]+)", summary, re.MULTILINE)
            return float(found[1]) if found else math.nan

        cycles, clock = figure("Total cycles"), figure("Accelerator clock")
        used = re.findall(r"^Total (.+?) used\s+([\d.]+) KiB", summary, re.MULTILINE)
        estimates.append(
            Estimate(
                cycles=int(cycles),
                milliseconds=cycles / clock / 1e3,
                clock_mhz=clock,
                npu_cycles=int(figure("NPU cycles")),
                sram_access_cycles=int(figure("SRAM Access cycles")),
                dram_access_cycles=int(figure("DRAM Access cycles")),
                on_chip_flash_access_cycles=int(figure("On-chip Flash Access cycles")),
                off_chip_flash_access_cycles=int(figure("Off-chip Flash Access cycles")),
                macs=int(figure("Neural network macs")),
                memory_kib={memory: float(kib) for memory, kib in used},
            )
        )
    return tuple(estimates)


def _vela() -> ModuleType:
    try:
        from ethosu.vela import vela
    except ImportError as error:
        raise ToolError(
            f"Ethos-U recipes need Arm's Vela compiler, which can't be imported here ({error}). "
            "Install it with: pip install 'executorch[ethos-u]'"
        ) from error
    module: ModuleType = vela
    return module


@contextlib.contextmanager
def _muted() -> Iterator[io.StringIO]:
    """Collect what Vela prints, and undo the recursion limit that its `main` sets."""
    limit = sys.getrecursionlimit()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield printed
    finally:
        sys.setrecursionlimit(limit)


@contextlib.contextmanager
def printed_to_log(level: int) -> Iterator[io.StringIO]:
    """Collect what Vela prints while it compiles, and send it to the logger ``arm_recipes.vela``."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield printed
    finally:
        if printed.getvalue().strip():
            _logger.log(level, "%s", printed.getvalue().strip())


def macs(target: str) -> tuple[int, ...]:
    """MAC counts that Vela compiles `target` (e.g. ``ethos-u55``) for, ascending."""
    return tuple(sorted(int(name.rpartition("-")[2]) for name in accelerators() if name.startswith(f"{target}-")))


def accelerators() -> tuple[str, ...]:
    """What Vela compiles for, e.g. ``ethos-u55-128``."""
    return tuple(_vela().architecture_features.Accelerator.member_list())


def optimisations() -> tuple[str, ...]:
    """Names of Vela's optimisation strategies."""
    return tuple(_vela().scheduler.OptimizationStrategy.__members__)


def read_config(config: str) -> ConfigFile:
    """Find and read the configuration file `config` as Vela would.

    A relative path of two parts (``Arm/vela.ini``) means a file that Vela ships. Vela reads nothing else by
    such a path, so one that exists only below the working directory is handed to it as ``./dir/file.ini``.

    Raises:
        VelaRefusal: it is not there, can't be read, or is not an .ini file.
    """
    shipped = Path(_vela().architecture_features.CONFIG_FILES_PATH)
    given = Path(config).expanduser()
    stock = not given.is_absolute() and len(given.parts) == 2 and (shipped / given).is_file()
    path = shipped / given if stock else given
    if not path.is_file():
        raise VelaRefusal("no such file")
    if path.suffix != ".ini":
        raise VelaRefusal("Vela reads only files that end in .ini")
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise VelaRefusal(f"the file can't be read as an .ini file ({str(error).splitlines()[0]})") from error
    argument = str(given) if stock or given.is_absolute() else os.path.join(os.curdir, given)
    return ConfigFile(
        argument=argument,
        path=path,
        stock=stock,
        system_configs=_sections(parser, "System_Config."),
        memory_modes=_sections(parser, "Memory_Mode."),
    )


def _sections(parser: configparser.ConfigParser, prefix: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in parser.sections() if name.startswith(prefix))


def memory_modes(config: ConfigFile, accelerator: str, system_config: str) -> dict[str, str | None]:
    """The memory modes of `config`, each with Vela's reason to refuse it for this accelerator and system
    configuration, or None where Vela takes it. (It refuses, say, an arena in flash.)"""
    features = _vela().architecture_features.ArchitectureFeatures

    def refusal(mode: str) -> str | None:
        try:
            with _muted():
                features(
                    vela_config_files=[str(config.path)],
                    accelerator_config=accelerator,
                    system_config=system_config,
                    memory_mode=mode,
                    max_blockdep=features.MAX_BLOCKDEP,
                    verbose_config=False,
                    arena_cache_size=None,
                )
        except (_vela().VelaError, ValueError, KeyError) as error:
            return _reason(error)
        return None

    return {mode: refusal(mode) for mode in config.memory_modes}


def _reason(error: Exception) -> str:
    return str(getattr(error, "data", error)).removeprefix("Error: ")


def flags_set(flags: Sequence[str]) -> frozenset[str]:
    """Names (argparse ``dest``) of the Vela arguments that `flags` set, abbreviations resolved.

    Raises:
        VelaRefusal: Vela's parser does not accept the flags, or they only make it print something and end.
    """
    parser = _argument_parser()
    unset: list[str] = []  # a list, as some arguments append to what is there (a copy of it)
    seen = argparse.Namespace(**dict.fromkeys(vars(parser.parse_args([])), unset))
    with _muted() as printed:
        try:
            parser.parse_args(list(flags), seen)
        except SystemExit as stop:
            raise VelaRefusal(_last_words(printed) if stop.code else "Vela prints something and ends") from None
    # `network` is positional: the parser sets it in any case.
    return frozenset(
        name for name, value in vars(seen).items() if value is not unset and (name, value) != ("network", None)
    )


def _argument_parser() -> argparse.ArgumentParser:
    """Vela's own argument parser. Vela builds it inside `main`, so it is picked up from there, before it parses."""

    class NoArguments:
        def __iter__(self) -> Iterator[str]:
            raise InterruptedError

    try:
        _vela().main(NoArguments())
    except InterruptedError as stop:
        trace = stop.__traceback__
        while trace is not None:
            parser = trace.tb_frame.f_locals.get("parser")
            if isinstance(parser, argparse.ArgumentParser):
                return parser
            trace = trace.tb_next
    raise ToolError(
        "arm_recipes can't find the argument parser of this version of Vela. "
        "Install the one that executorch is tested with: pip install 'executorch[ethos-u]'"
    )


def try_flags(flags: Sequence[str]) -> None:
    """Let Vela judge a complete set of flags, by running it on a network that does not exist.

    Vela checks everything else before it opens the network, so getting as far as that is a pass.

    Raises:
        VelaRefusal: with Vela's own words.
    """
    vela = _vela()
    with tempfile.TemporaryDirectory() as folder, _muted() as printed:
        network = os.path.join(folder, "none.tosa")
        try:
            vela.main([*flags, f"--output-dir={folder}", network])
        except FileNotFoundError as error:
            if error.filename == network:
                return
            raise VelaRefusal(str(error)) from error
        except SystemExit:
            raise VelaRefusal(_last_words(printed)) from None
        except (vela.VelaError, ValueError, KeyError) as error:
            raise VelaRefusal(_reason(error)) from error
    raise VelaRefusal("Vela ends without compiling")


def _last_words(printed: io.StringIO) -> str:
    lines = printed.getvalue().strip().splitlines() or ["Vela ends without a word"]
    return lines[-1].removeprefix("vela: error: ")
