"""`sweep`: one lowering per family and precision, and Vela's estimates for every configuration of the NPU."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import multiprocessing
import os
import sys
import time
import types
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from arm_recipes.errors import ArmRecipeError, LoweringError, OptionError, spell
from arm_recipes.lowering.ethos_u import compile_spec
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.samples import load_calibration
from arm_recipes.session.export import export
from arm_recipes.session.progress import shown
from arm_recipes.tools import vela
from arm_recipes.tools.vela.compiler import Outline, VelaFailure, outline, start_worker
from arm_recipes.tools.vela.estimates import layers_of
from arm_recipes.upstream.delegates import vela_flags

from .result import AXES, Point, Skipped, SweepResult, figures_of, with_pareto
from .retarget import LoweredProgram, RetargetedProgram

ALL = "all"

_SECONDS_BETWEEN_SAVES = 5.0

# Points that are handed to an executor and not done. Each takes its graphs along, megabytes of weights.
_AT_A_TIME = 64


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
        memory_mode: likewise.
        system_config: likewise.
        optimise: likewise.
        calibration: as `export` takes it.
        resume: a JSON file, which is written every few seconds and at the end. Where it is there already, the points
            that it holds are taken from it, other than those that failed.
        executor: where Vela runs: any executor, which is not shut down. By default worker processes of this machine.
        workers: how many worker processes; as many as there are cores if not given. Not beside `executor`.
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
    rows = _rows(recipes)
    axes = dict(zip(AXES, map(_values, (macs, system_config, memory_mode, optimise))))
    tasks, skipped = _legal(rows, axes, settings)
    lowerings = {row.name: _lowering(row, tasks) for row in rows if any(task.recipe is row for task in tasks)}

    def lower(row: Recipe) -> LoweredProgram:
        first = next(task for task in tasks if task.recipe is row)
        given = {**settings, **first.point.options}
        session = export(model, ArmRecipeType[row.name], example_inputs, calibration=shared, progress=progress, **given)
        return LoweredProgram(session)

    shared = _shared(calibration) if len(set(lowerings.values())) > 1 else calibration
    sweeping = _Sweep(resume, _header(rows, settings))
    lowered: dict[str, LoweredProgram] = {}
    errors: dict[str, BaseException] = {}
    try:
        for row in rows:
            lowering = lowerings.get(row.name)
            if lowering is None or lowering in lowered or lowering in errors:
                continue
            try:
                lowered[lowering] = lower(row)
            except ArmRecipeError as error:
                if not isinstance(error, LoweringError):
                    raise
                errors[lowering] = error
            except (Exception, SystemExit) as error:
                errors[lowering] = error
        if errors and not lowered:
            raise next(iter(errors.values()))
        graphs = {lowering: program.digest() for lowering, program in lowered.items()}
        sweeping.start(graphs, tasks, skipped)
        for task in tasks:
            failure = errors.get(lowerings[task.recipe.name])
            if failure is not None:
                sweeping.add(dataclasses.replace(task.point, error=f"lowering failed: {failure}"))
        left = [task for task in tasks if task.point.key not in sweeping.found]
        with shown(sys.stderr.isatty() if progress is None else progress) as bars:
            advance = bars.count("vela", len(left))
            for task, outcome in _run(left, lambda task: lowered[lowerings[task.recipe.name]], executor, workers):
                program = lowered[lowerings[task.recipe.name]]
                sweeping.add(_point(task, program, outcome))
                advance()
        sweeping.interrupted = False
    except KeyboardInterrupt:
        pass
    finally:
        sweeping.save()
    programs = {
        row.name: functools.partial(_program, lowered[lowerings[row.name]], row, settings)
        for row in rows
        if lowerings.get(row.name) in lowered
    }
    return dataclasses.replace(sweeping.result(), programs=programs)


@dataclass(frozen=True)
class _Task:
    recipe: Recipe
    point: Point
    configuration: EthosUOptions


def _rows(recipes: Any) -> list[Recipe]:
    given = [recipes] if isinstance(recipes, (ArmRecipeType, str)) else list(recipes)
    rows = []
    for recipe in dict.fromkeys(given):
        row = catalog.BY_NAME.get(recipe.name) if isinstance(recipe, ArmRecipeType) else None
        if row is None or not options.retargetable(row):
            allowed = [each.name for each in catalog.RECIPES if options.retargetable(each)]
            raise ArmRecipeError(f"recipes: {recipe!r} has no Vela configurations to sweep. Allowed: {spell(allowed)}.")
        rows.append(row)
    if not rows:
        raise ArmRecipeError("recipes is empty. Give at least one, e.g. [ArmRecipeType.ETHOSU_U55_INT8].")
    return rows


def _values(given: Any) -> tuple[Any, ...] | None:
    """The values of an axis; None for all."""
    if given == ALL:
        return None
    return tuple(dict.fromkeys([given] if isinstance(given, (str, int)) else given))


def _legal(
    rows: Sequence[Recipe], axes: Mapping[str, tuple[Any, ...] | None], settings: Mapping[str, Any]
) -> tuple[list[_Task], tuple[Skipped, ...]]:
    """Every combination that options and Vela accept, and the others by reason.

    Raises:
        OptionError: a value is legal in no combination, or a setting is not legal at all.
    """
    tasks: list[_Task] = []
    refusals: list[tuple[Mapping[str, Any], OptionError]] = []
    skipped: Counter[tuple[str, str]] = Counter()
    for row in rows:
        candidates = _candidates(row, axes, settings.get("config_ini"))
        for values in itertools.product(*candidates.values()):
            given = dict(zip(candidates, values))
            try:
                resolved = options.resolve(row, {**settings, **given})
            except OptionError as error:
                if error.option not in options.retargetable(row):
                    raise
                refusals.append((given, error))
                skipped[row.name, str(error)] += 1
                continue
            assert isinstance(resolved, EthosUOptions)
            tasks.append(_Task(row, Point(recipe=row.name, **given), resolved))
    for axis, given_values in axes.items():
        for value in given_values or ():
            if not any(task.point.options[axis] == value for task in tasks):
                errors = [error for given, error in refusals if given[axis] == value]
                raise next((error for error in errors if error.option == axis), errors[0])
    if not tasks:
        raise refusals[0][1]
    return tasks, tuple(Skipped(recipe, reason, count) for (recipe, reason), count in skipped.items())


def _candidates(
    row: Recipe, axes: Mapping[str, tuple[Any, ...] | None], config_ini: str | None
) -> dict[str, Sequence[Any]]:
    """The values of each axis to combine. Of the memory modes all that there are: which of them a system configuration
    can have is Vela's to say."""
    declared = options.declared(row)
    config_ini = config_ini or declared["config_ini"].default(row, {})
    candidates: dict[str, Sequence[Any]] = {}
    for axis, given in axes.items():
        if given is not None:
            candidates[axis] = given
        elif axis == "memory_mode":
            try:
                candidates[axis] = vela.read_config(config_ini).memory_modes
            except vela.VelaRefusal:
                options.resolve(row, {"config_ini": config_ini})  # says so in full
                raise
        else:
            legal = declared[axis].legal
            assert legal is not None, f"{axis} has a list of legal values"
            candidates[axis] = legal(row, {"config_ini": config_ini})
    return candidates


