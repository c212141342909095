"""What the installed Vela knows, asked of Vela itself: accelerators, configuration files, memory modes.

No torch here. Importing this module needs no Vela; its functions raise `ToolError` where Vela is missing.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path

from .installed import VelaRefusal, muted, vela_module, words_of

STOCK_CONFIG = "Arm/vela.ini"


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


def macs(target: str) -> tuple[int, ...]:
    """MAC counts that Vela compiles `target` (e.g. ``ethos-u55``) for, ascending."""
    return tuple(sorted(int(name.rpartition("-")[2]) for name in accelerators() if name.startswith(f"{target}-")))


def accelerators() -> tuple[str, ...]:
    """What Vela compiles for, e.g. ``ethos-u55-128``."""
    return tuple(vela_module().architecture_features.Accelerator.member_list())


def optimisations() -> tuple[str, ...]:
    """Names of Vela's optimisation strategies."""
    return tuple(vela_module().scheduler.OptimizationStrategy.__members__)


def read_config(config: str) -> ConfigFile:
    """Find and read the configuration file `config` as Vela would.

    A relative path of two parts (``Arm/vela.ini``) means a file that Vela ships. Vela reads nothing else by
    such a path, so one that exists only below the working directory is handed to it as ``./dir/file.ini``.

    Raises:
        VelaRefusal: it is not there, can't be read, or is not an .ini file.
    """
    shipped = Path(vela_module().architecture_features.CONFIG_FILES_PATH)
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
    features = vela_module().architecture_features.ArchitectureFeatures

    def refusal(mode: str) -> str | None:
        try:
            with muted():
                features(
                    vela_config_files=[str(config.path)],
                    accelerator_config=accelerator,
                    system_config=system_config,
                    memory_mode=mode,
                    max_blockdep=features.MAX_BLOCKDEP,
                    verbose_config=False,
                    arena_cache_size=None,
                )
        except (vela_module().VelaError, ValueError, KeyError) as error:
            return words_of(error)
        return None

    return {mode: refusal(mode) for mode in config.memory_modes}
