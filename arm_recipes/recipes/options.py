"""The keyword arguments of recipes: one frozen, typed class per family, and the only place where they are checked.

A field's declaration is all there is to know about an option: Python, the command line and the docs read it.
No torch here.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arm_recipes.errors import OptionError, nearest, spell
from arm_recipes.tools import cmsis_nn, vela

from .catalog import Family, Precision, Recipe


@dataclass(frozen=True)
class Kind:
    """The type of an option.

    Attributes:
        name: what help and errors call it.
        accepts: whether a value given in Python is of this type.
        parse: makes the value from the text of a command line; raises ValueError.
        freeze: brings an accepted value into its immutable form.
    """

    name: str
    accepts: Callable[[Any], bool]
    parse: Callable[[str], Any]
    freeze: Callable[[Any], Any] = lambda value: value


def _parse_flag(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


INTEGER = Kind("int", lambda value: isinstance(value, int) and not isinstance(value, bool), int)
BOOLEAN = Kind("bool", lambda value: isinstance(value, bool), _parse_flag)
TEXT = Kind("str", lambda value: isinstance(value, str), str)
DATA = Kind("data", lambda value: True, str)
PATH = Kind("path", lambda value: isinstance(value, (str, os.PathLike)), str, os.fspath)
STRINGS = Kind(
    "list of str",
    lambda value: isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value),
    shlex.split,
    tuple,
)

Resolved = Mapping[str, Any]

LAYOUTS = ("contiguous", "channels_last")


@dataclass(frozen=True)
class Option:
    """Declaration of one option.

    Attributes:
        kind: its type.
        help: one line for the command line and the docs.
        default: from the recipe.
        legal: the legal values, given the recipe and the options declared before this one; None where the type is
            all that limits it.
        applies: whether the recipe has this option at all.
        nullable: whether None may be given, for the default.
        why: the reason why a value is not legal, where there is more to say than what is.
    """

    kind: Kind
    help: str
    default: Callable[[Recipe], Any]
    legal: Callable[[Recipe, Resolved], Sequence[Any]] | None = None
    applies: Callable[[Recipe], bool] = lambda recipe: True
    nullable: bool = False
    why: Callable[[Recipe, Resolved, Any], str | None] = lambda recipe, resolved, value: None


def _option(kind: Kind, help: str, **how: Any) -> Any:
    default = how.pop("default")
    how["default"] = default if callable(default) else lambda recipe: default
    # Where an option does not apply, its value is None.
    return dataclasses.field(default=None, metadata={"option": Option(kind, help, **how)})


def _quantized(recipe: Recipe) -> bool:
    return recipe.precision.quantized


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that every recipe has. Instances hold the resolved values, defaults spelled out."""

    calibration: Any = _option(
        DATA,
        "Calibration data: a file, a folder, samples or any iterable, as load_calibration takes it.",
        default=None,
        applies=_quantized,
        nullable=True,
    )

    io_dtype: str = _option(
        TEXT,
        "Type of the program's inputs and outputs: float32, or the integers of its activations, without the quantize "
        "and dequantize operators at the border.",
        default="float32",
        legal=lambda recipe, _: ("float32", "int16" if recipe.precision is Precision.A16W8 else "int8"),
        applies=_quantized,
    )

    def check(self, recipe: Recipe) -> None:
        """Check what no single field can: combinations, and what the tools behind the recipe accept."""


@dataclass(frozen=True, kw_only=True)
class DelegatedOptions(Options):
    """Options of all recipes that delegate."""

    per_channel: bool = _option(
        BOOLEAN,
        "Quantize weights with one scale per output channel; otherwise one per tensor.",
        default=True,
        applies=_quantized,
    )
    io_layout: str | None = _option(
        TEXT,
        "Layout of rank-4 inputs: contiguous (NCHW) or channels_last (NHWC); that of the example inputs if not given.",
        default=None,
        legal=lambda *_: (None, *LAYOUTS),
        nullable=True,
    )
    allow_no_delegation: bool = _option(
        BOOLEAN,
        "Only warn where nothing of the program can be delegated.",
        default=False,
    )