def _lowering(row: Recipe, tasks: Sequence[_Task]) -> str:
    """What recipes that lower alike have in common."""
    task = next(task for task in tasks if task.recipe is row)
    return f"{compile_spec(row, task.configuration).tosa_spec} {row.precision.value}"


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


def _point(task: _Task, lowered: LoweredProgram, outcome: dict[bytes, Outline] | str) -> Point:
    if isinstance(outcome, str):
        return dataclasses.replace(task.point, error=outcome)
    made = [outcome[graph] for graph in lowered.graphs]
    # Where things are in a .pte depends on the sizes of payloads, and on which are equal, but not on what they hold.
    stand_ins = [(each.payload_digest * (each.payload_bytes // 32 + 1))[: each.payload_bytes] for each in made]
    pte = lowered.assembled(lowered.spec(task.recipe, task.configuration), stand_ins)
    figures = figures_of([each.summary for each in made], task.point.macs, len(pte))
    layers = layers_of([each.layers for each in made], lowered.origins)
    return dataclasses.replace(task.point, figures=figures, layers=layers)


# the file of results


def _header(rows: Sequence[Recipe], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be the same for points to stand in one file, beside the graphs: other settings than of the lowering,
    and what the configuration file says."""
    declared = options.declared(rows[0])
    config = vela.read_config(settings.get("config_ini") or declared["config_ini"].default(rows[0], {}))
    others = [name for name in options.retargetable(rows[0]) if name not in (*AXES, "config_ini")]
    return {
        "config_ini": config.argument,
        "config_digest": hashlib.sha256(config.path.read_bytes()).hexdigest(),
        **{name: _plain(settings.get(name), declared[name].kind) for name in others},
    }


def _plain(value: Any, kind: options.Kind) -> Any:
    """The value as JSON gives it back."""
    return list(value or ()) if kind is options.STRINGS else value


class _Sweep:
    """The points so far, kept in a file where there is one.

    Attributes:
        found: by key, those of the file included.
        interrupted: whether the sweep ended early, as it may at any time until it is done.
    """

    def __init__(self, file: str | os.PathLike[str] | None, settings: dict[str, Any]) -> None:
        self.found: dict[tuple[Any, ...], Point] = {}
        self.interrupted = True
        self._file = None if file is None else Path(file).expanduser()
        self._settings = settings
        self._vela = version("ethos-u-vela")
        self._graphs: dict[str, str] = {}
        self._order: list[tuple[Any, ...]] = []
        self._skipped: tuple[Skipped, ...] = ()
        self._saved = time.monotonic()
        self._earlier = self._read()

    def _read(self) -> SweepResult | None:
        if self._file is None or not self._file.exists():
            return None
        try:
            earlier = SweepResult.from_json(self._file.read_text(encoding="utf-8"))
        except (ArmRecipeError, OSError, UnicodeDecodeError) as error:
            raise self._refusal(str(error)) from error
        if earlier.vela != self._vela:
            raise self._refusal(f"it was made with Vela {earlier.vela}, and here is {self._vela}.")
        if earlier.settings != self._settings:
            raise self._refusal(f"it was made with other settings: {dict(earlier.settings)}, now {self._settings}.")
        return earlier

    def _refusal(self, why: str) -> ArmRecipeError:
        return ArmRecipeError(f"resume={str(self._file)!r}: {why} Give another file, or remove this one.")

    def start(self, graphs: dict[str, str], tasks: Sequence[_Task], skipped: tuple[Skipped, ...]) -> None:
        """Take the points of the file, if they are of these graphs.

        Args:
            graphs: a digest of each lowering's.
            tasks: of this sweep, in the order of its points.
            skipped: by this sweep.

        Raises:
            ArmRecipeError: they are of others.
        """
        self._order = [task.point.key for task in tasks]
        self._skipped = skipped
        if self._earlier is not None:
            for lowering, digest in self._earlier.graphs.items():
                if graphs.get(lowering, digest) != digest:
                    refusal = self._refusal(
                        "it is of another model, or of this one with other weights, calibration or options of lowering."
                    )
                    self._file = None  # which stays as it is
                    raise refusal
            graphs = {**self._earlier.graphs, **graphs}
            self.found = {point.key: point for point in self._earlier.done}
        self._graphs = graphs

    def add(self, point: Point) -> None:
        self.found[point.key] = point
        if time.monotonic() - self._saved > _SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        if self._file is None or not self._graphs:
            return
        from arm_recipes.files import write_whole

        # Those of this sweep first, then what else the file had.
        keys = dict.fromkeys([*(key for key in self._order if key in self.found), *self.found])
        content = self._result([self.found[key] for key in keys])
        write_whole(self._file, (content.to_json() + "\n").encode())
        self._saved = time.monotonic()

    def result(self) -> SweepResult:
        """The result of the sweep's points, as far as they are done."""
        return self._result([self.found[key] for key in self._order if key in self.found])

    def _result(self, points: Iterable[Point]) -> SweepResult:
        return SweepResult(
            points=with_pareto(points),
            skipped=self._skipped,
            interrupted=self.interrupted,
            vela=self._vela,
            graphs=self._graphs,
            settings=self._settings,
        )


# the runs


_Outcome = dict[bytes, Outline] | str


def _run(
    tasks: Sequence[_Task],
    lowered: Callable[[_Task], LoweredProgram],
    executor: Executor | None,
    workers: int | None,
) -> Iterator[tuple[_Task, _Outcome]]:
    """Have Vela compile each task's graphs, in any order of tasks.

    Yields:
        A task, and what Vela made of each graph, or why it did not.
    """
    if executor is not None:
        for task, outcome in _submitted(tasks, lowered, executor):
            yield task, outcome if outcome is not None else "the executor broke down before it was done"
        return
    broken = []
    with _processes(min(workers or _cores(), max(len(tasks), 1))) as pool:
        for task, outcome in _submitted(tasks, lowered, pool):
            if outcome is None:
                broken.append(task)
            else:
                yield task, outcome
    # A worker that dies takes all points with it that were not done. Which one it was shows when each runs by itself.
    for task in broken:
        with _processes(1) as pool:
            for _, outcome in _submitted([task], lowered, pool):
                yield task, outcome if outcome is not None else "Vela ended its process (a crash, or out of memory)"


def _submitted(
    tasks: Sequence[_Task], lowered: Callable[[_Task], LoweredProgram], executor: Executor
) -> Iterator[tuple[_Task, _Outcome | None]]:
    """None where the executor broke down."""
    futures: dict[Future[tuple[Outline, ...]], tuple[_Task, tuple[bytes, ...]]] = {}
    waiting = deque(tasks)
    try:
        while waiting or futures:
            while waiting and len(futures) < _AT_A_TIME:
                task = waiting.popleft()
                program = lowered(task)
                graphs = tuple(dict.fromkeys(program.graphs))
                flags = vela_flags(program.spec(task.recipe, task.configuration))
                try:
                    with _hidden_main():
                        future = executor.submit(outline, graphs, flags)
                except BrokenExecutor:
                    yield task, None
                else:
                    futures[future] = (task, graphs)
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                task, graphs = futures.pop(future)
                yield task, _outcome(future, graphs)
    finally:
        for future in futures:
            future.cancel()


def _outcome(future: Future[tuple[Outline, ...]], graphs: tuple[bytes, ...]) -> _Outcome | None:
    try:
        return dict(zip(graphs, future.result()))
    except VelaFailure as failure:
        return str(failure)
    except BrokenExecutor:
        return None
    except Exception as error:  # whatever an executor of someone else's raises
        return f"{type(error).__name__}: {error}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Executor]:
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Let worker processes that start now not import the main script, as they usually do: it would have to be guarded
    against running once more, and most likely imports torch."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
