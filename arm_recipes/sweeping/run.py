"""`sweep`: one lowering per family and precision, and Vela's estimates for every configuration of the NPU."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from executorch.export import ExportSession

from arm_recipes.errors import ArmRecipeError, LoweringError
from arm_recipes.recipes import options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.samples import load_calibration
from arm_recipes.session.export import export
from arm_recipes.session.progress import shown
from arm_recipes.tools.vela.estimates import layers_of
from arm_recipes.upstream.compile_specs import vela_flags

from .executors import Job, Outcome, run_jobs
from .grid import ALL, Task, axis_values, legal, rows_of
from .result import AXES, Point, SweepResult, figures_of
from .retarget import LoweredProgram, RetargetedProgram
from .store import Store, header


def sweep(
    model: Any,
    recipes: ArmRecipeType | Sequence[ArmRecipeType],
    example_inputs: object = None,
    *,
    macs: int | str | Sequence[int] = ALL,
    memory_mode: str | Sequence[str] = ALL,
    system_config: str | Sequence[str] = ALL,
    optimise: str | Sequence[str] = ALL,
    calibration: object = None,
    resume: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> SweepResult:
    """Have Vela estimate every legal combination of the options given, of which each may be one value, a list, or all.

    The model is lowered once for recipes that lower alike: Ethos-U55's and U65's of a precision, and U85's. Vela then
    runs in processes of its own, on as many points at a time as there are cores.

    A point that Vela can't compile is recorded as failed, with Vela's reason. Ctrl-C ends a sweep early: the result is
    then of the points that are done, and marked as interrupted.

    Args:
        model: as `export` takes it.
        recipes: of Ethos-U.
        example_inputs: as `export` takes them.
        macs: the recipes' option.
        memory_mode: the recipes' option.
        system_config: the recipes' option.
        optimise: the recipes' option.
        calibration: as `export` takes it.
        resume: a JSON file, which is written every few seconds and at the end. Where it is there already, the points
            that it holds are taken from it, other than those that failed.
        executor: where Vela runs: any executor, which is not shut down. By default worker processes of this machine.
        workers: number of worker processes; as many as there are cores if not given. Not beside `executor`.
        progress: show progress bars on standard error; by default where that is a terminal.
        **settings: other options of the recipes, the same for all points: config_ini, arena_cache_size, extra_flags,
            per_channel, io_dtype, io_layout, ...

    Raises:
        OptionError: an option is not legal for any of the recipes.
        ArmRecipeError: a recipe is not for Ethos-U, or the file to resume is of another model or other settings.
        LoweringError: the model can't be lowered for any of the recipes.
    """
    if executor is not None and workers is not None:
        raise ArmRecipeError(f"workers={workers!r} is not taken beside an executor, which has its own. Leave one out.")
    rows = rows_of(recipes)
    axes = dict(zip(AXES, map(axis_values, (macs, system_config, memory_mode, optimise)), strict=True))
    tasks, skipped = legal(rows, axes, settings)
    if len({task.lowering for task in tasks}) > 1:
        calibration = _shared(calibration)

    def exported(task: Task) -> ExportSession:
        user_options = {**settings, **task.point.options}
        recipe = ArmRecipeType[task.recipe.name]
        return export(model, recipe, example_inputs, calibration=calibration, progress=progress, **user_options)

    store = Store(resume, header(rows, settings))
    lowered = _Lowerings()
    try:
        lowered.lower(tasks, exported)
        store.start({name: program.digest() for name, program in lowered.programs.items()}, tasks, skipped)
        for task in tasks:
            if task.lowering in lowered.errors:
                error = f"lowering failed: {lowered.errors[task.lowering]}"
                store.add(dataclasses.replace(task.point, error=error))
        pending = [task for task in tasks if task.point.key not in store.points]
        with shown(sys.stderr.isatty() if progress is None else progress) as bars:
            advance = bars.count("vela", len(pending))
            for index, outcome in run_jobs([lowered.job(task) for task in pending], executor, workers):
                store.add(lowered.point(pending[index], outcome))
                advance()
        store.interrupted = False
    except KeyboardInterrupt:
        pass
    finally:
        store.save()
    programs = {
        task.recipe.name: functools.partial(_program, lowered.programs[task.lowering], task.recipe, settings)
        for task in tasks
        if task.lowering in lowered.programs
    }
    return dataclasses.replace(store.result(), programs=programs)


@dataclass
class _Lowerings:
    """What the recipes of a sweep lower to, one program for those that lower alike.

    Attributes:
        programs: the programs by the name of the lowering.
        errors: why there is no program, by the name of the lowering.
    """

    programs: dict[str, LoweredProgram] = field(default_factory=dict)
    errors: dict[str, BaseException] = field(default_factory=dict)

    def lower(self, tasks: Sequence[Task], exported: Callable[[Task], ExportSession]) -> None:
        """Export the first task of each lowering.

        Raises:
            ArmRecipeError: what an export was given is not legal.
            Exception: no lowering gave a program; the first one's reason.
        """
        firsts: dict[str, Task] = {}
        for task in tasks:
            firsts.setdefault(task.lowering, task)
        for name, task in firsts.items():
            try:
                self.programs[name] = LoweredProgram(exported(task))
            except ArmRecipeError as error:
                if not isinstance(error, LoweringError):
                    raise
                self.errors[name] = error
            except (Exception, SystemExit) as error:
                self.errors[name] = error
        if self.errors and not self.programs:
            raise next(iter(self.errors.values()))

    def job(self, task: Task) -> Job:
        program = self.programs[task.lowering]
        flags = vela_flags(program.spec(task.recipe, task.configuration))
        return Job(tuple(dict.fromkeys(program.graphs)), flags)

    def point(self, task: Task, outcome: Outcome) -> Point:
        """The point with its figures, or with the reason why it has none."""
        if isinstance(outcome, str):
            return dataclasses.replace(task.point, error=outcome)
        program = self.programs[task.lowering]
        compiled = [outcome[graph] for graph in program.graphs]
        # Where things are in a .pte depends on the sizes of payloads, and on which are equal, not on what they hold.
        stand_ins = [(each.payload_digest * (each.payload_bytes // 32 + 1))[: each.payload_bytes] for each in compiled]
        pte = program.assembled(program.spec(task.recipe, task.configuration), stand_ins)
        figures = figures_of([each.summary for each in compiled], task.point.macs, len(pte))
        layers = layers_of([each.layers for each in compiled], program.origins)
        return dataclasses.replace(task.point, figures=figures, layers=layers)


def _shared(calibration: Any) -> Any:
    """The calibration data, so that what can be gone through only once serves several lowerings."""
    if isinstance(calibration, Mapping):
        return {name: _shared(given) for name, given in calibration.items()}
    return load_calibration(calibration) if isinstance(calibration, Iterator) else calibration


def _program(
    lowered: LoweredProgram, row: Recipe, settings: Mapping[str, Any], axes: Mapping[str, Any]
) -> RetargetedProgram:
    resolved = options.resolve(row, {**settings, **axes})
    assert isinstance(resolved, EthosUOptions)
    return lowered.compiled(row, resolved)
