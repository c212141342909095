"""The keyword arguments of recipes: how an option is declared, and the only place where values are checked.

A field's declaration is all there is to know about an option: Python, the command line and the docs read it. The
families' options stand in `ethos_u`, `delegated` and `cortex_m`. No torch here.

The value of an option is the first that there is of:

1. what the user gives (None counts as not given where the option is nullable);
2. what a preset gives it: an option whose value stands for values of others (`Option.sets`);
3. the declaration's default, which is the target's, or a tool's.

Options are resolved in the order of their declaration, a family's own before those that it shares. An option sees of
the others what its `after` names, and these come before it; `ordered` asserts that when the class is made.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeVar

from arm_recipes.errors import OptionError, nearest, spell

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


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or (type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"))


# NumPy's scalars are taken for Python's, as they come out of arrays and data frames.
INTEGER = Kind("int", lambda value: isinstance(value, Integral) and not isinstance(value, bool), int, int)
BOOLEAN = Kind("bool", _is_flag, _parse_flag, bool)
TEXT = Kind("str", lambda value: isinstance(value, str), str, str)
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
_LAYOUTS = {"NCHW": "contiguous", "NHWC": "channels_last"}
LAYOUT = Kind("str", lambda value: isinstance(value, str), str, lambda value: _LAYOUTS.get(value.upper(), value))


@dataclass(frozen=True)
class Option:
    """Declaration of one option. Its functions are given the recipe, and the values of the options in `after`.

    Attributes:
        kind: its type.
        help: one line for the command line and the docs.
        default: the value where neither the user nor a preset gives one.
        legal: the legal values; None where the type is all that limits it.
        after: the options that `default`, `legal` and `why` depend on, which are resolved before this one.
        applies: whether the recipe has this option at all.
        nullable: whether None may be given, for the default.
        why: the reason why a value is not legal, where there is more to say than what is.
        beside: those of `after` that an error names, as they are the user's to change.
        nothing: what an error says is allowed where no value is legal.
        sets: the options whose values this one presets, which are resolved after it.
        preset: from the recipe and this option's value: values for some of `sets`. Not asked for None.
        retargets: whether the option leaves the lowering as it is, so that `retarget` and `sweep` may vary it.
    """

    kind: Kind
    help: str
    default: Callable[[Recipe, Resolved], Any]
    legal: Callable[[Recipe, Resolved], Sequence[Any]] | None = None
    after: tuple[str, ...] = ()
    applies: Callable[[Recipe], bool] = lambda recipe: True
    nullable: bool = False
    why: Callable[[Recipe, Resolved, Any], str | None] = lambda recipe, resolved, value: None
    beside: tuple[str, ...] = ()
    nothing: Callable[[Recipe], str] = lambda recipe: "nothing"
    sets: tuple[str, ...] = ()
    preset: Callable[[Recipe, Any], Mapping[str, Any]] = lambda recipe, value: {}
    retargets: bool = False

    def seen(self, resolved: Resolved) -> Resolved:
        """What this option sees of the values resolved so far; None for an option that the recipe hasn't."""
        return {name: resolved.get(name) for name in self.after}

    def values(self, recipe: Recipe, resolved: Resolved) -> Sequence[Any] | None:
        """The legal values, None where the type is all that limits it."""
        return None if self.legal is None else self.legal(recipe, self.seen(resolved))


def option(kind: Kind, help: str, *, default: Any, **declaration: Any) -> Any:
    """A field that declares an `Option`; `default` is a value or a function of the recipe and of what is seen."""
    function = default if callable(default) else lambda recipe, resolved: default
    # Where an option does not apply, its value is None.
    return dataclasses.field(default=None, metadata={"option": Option(kind, help, function, **declaration)})


def _options_of(cls: type) -> dict[str, Option]:
    """All options that a class declares, in the order in which they are resolved."""
    fields = sorted(dataclasses.fields(cls), key=lambda field: field.name not in cls.__annotations__)
    return {field.name: field.metadata["option"] for field in fields}


_Class = TypeVar("_Class", bound=type)


def ordered(cls: _Class) -> _Class:
    """Assert, for a class of options, that each is declared after what it depends on and before what it presets."""
    options = _options_of(cls)
    names = list(options)
    presets: dict[str, str] = {}
    for index, (name, declaration) in enumerate(options.items()):
        for other in {*declaration.after, *declaration.beside}:
            assert other in names[:index], f"{cls.__name__}: {name} depends on {other}, which is not resolved before it"
        for other in declaration.sets:
            assert other in names[index + 1 :], f"{cls.__name__}: {name} sets {other}, which is not resolved after it"
            first = presets.setdefault(other, name)
            assert first == name, f"{cls.__name__}: {first} and {name} both set {other}"
    return cls


def quantized(recipe: Recipe) -> bool:
    return recipe.precision.quantized


