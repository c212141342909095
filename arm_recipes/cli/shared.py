"""What commands share: their options, each declared once, and how they end. No torch here.

Every command makes one frozen dataclass of what click gives it, whose fields are called as the options' parameters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click

from arm_recipes.gates import Gate
from arm_recipes.recipes import options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.names import typed

from .output import complain
from .types import KeyValue, Numbers, RecipeName, ReportFile, Size

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
NOT_GOOD_ENOUGH = 3

RECIPE = RecipeName()

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _all_of(decorators: Sequence[_Decorator]) -> _Decorator:
    """A decorator that gives a command each of these, in order."""
    return lambda command: functools.reduce(lambda wrapped, option: option(wrapped), reversed(decorators), command)


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """Of every command that has a result.

    Attributes:
        as_json: whether to print JSON rather than text.
        reports: files to write the result to.
        force: whether files that are there may be overwritten.
        continues: options of `also_writes` whose file may be there, as it is read first.
    """

    continues: ClassVar[frozenset[str]] = frozenset()

    as_json: bool
    reports: tuple[str, ...]
    force: bool

    @property
    def reads(self) -> dict[str, str]:
        """Files and folders that the command reads, by what names them: no file that is written may be one of these."""
        return {}

    @property
    def also_writes(self) -> dict[str, str]:
        """Files that it writes besides its results, by option."""
        return {}

    @property
    def report_forms(self) -> tuple[tuple[str, str], ...]:
        """The form and the name of each file to write the result to; the form is an ending, e.g. ``.html``."""
        return tuple((Path(name).suffix, name) for name in self.reports)


def result_options(what: str, note: str = "") -> _Decorator:
    """The options of `ResultOptions`. The help of --report says `what` it writes, and the `note` at its end."""
    return _all_of(
        (
            click.option(
                "--report",
                "reports",
                type=ReportFile(),
                multiple=True,
                metavar="FILE",
                help=f"Write {what} as a page (.html), .json, .txt, .md or rows (.csv). Repeatable.{note}",
            ),
            click.option("--force", is_flag=True, help="Overwrite files that exist."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        )
    )


@dataclass(frozen=True, kw_only=True)
class CompileOptions(ResultOptions):
    """Of every command that compiles a model.

    Attributes:
        model: as it was typed, e.g. ``net.py:make``.
        recipe_options: key and text of each -o.
        inputs: files of example inputs.
        shapes: of random example inputs, e.g. ``1x3x224x224``.
        calibration: file or folder of calibration data.
        max_samples: most samples to use of data.
        mean: subtracted from the pixels of images, 0 to 1; one number, or one per channel.
        std: by which the pixels are divided then.
        size: height and width of images, or one number for both.
        layout: of the model's images, ``NCHW`` or ``NHWC``.
        verbose: whether what others print goes to standard error.
        log: file for what others print, warnings and tracebacks.
    """

    model: str
    recipe_options: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...]
    shapes: tuple[str, ...]
    calibration: str | None
    max_samples: int | None
    mean: float | tuple[float, ...] | None
    std: float | tuple[float, ...] | None
    size: int | tuple[int, int] | None
    layout: str | None
    verbose: bool
    log: str | None

    @property
    def data_options(self) -> dict[str, str | None]:
        """The options that name data, with what they were given."""
        return {"--calibration": self.calibration}

    @property
    def reads(self) -> dict[str, str]:
        given = {name: path for name, path in self.data_options.items() if path is not None}
        given |= {f"--inputs {path}": path for path in self.inputs}
        given |= {f"-o {key}": text for key, text in self.recipe_options}
        # Of a model, all but the name after the colon; one on Windows has a colon after the drive as well.
        return {"MODEL": re.sub(r":\w*$", "", self.model), **given}

    @property
    def also_writes(self) -> dict[str, str]:
        return {} if self.log is None else {"--log": self.log}

    @property
    def image_options(self) -> dict[str, Any]:
        """What was given of how to read images, as arguments of `load_calibration`."""
        names = ("max_samples", "mean", "std", "size", "layout")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


MODEL = click.argument("model", type=click.Path())

_OPTIONS_OF_RECIPE = "An option of the recipe, e.g. macs=256: see arm-recipes options RECIPE. Repeatable."


def recipe_option(help: str = _OPTIONS_OF_RECIPE) -> _Decorator:
    """The option -o, with a `help` that fits the command."""
    return click.option("-o", "--option", "recipe_options", type=KeyValue(), multiple=True, help=help)


def model_options(*, required: bool = True) -> _Decorator:
    """What to compile, and for what, which need not be `required` by all that MODEL may be."""
    help = f"What to compile for: see arm-recipes list.{'' if required else ' Needed but for a .pte.'}"
    recipe = click.option("-r", "--recipe", type=RECIPE, required=required, help=help)
    return _all_of((MODEL, recipe, recipe_option()))


# What a model is fed with.
input_options = _all_of(
    (
        click.option(
            "--inputs",
            type=click.Path(),
            multiple=True,
            metavar="FILE",
            help="Example inputs: a .pt, .npy, .npz or .safetensors file with all of them, or one file per input, "
            "repeated.",
        ),
        click.option(
            "--shape",
            "shapes",
            multiple=True,
            metavar="SHAPE",
            help="Random example inputs: 1x3x224x224, or 1x128:int64; once per input.",
        ),
        click.option(
            "--calibration",
            type=click.Path(),
            metavar="PATH",
            help="Data to calibrate on: a file or folder of tensors, arrays or images.",
        ),
        click.option("--max-samples", type=int, metavar="N", help="Use N samples at most. [default: 1000]"),
        click.option("--mean", type=Numbers(), help="Subtracted from the pixels (0..1) of images."),
        click.option("--std", type=Numbers(), help="By which the pixels are divided then."),
        click.option("--size", type=Size(), help="Stretch images to this size. [default: the model's]"),
        click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Of the model's images. [default: NCHW]"),
    )
)

# Where goes what others print.
log_options = _all_of(
    (
        click.option(
            "-v", "--verbose", is_flag=True, help="Print what Vela and executorch have to say, to standard error."
        ),
        click.option(
            "--log",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Write it, warnings and tracebacks to a file.",
        ),
    )
)


def recipe_arguments(command: CompileOptions, recipe: Recipe) -> dict[str, Any]:
    """What -o says, as keyword arguments of `recipe`. What options say together is checked as well.

    Raises:
        OptionError: an option is unknown, or its text is of no such type.
        click.UsageError: options contradict each other, or the recipe.
    """
    texts: dict[str, str] = {}
    for key, text in command.recipe_options:
        if key in texts and texts[key] != text:
            raise click.UsageError(f"-o {key} is given twice, as {texts[key]!r} and {text!r}.")
        texts[key] = text
    arguments = options.parse(recipe, texts)
    if command.calibration is not None and not recipe.precision.quantized:
        raise click.UsageError(
            f"--calibration: {typed(recipe)} quantizes nothing. Leave it out, or take another recipe."
        )
    if command.calibration is not None and "calibration" in arguments:
        raise click.UsageError("--calibration and -o calibration are both given. Leave one out.")
    if command.inputs and command.shapes:
        raise click.UsageError("--inputs and --shape are both given. Example inputs are read or random: leave one out.")
    alone = ", ".join(f"--{name.replace('_', '-')}" for name in command.image_options)
    if alone and all(path is None for path in command.data_options.values()):
        kinds = " or ".join(command.data_options)
        raise click.UsageError(f"{alone}: only of use with {kinds}. Give data, or leave it out.")
    return arguments


def end_on(failed: Sequence[Gate]) -> None:
    """Say which gates failed, and end there, if any did."""
    for gate in failed:
        complain(f"gate {gate}")
    if failed:
        click.get_current_context().exit(NOT_GOOD_ENOUGH)