@dataclass(frozen=True, kw_only=True)
class EthosUOptions(DelegatedOptions):
    """Options of the Ethos-U recipes."""

    macs: int = _option(
        INTEGER,
        "Multiply-accumulates per cycle of the NPU.",
        default=lambda recipe: recipe.target.macs,
        legal=lambda recipe, _: vela.macs(recipe.target.name),
    )
    config_ini: str = _option(
        PATH,
        "Vela configuration file (.ini) that holds the system configuration and the memory mode.",
        default=vela.STOCK_CONFIG,
        nullable=True,
    )
    system_config: str = _option(
        TEXT,
        "Section System_Config.NAME of config_ini: clocks, memories, bandwidths.",
        default=lambda recipe: recipe.target.system_config,
        legal=lambda recipe, resolved: _system_configs(recipe, resolved["config_ini"]),
        nullable=True,
    )
    memory_mode: str = _option(
        TEXT,
        "Section Memory_Mode.NAME of config_ini: where weights, arena and cache are placed.",
        default=lambda recipe: recipe.target.memory_mode,
        legal=lambda recipe, resolved: [
            mode for mode, refusal in _memory_modes(recipe, resolved).items() if refusal is None
        ],
        nullable=True,
        why=lambda recipe, resolved, mode: _memory_modes(recipe, resolved).get(mode),
    )
    optimise: str = _option(
        TEXT,
        "What Vela schedules for: least time, or least SRAM.",
        default="Performance",
        legal=lambda *_: vela.optimisations(),
    )
    arena_cache_size: int | None = _option(
        INTEGER,
        "Size of the arena cache in bytes; the memory mode's own where not given.",
        default=None,
        nullable=True,
    )
    extra_flags: tuple[str, ...] = _option(
        STRINGS,
        "Further flags for Vela, one per item, e.g. ['--verbose-performance'].",
        default=(),
        nullable=True,
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
        for option in ("system_config", "memory_mode"):
            name = getattr(self, option)
            if _has_space(name):
                raise OptionError(
                    recipe.name, option, name, _SPLIT_AT_SPACE, hint=f"Rename the section in {self.config_ini}."
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
        for option, flags in (
            ("config_ini", selected),
            ("arena_cache_size", [*selected, *self._scheduling_flags()]),
            ("extra_flags", [*selected, *self.vela_flags()]),
        ):
            try:
                vela.try_flags(flags)
            except vela.VelaRefusal as refusal:
                value = getattr(self, option)
                value = list(value) if isinstance(value, tuple) else value
                raise OptionError(recipe.name, option, value, f"is refused by Vela: {refusal}") from refusal

    def _check_extra_flags(self, recipe: Recipe) -> None:
        given = list(self.extra_flags)

        def refuse(problem: str, hint: str | None = None) -> OptionError:
            return OptionError(recipe.name, "extra_flags", given, problem, hint=hint)

        for flag in given:
            if not flag.strip():
                raise refuse("holds an empty flag")
            if _has_space(flag):
                raise refuse(
                    f"holds {flag!r}; it {_SPLIT_AT_SPACE}",
                    "Give each word as an item of its own. A path with spaces can't be handed over.",
                )
        try:
            dests = vela.flags_set(given)
        except vela.VelaRefusal as refusal:
            raise refuse(f"is refused by Vela: {refusal}", "`vela --help` lists its flags.") from refusal
        for dest in sorted(dests & self._OWNED.keys()):
            raise refuse(
                f"sets Vela's {dest.replace('_', '-')}, which is not for extra_flags", f"Instead: {self._OWNED[dest]}."
            )


# executorch joins the flags for its compilers with spaces and splits them again.
_SPLIT_AT_SPACE = "has white space in it, at which executorch splits the compiler's flags"


def _has_space(text: str) -> bool:
    return any(character.isspace() for character in text)


def _config_file(recipe: Recipe, config_ini: str) -> vela.ConfigFile:
    def refuse(problem: str, hint: str | None = None) -> OptionError:
        return OptionError(recipe.name, "config_ini", config_ini, problem, hint=hint)

    if _has_space(config_ini):
        raise refuse(_SPLIT_AT_SPACE, "Copy the file to a path without spaces.")
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


def _memory_modes(recipe: Recipe, resolved: Resolved) -> Mapping[str, str | None]:
    accelerator = f"{recipe.target.name}-{resolved['macs']}"
    return vela.memory_modes(_config_file(recipe, resolved["config_ini"]), accelerator, resolved["system_config"])


@dataclass(frozen=True, kw_only=True)
class TosaOptions(DelegatedOptions):
    """Options of the TOSA recipes."""


@dataclass(frozen=True, kw_only=True)
class VgfOptions(DelegatedOptions):
    """Options of the VGF recipes."""

    compiler_flags: tuple[str, ...] = _option(
        STRINGS,
        "Flags for Arm's model-converter, one per item, e.g. ['--emit-debug-info'].",
        default=(),
        nullable=True,
    )

    # As for Vela: what would take the recipe's own arguments over, or write something that is no VGF.
    _OWNED = ("-i", "--input", "-o", "--output", "--tosa-flatbuffer", "-h", "--help", "-v", "--version")

    def check(self, recipe: Recipe) -> None:
        given = list(self.compiler_flags)
        for flag in given:
            if not flag or _has_space(flag):
                raise OptionError(
                    recipe.name,
                    "compiler_flags",
                    given,
                    f"holds {flag!r}; it {_SPLIT_AT_SPACE}" if flag else "holds an empty flag",
                    hint="Give each word as an item of its own.",
                )
            if flag.partition("=")[0] in self._OWNED:
                raise OptionError(
                    recipe.name, "compiler_flags", given, f"holds {flag!r}, which is the recipe's own to set"
                )


@dataclass(frozen=True, kw_only=True)
class CortexMOptions(Options):
    """Options of the Cortex-M recipes.

    There is no per_channel: executorch's quantizer always gives convolutions one scale per output channel, and
    CMSIS-NN's linear takes one per tensor.
    """

    isa: str = _option(
        TEXT,
        "Instructions that CMSIS-NN may use, for cores built without the extension they usually have.",
        default=lambda recipe: cmsis_nn.default_isa(recipe.target.name),
        legal=lambda recipe, _: cmsis_nn.isas(recipe.target.name),
        nullable=True,
    )
    io_layout: str = _option(
        TEXT,
        "Layout of rank-4 inputs, outputs: contiguous (NCHW, an int8 copy of each) or channels_last (NHWC, no copy).",
        default="contiguous",
        legal=lambda *_: LAYOUTS,
    )
    drop_unused_constants: bool = _option(
        BOOLEAN,
        "Leave out constants that nothing uses and, as contiguous always does, copies that change nothing.",
        default=False,
    )
    allow_portable_fallback: bool = _option(
        BOOLEAN,
        "Warn, instead of raising, where a convolution, linear or pooling stays a float portable kernel.",
        default=False,
    )


FAMILIES: dict[Family, type[Options]] = {
    Family.ETHOS_U: EthosUOptions,
    Family.TOSA: TosaOptions,
    Family.VGF: VgfOptions,
    Family.CORTEX_M: CortexMOptions,
}

_MISSING = object()


@dataclass(frozen=True)
class OptionInfo:
    """One option of one recipe, for help and docs. `legal` is None where the type is all that limits it."""

    name: str
    type: str
    default: Any
    legal: tuple[Any, ...] | None
    help: str


def declared(recipe: Recipe) -> dict[str, Option]:
    """The options that `recipe` has, by name, in the order of their checks."""
    cls = FAMILIES[recipe.family]
    # The family's own first, then what it shares with others.
    fields = sorted(dataclasses.fields(cls), key=lambda field: field.name not in cls.__annotations__)
    options = {field.name: field.metadata["option"] for field in fields}
    return {name: option for name, option in options.items() if option.applies(recipe)}


def describe(recipe: Recipe) -> tuple[OptionInfo, ...]:
    """What can be given to `recipe`, with the defaults and the values that are legal beside the other defaults.

    Raises:
        ToolError: the legal values are a missing tool's to say.
    """
    resolved: dict[str, Any] = {}
    infos = []
    for name, option in declared(recipe).items():
        legal = (
            tuple(option.legal(recipe, resolved)) if option.legal else (True, False) if option.kind is BOOLEAN else None
        )
        resolved[name] = option.default(recipe)
        infos.append(OptionInfo(name, option.kind.name, resolved[name], legal, option.help))
    return tuple(infos)


def resolve(recipe: Recipe, kwargs: Mapping[str, Any]) -> Options:
    """Check `kwargs` and fill in the defaults.

    Raises:
        OptionError: a kwarg is unknown, of the wrong type, or not legal.
        ToolError: a tool that has to be asked is missing.
    """
    options = declared(recipe)
    for name, value in kwargs.items():
        if name not in options:
            raise _unknown(recipe, name, value, options)
    resolved: dict[str, Any] = {}
    for name, option in options.items():
        default = option.default(recipe)
        value = kwargs.get(name, _MISSING)
        if value is _MISSING or (value is None and option.nullable):
            value = default
        elif not option.kind.accepts(value):
            raise OptionError(
                recipe.name,
                name,
                value,
                f"is of type {type(value).__name__}",
                allowed=_allowed(option, recipe, resolved),
            )
        else:
            value = option.kind.freeze(value)
        if option.legal is not None:
            legal = option.legal(recipe, resolved)
            if value not in legal:
                defaulted = kwargs.get(name) is None
                raise _illegal(recipe, name, value, legal, resolved, option.why(recipe, resolved, value), defaulted)
        resolved[name] = value
    made = FAMILIES[recipe.family](**resolved)
    made.check(recipe)
    return made


def parse(recipe: Recipe, texts: Mapping[str, str]) -> dict[str, Any]:
    """Make kwargs of `recipe` from the texts of a command line (``key=value``).

    Raises:
        OptionError: an unknown name, or a text that is no value of the option's type.
    """
    options = declared(recipe)
    kwargs = {}
    for name, text in texts.items():
        if name not in options:
            raise _unknown(recipe, name, text, options)
        try:
            kwargs[name] = options[name].kind.parse(text)
        except ValueError as error:
            raise OptionError(recipe.name, name, text, f"is no {options[name].kind.name}") from error
    return kwargs


def _unknown(recipe: Recipe, name: str, value: Any, options: Mapping[str, Option]) -> OptionError:
    return OptionError(
        recipe.name,
        name,
        value,
        "is no option of this recipe",
        nearest=nearest(name, options),
        allowed=tuple(options) or "no options at all",
    )


def _allowed(option: Option, recipe: Recipe, resolved: Resolved) -> str:
    if option.legal is None:
        return f"a value of type {option.kind.name}"
    return f"a value of type {option.kind.name}, one of {spell(option.legal(recipe, resolved))}"


def _illegal(
    recipe: Recipe,
    name: str,
    value: Any,
    legal: Sequence[Any],
    resolved: Resolved,
    why: str | None,
    defaulted: bool,
) -> OptionError:
    beside = {"system_config": ("config_ini",), "memory_mode": ("config_ini", "system_config")}.get(name, ())
    context = "".join(f" with {resolved[option]}" for option in beside)
    problem = f"{'(the default) ' if defaulted else ''}is not legal for {recipe.target.name}{context}"
    return OptionError(
        recipe.name,
        name,
        value,
        f"{problem} ({why})" if why else problem,
        nearest=nearest(value, legal) if isinstance(value, str) and why is None else None,
        allowed=tuple(legal) or "nothing, as that file has no section that fits",
    )


assert FAMILIES.keys() == set(Family), "every family of the catalog needs its options"
