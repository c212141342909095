"""`arm-recipes verify`: parsing and printing. Everything else is `verification.run.verify`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import click

from arm_recipes.files import given_path
from arm_recipes.recipes import options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.names import short_name
from arm_recipes.simulators.registry import NAMES, check_simulator

from .compiling import Compiling, compile_context, read_data
from .printing import check_new, report_files, show, write_reports
from .shared import (
    NOT_GOOD_ENOUGH,
    SETTINGS,
    CompileOptions,
    end_on,
    input_options,
    log_options,
    model_options,
    recipe_arguments,
    result_options,
)
from .types import Limit

if TYPE_CHECKING:
    from arm_recipes.verification.result import VerifyReport

_FOLDERS = "folders"


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(CompileOptions):
    """What `arm-recipes verify` was given.

    Attributes:
        recipe: to compile for; None for a .pte.
        float_model: that a .pte was made of, as it was typed.
        data: file or folder of data to verify on; the example inputs where not given.
        labels: file of class indices of the data, or ``folders``.
        output: that the labels are classes of, by index or name; None where there is but one.
        simulator: to run on, a name of `simulators.registry`.
        runner: file of the firmware to run programs by.
        per_layer: whether to trace the error layer by layer.
        min_sqnr: gate: least SQNR of each output against float, in dB.
        max_accuracy_drop: gate: most that top-1 may lose against float, in percentage points.
        timeout: most time of the simulator for one delegate, or program, and sample, in seconds.
    """

    recipe: Recipe | None
    float_model: str | None
    data: str | None
    labels: str | None
    output: str | None
    simulator: str
    runner: str | None
    per_layer: bool
    min_sqnr: float | None
    max_accuracy_drop: float | None
    timeout: float

    @property
    def compiled(self) -> bool:
        """Whether the model is a program already."""
        return self.model.endswith(".pte")

    @property
    def reads(self) -> dict[str, str]:
        more = {"--labels": self.labels, "--float-model": self.float_model, "--runner": self.runner}
        return {**super().reads, **{name: path for name, path in more.items() if path is not None}}

    @property
    def data_options(self) -> dict[str, str | None]:
        return {"--data": self.data, **super().data_options}


@click.command("verify", context_settings=SETTINGS)
@model_options(required=False)
@click.option(
    "--float-model",
    type=click.Path(),
    metavar="MODEL",
    help="With a .pte: the model that it was made of, to compare it with; as for arm-recipes export.",
)
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
@click.option(
    "--output",
    metavar="OUTPUT",
    help="The output that the labels are classes of, by its index or name, where the model has several.",
)
@input_options
@click.option("--simulator", type=click.Choice(NAMES), default="auto", show_default=True, help="To run on.")
@click.option(
    "--runner",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="The firmware that fvp or qemu runs the program by. [default: what ARM_RECIPES_FVP_RUNNER or "
    "ARM_RECIPES_RUNNER names; for qemu else that of the package mlia-ethos-u]",
)
@click.option("--per-layer", is_flag=True, help="Trace the error layer by layer.")
@click.option("--min-sqnr", type=Limit(), metavar="DB", help="Gate: the least SQNR of each output against float.")
@click.option(
    "--max-accuracy-drop",
    type=Limit(),
    metavar="POINTS",
    help="Gate: the most that top-1 may lose against float, in percentage points. Needs --labels.",
)
@click.option(
    "--timeout",
    type=Limit(0, above=True),
    default=120.0,
    metavar="SECONDS",
    help="The most that the simulator may take for one delegate, or program, and sample. [default: 120]",
)
@result_options("the report")
@log_options
def verify_model(**values: Any) -> None:
    """Compile MODEL, run it on a reference simulator, and say how far it is from the model.

    MODEL and its inputs are as for arm-recipes export. The program is written nowhere.

    The lowered program, simulated on this machine, is compared with the model in float and, where the recipe
    quantizes, with the quantized model. --max-samples and the options for images hold for --data and --calibration
    alike. Without --calibration the data is what the model is calibrated on, which flatters the figures.

    MODEL may also be a .pte of Cortex-M kernels, whoever made it. It is run as it is, and held against --float-model.

    A gate that fails ends with exit status 3. Two are always on: delegates must be what their graphs compile to, and no
    layer may be wrong, computed from the program's own values of its inputs.
    """
    command = VerifyOptions(**values)
    arguments = _checked_arguments(command)
    files = report_files(command)
    check_new(files, command)
    with compile_context(command, command.float_model if command.compiled else command.model) as compiling:
        report = _verify(command, arguments, compiling)
    write_reports(report, files, f"{short_name(command.model)}: {report.recipe} on {report.simulator}")
    failed = report.failed_gates
    show(report, command, files, status=NOT_GOOD_ENOUGH if failed else 0)
    end_on(failed)


def _checked_arguments(command: VerifyOptions) -> dict[str, Any]:
    """The recipe's arguments. As much as can be wrong is found before torch is imported."""
    recipe, labels = command.recipe, command.labels
    arguments = _of_file(command) if recipe is None else recipe_arguments(command, recipe)
    if recipe is not None:
        if command.compiled or command.float_model is not None:
            given = "--recipe: a .pte" if command.compiled else "--float-model: only of use with a .pte, and a model"
            raise click.UsageError(f"{given} is compiled {'already' if command.compiled else 'here'}. Leave it out.")
        check_simulator(command.simulator, recipe, per_layer=command.per_layer, runner=command.runner)
        options.resolve(recipe, arguments)
    if labels is not None and command.data is None:
        raise click.UsageError("--labels: only of use with --data. Give data, or leave it out.")
    if command.output is not None and labels is None:
        raise click.UsageError("--output: only of use with --labels. Give the class of each sample, or leave it out.")
    if labels is not None and labels != _FOLDERS and not given_path(labels).is_file():
        raise click.UsageError(f"--labels: no such file as {labels!r}. Give a file of class indices, or {_FOLDERS!r}.")
    if command.max_accuracy_drop is not None and labels is None:
        raise click.UsageError("--max-accuracy-drop: needs --labels. Give the class of each sample.")
    return arguments


