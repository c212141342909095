"""What the installed Vela knows, asked of Vela itself: accelerators, configuration files, memory modes.

No torch here. Importing this module needs no Vela; its functions raise `ToolError` where Vela is missing.
"""

from __future__ import annotations

import configparser
import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .installed import VelaRefusal, muted, vela_module, words_of
from .sections import MODE, SYSTEM, check_section

STOCK_CONFIG = "Arm/vela.ini"
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True)
class ConfigFile:
    """A Vela configuration file.

    Attributes:
        argument: what to give to ``--config`` so that Vela reads this very file.
        path: where the file is.
        stock: whether it is one that Vela ships.
        system_configs: names of its ``[System_Config.*]`` sections.
        memory_modes: names of its ``[Memory_Mode.*]`` sections.
        parser: of its content.
    """

    argument: str
    path: Path
    stock: bool
    system_configs: tuple[str, ...]
    memory_modes: tuple[str, ...]
    parser: configparser.ConfigParser = field(repr=False, compare=False)

    def check_system_config(self, name: str) -> None:
        """
        Raises:
            VelaRefusal: a figure of that section is none.
        """
        check_section(self.parser, SYSTEM + name)


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
    try:
        given = Path(config).expanduser()
        stock = not given.is_absolute() and len(given.parts) == 2 and (shipped / given).is_file()
        path = shipped / given if stock else given
        if not path.is_file():
            raise VelaRefusal("no such file")
        status = path.stat()
    except (OSError, RuntimeError) as error:  # a name too long; a user that is not there
        raise VelaRefusal(f"no such file ({getattr(error, 'strerror', None) or error})") from error
    if path.suffix != ".ini":
        raise VelaRefusal("Vela reads only files that end in .ini")
    if status.st_size > _MOST_BYTES:
        raise VelaRefusal(
            f"it has {status.st_size:,} bytes, and at most {_MOST_BYTES:,} are read; Vela's own has 6,913"
        )
    parser = _parsed(path, status.st_mtime_ns, status.st_size)
    argument = str(given) if stock or given.is_absolute() else os.path.join(os.curdir, given)
    return ConfigFile(
        argument=argument,
        path=path,
        stock=stock,
        system_configs=_sections(parser, SYSTEM),
        memory_modes=_sections(parser, MODE),
        parser=parser,
    )


@functools.lru_cache(maxsize=8)
def _parsed(path: Path, changed: int, size: int) -> configparser.ConfigParser:
    """The file at `path`, read again when it has `changed` since."""
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise VelaRefusal(f"the file can't be read as an .ini file ({str(error).splitlines()[0]})") from error
    return parser


def _sections(parser: configparser.ConfigParser, prefix: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in parser.sections() if name.startswith(prefix))


class MemoryModes(Mapping[str, str | None]):
    """The memory modes of a file, each with Vela's reason to refuse it for an accelerator and a system configuration,
    or None where Vela takes it. (It refuses, say, an arena in flash.) Vela is asked for those that are looked at."""

    def __init__(self, config: ConfigFile, accelerator: str, system_config: str) -> None:
        self._config, self._accelerator, self._system_config = config, accelerator, system_config

    def __iter__(self) -> Iterator[str]:
        return iter(self._config.memory_modes)

    def __len__(self) -> int:
        return len(self._config.memory_modes)

    def __contains__(self, mode: object) -> bool:
        return mode in self._config.memory_modes

    def __getitem__(self, mode: str) -> str | None:
        if mode not in self:
            raise KeyError(mode)
        features = vela_module().architecture_features.ArchitectureFeatures
        try:
            check_section(self._config.parser, MODE + mode)
            with muted():
                features(
                    vela_config_files=[str(self._config.path)],
                    accelerator_config=self._accelerator,
                    system_config=self._system_config,
                    memory_mode=mode,
                    max_blockdep=features.MAX_BLOCKDEP,
                    verbose_config=False,
                    arena_cache_size=None,
                )
        except VelaRefusal as refusal:
            return str(refusal)
        except (vela_module().VelaError, ValueError, KeyError, configparser.Error) as error:
            return words_of(error)
        return None