@ordered
@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that every recipe has. Instances hold the resolved values, defaults spelled out."""

    calibration: Any = option(
        DATA,
        "Calibration data: a file, a folder, samples or any iterable, as load_calibration takes it.",
        default=None,
        applies=quantized,
        nullable=True,
    )

    io_dtype: str = option(
        TEXT,
        "Type of the program's inputs and outputs: float32, or the integers of its activations, without the quantize "
        "and dequantize operators at the border.",
        default="float32",
        legal=lambda recipe, seen: ("float32", "int16" if recipe.precision is Precision.A16W8 else "int8"),
        applies=quantized,
    )

    cures: bool = option(
        BOOLEAN,
        "Change the model where executorch would make a wrong program of it; the report lists what was changed.",
        default=True,
    )

    def check(self, recipe: Recipe) -> None:
        """Check what no single field can: combinations, and what the tools behind the recipe accept."""


def options_class(family: Family) -> type[Options]:
    """The class that declares the options of `family`."""
    module, _, name = family.facts.options.rpartition(".")
    cls: type[Options] = getattr(importlib.import_module(module), name)
    return cls


@dataclass(frozen=True)
class OptionInfo:
    """One option of one recipe, for help and docs.

    Attributes:
        name: the keyword argument.
        type: name of its type.
        default: the value where none is given.
        legal: the values that are legal beside the other defaults; None where the type is all that limits it.
        help: one line on what it does.
    """

    name: str
    type: str
    default: Any
    legal: tuple[Any, ...] | None
    help: str


def declared(recipe: Recipe) -> dict[str, Option]:
    """The options that `recipe` has, by name, in the order in which they are resolved."""
    options = _options_of(options_class(recipe.family))
    return {name: declaration for name, declaration in options.items() if declaration.applies(recipe)}


def retargetable(recipe: Recipe) -> tuple[str, ...]:
    """The options that leave the lowering as it is, which `retarget` and `sweep` may vary; none for most families."""
    return tuple(name for name, declaration in declared(recipe).items() if declaration.retargets)


def describe(recipe: Recipe) -> tuple[OptionInfo, ...]:
    """What can be given to `recipe`, with the defaults and the values that are legal beside the other defaults.

    Raises:
        ToolError: the legal values are a missing tool's to say.
    """
    options = declared(recipe)
    resolved: dict[str, Any] = {}
    infos = []
    for name, declaration in options.items():
        legal = (True, False) if declaration.kind is BOOLEAN else declaration.values(recipe, resolved)
        resolved[name], _ = _not_given(recipe, name, options, resolved)
        legal = None if legal is None else tuple(legal)
        infos.append(OptionInfo(name, declaration.kind.name, resolved[name], legal, declaration.help))
    return tuple(infos)


def resolve(recipe: Recipe, kwargs: Mapping[str, Any]) -> Options:
    """Check `kwargs` and fill in the rest, in the order and with the precedence that this module's docstring states.

    Raises:
        OptionError: a kwarg is unknown, of the wrong type, or not legal.
        ToolError: a tool that has to be asked is missing.
    """
    options = declared(recipe)
    for name, value in kwargs.items():
        if name not in options:
            raise _unknown(recipe, name, value, options)
    resolved: dict[str, Any] = {}
    for name, declaration in options.items():
        legal = declaration.values(recipe, resolved)
        value, origin = kwargs.get(name), ""
        if name not in kwargs or (value is None and declaration.nullable):
            value, origin = _not_given(recipe, name, options, resolved)
        elif not declaration.kind.accepts(value):
            kind = f"a value of type {declaration.kind.name}"
            allowed = kind if legal is None else f"{kind}, one of {spell(legal)}"
            raise OptionError(recipe.name, name, value, f"is of type {type(value).__name__}", allowed=allowed)
        else:
            value = declaration.kind.freeze(value)
        if legal is not None and value not in legal:
            raise _illegal(recipe, name, value, origin, legal, declaration, resolved)
        resolved[name] = value
    user_options = options_class(recipe.family)(**resolved)
    user_options.check(recipe)
    return user_options


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


def _not_given(recipe: Recipe, name: str, options: Mapping[str, Option], resolved: Resolved) -> tuple[Any, str]:
    """The value of an option that the user does not give, and whose it is, for messages."""
    for preset, declaration in options.items():
        if name in declaration.sets and resolved[preset] is not None:
            values = declaration.preset(recipe, resolved[preset])
            if name in values:
                return options[name].kind.freeze(values[name]), f"set by {preset}={resolved[preset]!r}"
    return options[name].default(recipe, options[name].seen(resolved)), "the default"


def _unknown(recipe: Recipe, name: str, value: Any, options: Mapping[str, Option]) -> OptionError:
    return OptionError(
        recipe.name,
        name,
        value,
        "is no option of this recipe",
        nearest=nearest(name, options),
        allowed=tuple(options) or "no options at all",
    )


def _illegal(
    recipe: Recipe,
    name: str,
    value: Any,
    origin: str,
    legal: Sequence[Any],
    declaration: Option,
    resolved: Resolved,
) -> OptionError:
    why = declaration.why(recipe, declaration.seen(resolved), value)
    context = "".join(f" with {resolved[other]}" for other in declaration.beside)
    return OptionError(
        recipe.name,
        name,
        value,
        f"{f'({origin}) ' if origin else ''}is not legal for {recipe.target.name}{context}{f' ({why})' if why else ''}",
        nearest=nearest(value, filter(None, legal)) if isinstance(value, str) and why is None else None,
        allowed=legal or declaration.nothing(recipe),
    )
