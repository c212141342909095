"""`arm-recipes sweep`: parsing and printing. Everything else is `sweeping.sweep`."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.errors import ArmRecipeError
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.names import short_name, typed

from .output import chatter, complain, status, writing
from .printing import print_sweep
from .shared import (
    JSON,
    NOT_GOOD_ENOUGH,
    RECIPE,
    SETTINGS,
    calibration_data,
    check_together,
    failures,
    input_options,
    loaded_model,
    recipe_options,
    talk_options,
)
from .types import KeyValue, Several

if TYPE_CHECKING:
    from arm_recipes.sweeping.result import SweepResult


@click.command("sweep", context_settings=SETTINGS)
@click.argument("model", type=click.Path())
@click.option("-r", "--recipe", "recipes", type=RECIPE, required=True, multiple=True, help="Of Ethos-U. Repeatable.")
@click.option("--macs", type=Several(int), default="all", help="MACs per cycle, e.g. 128,256. [default: all]")
@click.option("--system-config", type=Several(), default="all", help="System configurations. [default: all]")
@click.option("--memory-mode", type=Several(), default="all", help="Memory modes. [default: all]")
@click.option("--optimise", type=Several(), default="all", help="Performance, Size or both. [default: all]")
@click.option(
    "-o",
    "--option",
    "given",
    type=KeyValue(),
    multiple=True,
    help="Another option of the recipes, the same for all points, e.g. config_ini=board.ini. Repeatable.",
)
@input_options
@click.option("--max-sram", type=float, metavar="KIB", help="Choose a point with no more peak SRAM.")
@click.option("--max-flash", type=float, metavar="KIB", help="Choose a point with no more flash.")
@click.option("--max-latency-ms", type=float, metavar="MS", help="Choose the least SRAM that is as fast as this.")
@click.option("--export-best", type=click.Path(dir_okay=False), metavar="FILE", help="Write the chosen point's .pte.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write a table of all points.")
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page: plot and table."
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep the results in this JSON file, and take from it what is done.",
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes that run Vela. [default: one per core]")
@click.option("--dask", metavar="ADDRESS", help="Run Vela on the workers of this dask.distributed scheduler instead.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@JSON
@talk_options
def sweep_model(
    model: str, recipes: tuple[catalog.Recipe, ...], given: tuple[tuple[str, str], ...], **how: Any
) -> None:
    """Estimate MODEL on every configuration of an NPU: one lowering, and a run of Vela for each legal combination.

    MODEL, its inputs and its calibration are as for arm-recipes export.

    Prints the front of latency against SRAM, and the fastest point that fits the limits. All figures but the size of
    the .pte are Vela's estimates; nothing is measured on hardware. Ctrl-C keeps what is done.
    """
    kwargs = _sweep_options(recipes, given, how)
    planned = [Path(name).expanduser() for name in (how["export_best"], how["csv_file"], how["html_file"]) if name]
    there = [path for path in planned if path.exists()]
    if there and not how["force"]:
        raise ArmRecipeError(
            f"{', '.join(map(str, there))}: already there. Give --force to overwrite, or another name."
        )
    with chatter(how["verbose"], how["log"]) as printed:
        result = _sweep(model, recipes, kwargs, how, printed)
        limits = {name: how[name] for name in ("max_sram", "max_flash", "max_latency_ms")}
        best = result.best(**limits)
        files: dict[str, Callable[[], bytes]] = {}
        if best is not None and not result.interrupted:
            files["export_best"] = lambda: result.program(best).get_pte_buffer()
        files["csv_file"] = lambda: result.to_csv().encode()
        files["html_file"] = lambda: result.to_html(short_name(model)).encode()
        written = []
        for option, content in files.items():
            if how[option]:
                written.append(Path(how[option]).expanduser())
                _write(written[-1], content, printed)
    if how["as_json"]:
        click.echo(result.to_json())
    else:
        print_sweep(result, best, limited=any(limit is not None for limit in limits.values()), files=written)
    if result.interrupted:
        raise click.Abort
    if not result.done:
        complain(f"error: every point failed. The first: {result.points[0].error}")
        click.get_current_context().exit(1)
    if best is None:
        least = min(point.figures.sram_kib for point in result.done if point.figures is not None)
        complain(f"error: no point fits the limits. The least peak SRAM of all points is {least:,} KiB.")
        click.get_current_context().exit(NOT_GOOD_ENOUGH)


def _write(path: Path, content: Callable[[], bytes], printed: io.StringIO) -> None:
    from arm_recipes.files import write_whole

    with writing(path), failures([], printed):
        write_whole(path, content())


_AXES = ("macs", "system_config", "memory_mode", "optimise")


def _sweep_options(
    recipes: Sequence[catalog.Recipe], given: Iterable[tuple[str, str]], how: dict[str, Any]
) -> dict[str, Any]:
    for recipe in recipes:
        if not options.retargetable(recipe):
            raise click.UsageError(f"-r {typed(recipe)}: only Ethos-U has configurations to sweep.")
    for key, _ in given:
        if key in _AXES:
            raise click.UsageError(f"-o {key}: give --{key.replace('_', '-')}, which takes several values.")
    if how["dask"] and how["workers"]:
        raise click.UsageError("--dask and --workers are both given. Leave one out: a cluster has its own workers.")
    kwargs = recipe_options(recipes[0], given)
    check_together(recipes[0], kwargs, how)
    return kwargs


def _sweep(
    model: str, recipes: Sequence[catalog.Recipe], kwargs: dict[str, Any], how: dict[str, Any], printed: io.StringIO
) -> SweepResult:
    with status("importing torch and executorch"), contextlib.redirect_stderr(printed):
        from arm_recipes.recipes.types import ArmRecipeType
        from arm_recipes.sweeping.executors import dask_executor
        from arm_recipes.sweeping.run import sweep
        from arm_recipes.upstream import partitioner

    with contextlib.ExitStack() as stack:
        if how["as_json"]:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        executor = stack.enter_context(dask_executor(how["dask"])) if how["dask"] else None
        module, inputs = loaded_model(model, how)
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(printed))
        with partitioner.watched() as verdicts, failures(verdicts, printed):
            return sweep(
                module,
                [ArmRecipeType[recipe.name] for recipe in recipes],
                inputs,
                resume=how["resume"],
                workers=how["workers"],
                executor=executor,
                **{axis: how[axis] for axis in _AXES},
                **{"calibration": calibration_data(how), **kwargs},
            )
    raise AssertionError("contexts here let exceptions pass")
