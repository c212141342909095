"""What `export` has its session do: the lowering and the check, with the state of the process as both need it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Iterator, Mapping

import torch
from executorch.export import ExportRecipe, ExportSession, StageType

from arm_recipes.checking import run
from arm_recipes.checking.result import failure
from arm_recipes.errors import ArmRecipeError, CalibrationError, LoweringError, ToolError
from arm_recipes.lowering.calibration import Samples
from arm_recipes.lowering.snapshot import TakeSnapshot, has_snapshots
from arm_recipes.recipes import catalog
from arm_recipes.samples.models import Model
from arm_recipes.simulators.registry import start_early
from arm_recipes.tools import vela
from arm_recipes.upstream import failures, leftovers, lowered_graphs, partitioner, savings
from arm_recipes.upstream.session import keep

from .arguments import Inputs, in_eval_mode, refusal_of, to_eval
from .progress import ProgressBars, shown


@dataclasses.dataclass
class Lowering:
    """Lowers what a session was made for: at once, or when more is asked of it than a cache has.

    Attributes:
        recipe: of the session, without the calibration data.
        models: by method.
        inputs: example inputs by method.
        check: whether to hold the program against the model.
        progress: whether to show a progress bar; None where standard error is a terminal.
        bars: those that are shown now.
    """

    recipe: ExportRecipe
    models: Mapping[str, Model]
    inputs: Mapping[str, list[Inputs]]
    check: bool
    progress: bool | None
    bars: ProgressBars = dataclasses.field(default_factory=lambda: ProgressBars(None))

    def samples(self, samples: Samples, total: int | None) -> Samples:
        """`samples`, with a bar of their own where bars are shown."""
        return self.bars.samples(samples, total)

    def run(self, session: ExportSession, *, checked: bool = False) -> None:
        """Have a session export, keep what it leaves to its caller, and check its program.

        Args:
            session: to export.
            checked: whether the check's outcome is known.

        Raises:
            CalibrationError, ModelError, LoweringError, ToolError: as `export`.
        """
        check = self.check and not checked
        with contextlib.ExitStack() as stack:
            stack.enter_context(state_of_the_process())
            for module in to_eval(self.models):
                stack.enter_context(in_eval_mode(module))
            self.bars = stack.enter_context(shown(sys.stderr.isatty() if self.progress is None else self.progress))
            self.bars.stages(session)
            for kept in snapshots_of(self.recipe) if check else ():
                start_early(kept.recipe)
            if _takes_snapshot(self.recipe):
                stack.enter_context(lowered_graphs.keeping())
            with savings.once(), vela.printed_to_log(logging.INFO) as printed, partitioner.watched() as verdicts:
                try:
                    session.export()
                except Exception as error:
                    told = _told(self.recipe, error) or refusal_of(self.models, self.inputs)
                    if told is None:
                        raise
                    raise told from (None if told is error.__cause__ else error)
            keep(session, self.models, verdicts, printed.getvalue())
            if check and has_snapshots(session):
                _check(session, self.models, self.inputs)


@contextlib.contextmanager
def state_of_the_process() -> Iterator[None]:
    """What torch, executorch and Vela read and write of it: for one thread at a time, as they want it within the
    context, and as it was after it."""
    with vela.temporary_without_spaces(), torch.random.fork_rng(devices=[]), leftovers.none_kept():
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _check(session: ExportSession, models: Mapping[str, Model], inputs: Mapping[str, list[Inputs]]) -> None:
    """
    Raises:
        LoweringError: the program does not compute what the model does.
        ModelError: the model can't be run itself: torch's fake tensors take what real ones don't.
    """
    outcome = run.check(session)
    refusal = None if all(method.checked for method in outcome.methods) else refusal_of(models, inputs)
    if refusal is not None:
        raise refusal
    for method in outcome.methods:
        if not method.right:
            raise LoweringError(failure(outcome.recipe, method))


def snapshots_of(recipe: ExportRecipe) -> list[TakeSnapshot]:
    """What takes the snapshots of a recipe's programs; of a recipe that was combined of several, for each."""
    passes = (recipe.lowering_recipe and recipe.lowering_recipe.edge_manager_transform_passes) or []
    return [each for each in passes if isinstance(each, TakeSnapshot)]


def _takes_snapshot(recipe: ExportRecipe) -> bool:
    """Whether the session comes to the stage in which recipes of arm_recipes look at the lowered program."""
    stages = recipe.pipeline_stages
    return stages is None or StageType.EDGE_PROGRAM_MANAGER_TRANSFORM in stages


def _told(recipe: ExportRecipe, error: Exception) -> ArmRecipeError | None:
    """What is raised in the place of what a session raised; None where it stays.

    What the calibration, executorch's lowering or Vela raised is told in its innermost cause's words, not in names of
    passes.
    """
    if isinstance(error, ArmRecipeError):
        return None
    if isinstance(error.__cause__, ArmRecipeError):  # the session wraps what a recipe's quantization passes raise
        return error.__cause__
    name = next((row.name for row in catalog.RECIPES if row.value == recipe.name), recipe.name)
    refused = failures.of_this_machine(error)
    if refused is not None:
        return ToolError(f"{name}: {refused}")
    observed = failures.not_finite(error)
    if observed is not None:
        return CalibrationError(
            f"{name}: a value of {observed} is NaN or infinite on a calibration sample, and would spoil the "
            "quantization. It arises inside the model: look there for a logarithm, a root or a division of what may be "
            "zero or negative."
        )
    flow = failures.control_flow(error)
    if flow is not None:
        return LoweringError(
            f"{name}: executorch can't quantize the model's {flow}: {failures.words(failures.chain(error)[-1])}. Take "
            "it out of the model, or take a float recipe."
        )
    if not failures.from_lowering(error):
        return None
    place = failures.place(error)
    return LoweringError(
        f"{name}: executorch's lowering fails{f' at {place}' if place else ''}, with "
        f"{failures.words(failures.chain(error)[-1]).rstrip('.')}. Change the model there, or take another recipe; the "
        "exceptions that this one was raised from tell more."
    )
