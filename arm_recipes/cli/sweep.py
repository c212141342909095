"""`arm-recipes sweep`: parsing and printing. Everything else is `sweeping.run.sweep`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.documents.blocks import Document, Heading
from arm_recipes.documents.text import text
from arm_recipes.files import given_path, write_whole
from arm_recipes.recipes import options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.names import short_name, typed

from .compiling import Compiling, compile_context, read_data
from .output import complain, writing
from .printing import check_new, check_place, report_files, show, write_reports
from .shared import (
    MODEL,
    NOT_GOOD_ENOUGH,
    RECIPE,
    SETTINGS,
    CompileOptions,
    input_options,
    log_options,
    recipe_arguments,
    recipe_option,
    result_options,
)
from .signals import Terminated
from .types import Limit, Several

if TYPE_CHECKING:
    from arm_recipes.sweeping.result import Point, SweepResult

_RESUME = "--resume"
_AXES = ("macs", "system_config", "memory_mode", "optimise")


@dataclass(frozen=True, kw_only=True)
class SweepOptions(CompileOptions):
    """What `arm-recipes sweep` was given.

    Attributes:
        recipes: of Ethos-U.
        macs: values of the recipes' option, or ``all``.
        system_config: values of the recipes' option, or ``all``.
        memory_mode: values of the recipes' option, or ``all``.
        optimise: values of the recipes' option, or ``all``.
        max_sram: most peak SRAM of the chosen point, in KiB.
        max_flash: most flash of the chosen point, in KiB.
        max_latency_ms: most time of an inference of the chosen point, in milliseconds.
        export_best: file for the chosen point's .pte.
        csv_file: a further file of --report, whatever its ending.
        html_file: a further file of --report, whatever its ending.
        resume: JSON file that keeps what is done.
        workers: number of processes that run Vela; one per core where not given.
        dask: address of a scheduler whose workers run Vela instead.
    """

    continues = frozenset({_RESUME})

    recipes: tuple[Recipe, ...]
    macs: str | list[int]
    system_config: str | list[str]
    memory_mode: str | list[str]
    optimise: str | list[str]
    max_sram: float | None
    max_flash: float | None
    max_latency_ms: float | None
    export_best: str | None
    csv_file: str | None
    html_file: str | None
    resume: str | None
    workers: int | None
    dask: str | None

    @property
    def report_forms(self) -> tuple[tuple[str, str], ...]:
        older = ((".csv", self.csv_file), (".html", self.html_file))
        return (*((form, name) for form, name in older if name is not None), *super().report_forms)

    @property
    def also_writes(self) -> dict[str, str]:
        return {**super().also_writes, **({} if self.resume is None else {_RESUME: self.resume})}

    @property
    def limits(self) -> dict[str, float | None]:
        """What the chosen point has to fit, as arguments of `SweepResult.best`."""
        return {"max_sram": self.max_sram, "max_flash": self.max_flash, "max_latency_ms": self.max_latency_ms}


@click.command("sweep", context_settings=SETTINGS)
@MODEL
@click.option("-r", "--recipe", "recipes", type=RECIPE, required=True, multiple=True, help="Of Ethos-U. Repeatable.")
@click.option("--macs", type=Several(int), default="all", help="MACs per cycle, e.g. 128,256. [default: all]")
@click.option("--system-config", type=Several(), default="all", help="System configurations. [default: all]")
@click.option("--memory-mode", type=Several(), default="all", help="Memory modes. [default: all]")
@click.option("--optimise", type=Several(), default="all", help="Performance, Size or both. [default: all]")
@recipe_option("Another option of the recipes, the same for all points, e.g. config_ini=board.ini. Repeatable.")
@input_options
@click.option("--max-sram", type=Limit(0), metavar="KIB", help="Choose a point with no more peak SRAM.")
@click.option("--max-flash", type=Limit(0), metavar="KIB", help="Choose a point with no more flash.")
@click.option("--max-latency-ms", type=Limit(0), metavar="MS", help="Choose the least SRAM that is as fast as this.")
@click.option("--export-best", type=click.Path(dir_okay=False), metavar="FILE", help="Write the chosen point's .pte.")
@click.option(
    "--resume",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep the results in this JSON file, and take from it what is done.",
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes that run Vela. [default: one per core]")
@click.option("--dask", metavar="ADDRESS", help="Run Vela on the workers of this dask.distributed scheduler instead.")
@click.option("--csv", "csv_file", type=click.Path(), metavar="FILE", help="Another name of --report FILE.csv.")
@click.option("--html", "html_file", type=click.Path(), metavar="FILE", help="Another name of --report FILE.html.")
@result_options("all points")
@log_options
def sweep_model(**values: Any) -> None:
    """Estimate MODEL on every configuration of an NPU: one lowering, and a run of Vela for each legal combination.

    MODEL, its inputs and its calibration are as for arm-recipes export.

    Prints the front of latency against SRAM, and the fastest point that fits the limits. All figures but the size of
    the .pte are Vela's estimates; nothing is measured on hardware. Ctrl-C keeps what is done.
    """
    command = SweepOptions(**values)
    arguments = _checked_arguments(command)
    files = _planned_files(command)
    with compile_context(command, command.model) as compiling:
        result = _sweep(command, arguments, compiling)
        best = result.best(**command.limits)
        if best is None or result.interrupted:
            files.pop("pte", None)
        elif "pte" in files:
            with writing(files["pte"]), compiling.failures():
                write_whole(files["pte"], result.program(best).get_pte_buffer())
    write_reports(result, files, short_name(command.model))
    _end(command, result, best, files)


def _checked_arguments(command: SweepOptions) -> dict[str, Any]:
    """The arguments that all recipes are given. As much as can be wrong is found before torch is imported."""
    for recipe in command.recipes:
        if not options.retargetable(recipe):
            raise click.UsageError(f"-r {typed(recipe)}: only Ethos-U has configurations to sweep.")
    for key, _ in command.recipe_options:
        if key in _AXES:
            raise click.UsageError(f"-o {key}: give --{key.replace('_', '-')}, which takes several values.")
    if command.dask and command.workers:
        raise click.UsageError("--dask and --workers are both given. Leave one out: a cluster has its own workers.")
    return recipe_arguments(command, command.recipes[0])


def _planned_files(command: SweepOptions) -> dict[str, Path]:
    """What will be written, by kind.

    Raises:
        ArmRecipeError: a file is there already, or can't be made.
    """
    files = {}
    if command.export_best is not None:
        files["pte"] = given_path(command.export_best)
        check_place(files["pte"], f"--export-best={command.export_best!r}")
    files |= report_files(command)
    check_new(files, command)
    return files


def _sweep(command: SweepOptions, arguments: dict[str, Any], compiling: Compiling) -> SweepResult:
    from arm_recipes.recipes.types import ArmRecipeType
    from arm_recipes.sweeping.executors import dask_executor
    from arm_recipes.sweeping.run import sweep

    with dask_executor(command.dask) if command.dask else contextlib.nullcontext() as executor, compiling.failures():
        return sweep(
            compiling.model,
            [ArmRecipeType[recipe.name] for recipe in command.recipes],
            compiling.inputs,
            macs=command.macs,
            system_config=command.system_config,
            memory_mode=command.memory_mode,
            optimise=command.optimise,
            resume=command.resume,
            workers=command.workers,
            executor=executor,
            **{"calibration": read_data(command.calibration, command), **arguments},
        )


def _end(command: SweepOptions, result: SweepResult, best: Point | None, files: dict[str, Path]) -> None:
    """Print the result, and end with its status."""
    ended: list[Terminated] = click.get_current_context().obj or []
    interrupted = 128 + ended[-1].number if ended else 130
    status = 1 if not result.done else NOT_GOOD_ENOUGH if best is None else 0
    show(
        result,
        command,
        files,
        status=interrupted if result.interrupted else status,
        text=lambda width: result.text(width) + _chosen(command, best, width),
    )
    if result.interrupted:
        raise ended[-1] if ended else click.Abort
    if not result.done:
        complain(f"error: every point failed. The first: {result.points[0].error}")
    elif best is None:
        least = min(point.figures.sram_kib for point in result.done if point.figures is not None)
        complain(f"error: no point fits the limits. The least peak SRAM of all points is {least:,} KiB.")
    click.get_current_context().exit(status)


def _chosen(command: SweepOptions, best: Point | None, width: int) -> str:
    """The point that fits the limits; the result itself says which is the fastest."""
    from arm_recipes.sweeping.document import chosen

    if best is None or all(limit is None for limit in command.limits.values()):
        return ""
    return "\n\n" + text(Document("", (Heading("Chosen, as it fits the limits"), *chosen(best))), width)
