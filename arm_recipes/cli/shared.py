"""What commands share: their options, what these say of the model and its data, and how they fail."""

from __future__ import annotations

import contextlib
import functools
import io
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.errors import ArmRecipeError, LoweringError
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.names import typed

from .output import complain
from .types import KeyValue, Numbers, RecipeName, Size

if TYPE_CHECKING:
    from arm_recipes.gates import Gate
    from arm_recipes.upstream.partitioner import Verdicts

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
NOT_GOOD_ENOUGH = 3

RECIPE = RecipeName()
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


_MODEL_OPTIONS = (
    click.argument("model", type=click.Path()),
    click.option("-r", "--recipe", type=RECIPE, required=True, help="What to compile for: see arm-recipes list."),
    click.option(
        "-o",
        "--option",
        "given",
        type=KeyValue(),
        multiple=True,
        help="An option of the recipe, e.g. macs=256: see arm-recipes options RECIPE. Repeatable.",
    ),
)

_INPUT_OPTIONS = (
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


_TALK_OPTIONS = (
    click.option(
        "-v", "--verbose", is_flag=True, help="Print what Vela and executorch have to say, to standard error."
    ),
    click.option(
        "--log", type=click.Path(dir_okay=False), metavar="FILE", help="Write it, warnings and tracebacks to a file."
    ),
)


def _all_of(options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """A decorator that gives a command each of these, in order."""
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


model_options = _all_of(_MODEL_OPTIONS)  # what to compile, and for what
input_options = _all_of(_INPUT_OPTIONS)  # what a model is fed with
talk_options = _all_of(_TALK_OPTIONS)  # where goes what others print


def recipe_options(recipe: catalog.Recipe, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    texts: dict[str, str] = {}
    for key, text in given:
        if key in texts and texts[key] != text:
            raise click.UsageError(f"-o {key} is given twice, as {texts[key]!r} and {text!r}.")
        texts[key] = text
    return options.parse(recipe, texts)


_IMAGE_OPTIONS = ("max_samples", "mean", "std", "size", "layout")


def check_together(recipe: catalog.Recipe, kwargs: dict[str, Any], how: dict[str, Any]) -> None:
    if how["calibration"] is not None and not recipe.precision.quantized:
        raise click.UsageError(
            f"--calibration: {typed(recipe)} quantizes nothing. Leave it out, or take another recipe."
        )
    if how["calibration"] is not None and "calibration" in kwargs:
        raise click.UsageError("--calibration and -o calibration are both given. Leave one out.")
    if how.get("quantization") and not recipe.precision.quantized:
        raise click.UsageError(f"--quantization-report: {typed(recipe)} quantizes nothing. Leave it out.")
    if how["inputs"] and how["shapes"]:
        raise click.UsageError("--inputs and --shape are both given. Example inputs are read or random: leave one out.")
    if how.get("max_sram") is not None and not recipe.family.facts.has_firmware:
        raise click.UsageError(
            f"--max-sram: {typed(recipe)} is for no firmware whose memory could be told. Leave it out."
        )
    alone = [f"--{name.replace('_', '-')}" for name in _IMAGE_OPTIONS if how[name] is not None]
    if alone and how["calibration"] is None and how.get("data") is None:
        kinds = "--data or --calibration" if "data" in how else "--calibration"
        raise click.UsageError(f"{', '.join(alone)}: only of use with {kinds}. Give data, or leave it out.")


def loaded_model(model: str, how: dict[str, Any]) -> tuple[Any, Any]:
    """The model, and its example inputs."""
    from arm_recipes.session import loading
    from arm_recipes.session.arguments import carried

    loaded = loading.load_model(model)
    inputs = loaded.example_inputs
    if how["inputs"]:
        inputs = loading.read_inputs(how["inputs"], loaded.model)
    elif how["shapes"]:
        inputs = loading.random_inputs(how["shapes"])
    elif inputs is None and carried(loaded.model) is None:
        raise ArmRecipeError(
            f"model={model!r} has no example inputs. Give --shape once per input, e.g. --shape 1x3x224x224, or "
            "--inputs FILE, or a function that gives a tuple of model and inputs."
        )
    return loaded.model, inputs


def calibration_data(how: dict[str, Any], option: str = "calibration") -> Any:
    """The data that an option names, with the options for images; None where it is not given."""
    from arm_recipes.samples import load_calibration

    if how[option] is None:
        return None
    settings = {name: how[name] for name in _IMAGE_OPTIONS if how[name] is not None}
    return load_calibration(how[option], **settings)


@contextlib.contextmanager
def failures(verdicts: list[Verdicts], printed: io.StringIO) -> Iterator[None]:
    """Tell failures of the compile from errors of the user and from bugs, and say why nothing was delegated."""
    try:
        yield
    except LoweringError as error:
        refused = {each.operator: each.reason for program in verdicts for each in program if each.reason}
        lines = [f"  {operator}: {reason}" for operator, reason in refused.items() if "quantize_per" not in operator]
        why = "\nRefused were:\n" + "\n".join(lines) if lines else ""
        raise LoweringError(f"{error}{why}") from error
    except (ArmRecipeError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        printed.write("".join(traceback.format_exception(error)))
        if _is_ours(error):
            raise
        raise CompileFailure(error, printed.getvalue()) from error


def _is_ours(error: BaseException) -> bool:
    """Whether it was raised in this package, other than by a call of ours into someone else's code."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parents[1])


class CompileFailure(Exception):
    """The compile failed: a tool's own error, as opposed to one of the command's or of the library's."""

    def __init__(self, error: BaseException, printed: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.printed = printed


def failure_text(failure: CompileFailure) -> str:
    error = failure.error
    kind = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
    text = str(error).strip() or "without a message"
    if isinstance(error, SystemExit):
        lines = [line for line in failure.printed.splitlines() if line.strip()]
        text = "\n".join(["a tool ended the process. Its last words:", *lines[-5:]])
    return (
        f"error: the compile failed: {kind}{text}\n"
        "No .pte was written. --log FILE keeps all that was said, and the traceback."
    )


def end_on(failed: Sequence[Gate]) -> None:
    """Say which gates failed, and end there, if any did."""
    for gate in failed:
        complain(f"gate {gate}")
    if failed:
        click.get_current_context().exit(NOT_GOOD_ENOUGH)
