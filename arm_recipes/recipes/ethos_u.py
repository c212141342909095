"""Options of the Ethos-U recipes. What is legal is asked of Vela. No torch here."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from arm_recipes.errors import OptionError, spell
from arm_recipes.tools import vela

from .catalog import Recipe
from .delegated import SPLIT_AT_SPACE, DelegatedOptions, has_space
from .options import INTEGER, PATH, STRINGS, TEXT, Resolved, option, ordered


@ordered
@dataclass(frozen=True, kw_only=True)
class EthosUOptions(DelegatedOptions):
    """Options of the Ethos-U recipes."""

    macs: int = option(
        INTEGER,
        "Multiply-accumulates per cycle of the NPU.",
        default=lambda recipe, seen: recipe.target.macs,
        legal=lambda recipe, seen: vela.macs(recipe.target.name),
        nothing=lambda recipe: _unknown_to_vela(recipe),
        retargets=True,
    )
    config_ini: str = option(
        PATH,
        "Vela configuration file (.ini) that holds the system configuration and the memory mode. A name that Vela "
        "ships, e.g. Arm/vela.ini, is Vela's own; any other is a path, and goes to Vela as ./custom/vela.ini.",
        default=vela.STOCK_CONFIG,
        nullable=True,
        retargets=True,
    )
    system_config: str = option(
        TEXT,
        "Section System_Config.NAME of config_ini: clocks, memories, bandwidths.",
        default=lambda recipe, seen: recipe.target.system_config,
        legal=lambda recipe, seen: _system_configs(recipe, seen["config_ini"]),
        after=("config_ini",),
        beside=("config_ini",),
        nothing=lambda recipe: _NO_SECTION,
        nullable=True,
        retargets=True,
    )
    memory_mode: str = option(
        TEXT,
        "Section Memory_Mode.NAME of config_ini: where weights, arena and cache are placed.",
        default=lambda recipe, seen: recipe.target.memory_mode,
        legal=lambda recipe, seen: _Accepted(_memory_modes(recipe, seen)),
        after=("macs", "config_ini", "system_config"),
        beside=("config_ini", "system_config"),
        nothing=lambda recipe: _NO_SECTION,
        why=lambda recipe, seen, mode: _memory_modes(recipe, seen).get(mode),
        nullable=True,
        retargets=True,
    )
    optimise: str = option(
        TEXT,
        "What Vela schedules for: least time, or least SRAM.",
        default="Performance",
        legal=lambda recipe, seen: vela.optimisations(),
        retargets=True,
    )
    arena_cache_size: int | None = option(
        INTEGER,
        "Size of the arena cache in bytes; the memory mode's own where not given.",
        default=None,
        nullable=True,
        retargets=True,
    )
    extra_flags: tuple[str, ...] = option(
        STRINGS,
        "Further flags for Vela, one per item, e.g. ['--verbose-performance'].",
        default=(),
        nullable=True,
        retargets=True,
    )

    # Vela arguments that are not the user's to set through extra_flags, and what to use instead.
    _OWNED = {
        "accelerator_config": "use the option macs",
        "config": "use the option config_ini",
        "system_config": "use the option system_config",
        "memory_mode": "use the option memory_mode",
        "optimise": "use the option optimise",
        "arena_cache_size": "use the option arena_cache_size",
        "output_format": "the recipe sets it",
        "output_dir": "the recipe sets it",
        "network": "the recipe gives Vela the network",
        "supported_ops_report": "Vela would write a report and end without compiling",
        "list_config_files": "Vela would print a list and end without compiling",
        "list_configs": "Vela would print a list and end without compiling",
    }

    def vela_flags(self) -> list[str]:
        """The flags for Vela beyond those that `EthosUCompileSpec` makes by itself."""
        return [*self._scheduling_flags(), *self.extra_flags]

    def _scheduling_flags(self) -> list[str]:
        flags = []
        if self.optimise != "Performance":
            flags.append(f"--optimise={self.optimise}")
        if self.arena_cache_size is not None:
            flags.append(f"--arena-cache-size={self.arena_cache_size}")
        return flags

    def check(self, recipe: Recipe) -> None:
        for name in ("system_config", "memory_mode"):
            section = getattr(self, name)
            if has_space(section):
                raise OptionError(
                    recipe.name, name, section, SPLIT_AT_SPACE, hint=f"Rename the section in {self.config_ini}."
                )
            if set(section) & {"/", "\\", "\0"}:
                raise OptionError(
                    recipe.name,
                    name,
                    section,
                    "has a / or \\ in it, and Vela calls its files by it",
                    hint=f"Rename the section in {self.config_ini}.",
                )
        if self.arena_cache_size is not None:
            if self.arena_cache_size <= 0:
                raise OptionError(
                    recipe.name,
                    "arena_cache_size",
                    self.arena_cache_size,
                    "is no size",
                    allowed="a number of bytes above 0",
                )
            if self.optimise == "Size":
                raise OptionError(
                    recipe.name,
                    "arena_cache_size",
                    self.arena_cache_size,
                    "has no effect together with optimise='Size', which uses as little SRAM as it can",
                    hint="Leave one of the two out.",
                )
        self._check_extra_flags(recipe)
        self._ask_vela(recipe)

    def _ask_vela(self, recipe: Recipe) -> None:
        """Get Vela's verdict on all of it together: its bounds on values, and what else a user's .ini can hold."""
        selected = [
            f"--accelerator-config={recipe.target.name}-{self.macs}",
            f"--config={_config_file(recipe, self.config_ini).argument}",
            f"--system-config={self.system_config}",
            f"--memory-mode={self.memory_mode}",
            "--output-format=raw",
        ]
        try:
            vela.try_flags([*selected, *self.vela_flags()])
        except vela.VelaRefusal:
            self._blame(recipe, selected)
            raise

    def _blame(self, recipe: Recipe, selected: list[str]) -> None:
        """Raise for the option with which Vela's refusal begins."""
        for name, flags in (
            ("config_ini", selected),
            ("arena_cache_size", [*selected, *self._scheduling_flags()]),
            ("extra_flags", [*selected, *self.vela_flags()]),
        ):
            try:
                vela.try_flags(flags)
            except vela.VelaRefusal as refusal:
                value = getattr(self, name)
                value = list(value) if isinstance(value, tuple) else value
                raise OptionError(recipe.name, name, value, f"is refused by Vela: {refusal}") from refusal

    def _check_extra_flags(self, recipe: Recipe) -> None:
        flags = list(self.extra_flags)

        def refuse(problem: str, hint: str | None = None) -> OptionError:
            return OptionError(recipe.name, "extra_flags", flags, problem, hint=hint)

        for flag in flags:
            if not flag.strip():
                raise refuse("holds an empty flag")
            if has_space(flag):
                raise refuse(
                    f"holds {flag!r}; it {SPLIT_AT_SPACE}",
                    "Give each word as an item of its own. A path with spaces can't be handed over.",
                )
        try:
            dests = vela.flags_set(flags)
        except vela.VelaRefusal as refusal:
            raise refuse(f"is refused by Vela: {refusal}", "`vela --help` lists its flags.") from refusal
        for dest in sorted(dests & self._OWNED.keys()):
            raise refuse(
                f"sets Vela's {dest.replace('_', '-')}, which is not for extra_flags", f"Instead: {self._OWNED[dest]}."
            )


