"""`arm-recipes verify`: parsing and printing. Everything else is `verification.verify`."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.recipes import catalog, options
from arm_recipes.simulators.registry import NAMES, check_simulator

from .output import chatter, complain, status
from .printing import terminal_width
from .shared import (
    JSON,
    SETTINGS,
    calibration_data,
    check_together,
    end_on,
    failures,
    input_options,
    loaded_model,
    model_options,
    recipe_options,
    talk_options,
)

if TYPE_CHECKING:
    from arm_recipes.verification.result import VerifyReport

_FOLDERS = "folders"
# Of the columns of figures, which are not broken.
_LEAST_WIDTH = 80


@click.command("verify", context_settings=SETTINGS)
@model_options
@click.option(
    "--data",
    type=click.Path(),
    metavar="PATH",
    help="Data to verify on: a file or folder of tensors, arrays or images. [default: the example inputs]",
)
@click.option(
    "--labels",
    type=click.Path(),
    metavar="FILE",
    help="Class indices of the data, one per sample in the order of the files' names: a .npy or .pt file and the like, "
    "or a .txt or .csv file with one on each line. Or the word folders, for data in one folder per class.",
)
@input_options
@click.option("--simulator", type=click.Choice(NAMES), default="auto", show_default=True, help="To run on.")
@click.option("--per-layer", is_flag=True, help="Trace the error layer by layer.")
@click.option("--min-sqnr", type=float, metavar="DB", help="Gate: the least SQNR of each output against float.")
@click.option(
    "--max-accuracy-drop",
    type=float,
    metavar="POINTS",
    help="Gate: the most that top-1 may lose against float, in percentage points. Needs --labels.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    metavar="SECONDS",
    help="The most that the simulator may take for one delegate, or program, and sample. [default: 120]",
)
@JSON
@talk_options
def verify_model(model: str, recipe: catalog.Recipe, given: tuple[tuple[str, str], ...], **how: Any) -> None:
    """Compile MODEL, run it on a reference simulator, and say how far it is from the model.

    MODEL and its inputs are as for arm-recipes export. Nothing is written.

    The lowered program, simulated on this machine, is compared with the model in float and, where the recipe
    quantizes, with the quantized model. --max-samples and the options for images hold for --data and --calibration
    alike. Without --calibration the data is what the model is calibrated on, which flatters the figures.

    A gate that fails ends with exit status 3. Two are always on: delegates must be what their graphs compile to, and
    must compute what the quantized model does, but for rounding and no more than ten times its noise.
    """
    kwargs = recipe_options(recipe, given)
    check_together(recipe, kwargs, how)
    _check_verify(recipe, how)
    # As much as can be wrong is found before torch is imported, and all of it before the long part.
    options.resolve(recipe, kwargs)
    with chatter(how["verbose"], how["log"]) as printed:
        report = _verify(model, recipe, kwargs, how, printed)
    click.echo(report.to_json() if how["as_json"] else report.text(max(terminal_width(), _LEAST_WIDTH)))
    end_on(report.failed_gates)


def _check_verify(recipe: catalog.Recipe, how: dict[str, Any]) -> None:
    check_simulator(how["simulator"], recipe, per_layer=how["per_layer"])
    labels = how["labels"]
    if labels is not None and how["data"] is None:
        raise click.UsageError("--labels: only of use with --data. Give data, or leave it out.")
    if labels is not None and labels != _FOLDERS and not Path(labels).expanduser().is_file():
        raise click.UsageError(f"--labels: no such file as {labels!r}. Give a file of class indices, or {_FOLDERS!r}.")
    if how["max_accuracy_drop"] is not None and labels is None:
        raise click.UsageError("--max-accuracy-drop: needs --labels. Give the class of each sample.")


def _verify(
    model: str, recipe: catalog.Recipe, kwargs: dict[str, Any], how: dict[str, Any], printed: io.StringIO
) -> VerifyReport:
    with status("importing torch and executorch"), contextlib.redirect_stderr(printed):
        from arm_recipes.recipes.types import ArmRecipeType
        from arm_recipes.session.arguments import carried
        from arm_recipes.upstream import partitioner
        from arm_recipes.verification.run import verify

    with contextlib.ExitStack() as stack:
        if how["as_json"]:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        module, inputs = loaded_model(model, how)
        data = calibration_data(how, "data")
        if data is None:
            inputs = carried(module) if inputs is None else inputs
            data = inputs if isinstance(inputs, list) else [inputs]
            complain("warning: verified on the example inputs only, as there is no --data, which says little.")
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(printed))
        with partitioner.watched() as verdicts, failures(verdicts, printed):
            return verify(
                module,
                ArmRecipeType[recipe.name],
                data,
                example_inputs=inputs,
                labels=how["labels"],
                **{name: how[name] for name in _PASSED_ON},
                **{"calibration": calibration_data(how), **kwargs},
            )
    raise AssertionError("contexts here let exceptions pass")


_PASSED_ON = ("simulator", "per_layer", "min_sqnr", "max_accuracy_drop", "timeout")