def _of_file(command: VerifyOptions) -> dict[str, Any]:
    """The arguments of a recipe that there is not.

    Raises:
        click.UsageError: there should be one, or an option is given that a file has no use for.
    """
    if not command.compiled:
        raise click.UsageError("Missing option '-r' / '--recipe'. Only a .pte is verified without.")
    of_export = {"--option": command.recipe_options, "--calibration": command.calibration}
    for name, value in of_export.items():
        if value:
            raise click.UsageError(f"{name}: a .pte is compiled already. Leave it out.")
    if command.data is None and command.float_model is None:
        raise click.UsageError("--data: needed with a .pte. Give data, or --float-model with example inputs.")
    return {}


def _verify(command: VerifyOptions, arguments: dict[str, Any], compiling: Compiling) -> VerifyReport:
    from arm_recipes.recipes.types import ArmRecipeType
    from arm_recipes.session.arguments import carried
    from arm_recipes.verification.run import verify

    data, inputs = read_data(command.data, command), compiling.inputs
    if data is None:
        inputs = carried(compiling.model) if inputs is None else inputs
        data = inputs if isinstance(inputs, list) else [inputs]
        warnings.warn(
            "verified on the example inputs only, as there is no --data, which says little.", UserWarning, stacklevel=1
        )
    subject: tuple[Any, ...] = (command.model,)
    of_export: dict[str, Any] = {"float_model": compiling.model}
    if command.recipe is not None:
        subject = (compiling.model, ArmRecipeType[command.recipe.name])
        of_export = {"calibration": read_data(command.calibration, command), **arguments}
    with compiling.failures():
        report: VerifyReport = cast(Any, verify)(
            *subject,
            data,
            example_inputs=inputs,
            labels=command.labels,
            output=int(command.output) if command.output and command.output.isdigit() else command.output,
            simulator=command.simulator,
            per_layer=command.per_layer,
            min_sqnr=command.min_sqnr,
            max_accuracy_drop=command.max_accuracy_drop,
            timeout=command.timeout,
            runner=command.runner,
            **of_export,
        )
    return report