def _config_file(recipe: Recipe, config_ini: str) -> vela.ConfigFile:
    def refuse(problem: str, hint: str | None = None) -> OptionError:
        return OptionError(recipe.name, "config_ini", config_ini, problem, hint=hint)

    if has_space(config_ini):
        raise refuse(SPLIT_AT_SPACE, "Copy the file to a path without spaces.")
    try:
        return vela.read_config(config_ini)
    except vela.VelaRefusal as refusal:
        raise refuse(
            f"can't be used: {refusal}",
            f"Give the path of a Vela .ini file, or leave it out for {vela.STOCK_CONFIG}.",
        ) from refusal


def _system_configs(recipe: Recipe, config_ini: str) -> Sequence[str]:
    config = _config_file(recipe, config_ini)
    if not config.stock:
        # A user's file may name its sections as it likes.
        return config.system_configs
    # Vela takes any of its own for any accelerator, and then estimates and schedules for the wrong one.
    prefix = recipe.target.name.replace("-", "_").casefold()
    return [name for name in config.system_configs if name.casefold().startswith(prefix)]


def _memory_modes(recipe: Recipe, seen: Resolved) -> Mapping[str, str | None]:
    accelerator = f"{recipe.target.name}-{seen['macs']}"
    if accelerator not in vela.accelerators():  # where a description gets; Vela fails on it without saying why
        return {}
    config, system_config = _config_file(recipe, seen["config_ini"]), seen["system_config"]
    try:
        config.check_system_config(system_config)
    except vela.VelaRefusal as refusal:
        raise OptionError(
            recipe.name, "system_config", system_config, f"can't be used: {refusal}", hint=f"Mend it in {config.path}."
        ) from refusal
    return vela.MemoryModes(config, accelerator, system_config)


class _Accepted(Sequence[str]):
    """The memory modes that Vela takes. Whether it takes one is asked for that one alone."""

    def __init__(self, modes: Mapping[str, str | None]) -> None:
        self._modes = modes

    def __contains__(self, mode: object) -> bool:
        return isinstance(mode, str) and mode in self._modes and self._modes[mode] is None

    @functools.cached_property
    def _all(self) -> tuple[str, ...]:
        return tuple(mode for mode, refusal in self._modes.items() if refusal is None)

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._all[index]


_NO_SECTION = "nothing, as that file has no section that fits"


def _unknown_to_vela(recipe: Recipe) -> str:
    return (
        f"nothing, as the installed Vela has no {recipe.target.name}. It compiles for {spell(vela.accelerators())}. "
        "Install a Vela that has it, or take another recipe"
    )
