"""THE table of simulators: one row for each class that runs programs. No torch here: classes are imported on demand.

A simulator is a module with a class that follows `base.Simulator` and is made as `base.Maker` says, and a row here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arm_recipes.errors import ArmRecipeError, SimulationError, ToolError, nearest
from arm_recipes.recipes.catalog import Family, Recipe
from arm_recipes.tools import fvp, qemu

from .worker.process import start

if TYPE_CHECKING:
    from executorch.export import ExportSession

    from arm_recipes.lowering.snapshot import Snapshot

    from .base import Maker, Simulator

AUTO = "auto"
REFERENCE = "reference"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A simulator.

    Attributes:
        name: what `verify(simulator=...)` calls it. The reference simulators of all families share one.
        families: whose programs it runs.
        made_by: its class, with the module.
        runs: what it runs, for the error where that is asked of another family.
        automatic: whether ``auto`` may choose it: the first that works, in the order of the table.
        passed_over: what the report notes where ``auto`` had to take the next one; the reason follows.
        worker: module of `simulators.worker` that its process runs; empty where it has none that can be started early.
        traces: whether it shows tensors from inside a program.
        needs: raises ToolError where a recipe's program can't be run for want of a tool. Asked before the export. Takes
            the path of the runner, too.
        runner: the environment variable that names the firmware it runs programs by, where a caller doesn't; empty
            where there is none.
    """

    name: str
    families: tuple[Family, ...]
    made_by: str
    runs: str = "programs of all families"
    automatic: bool = True
    passed_over: str = ""
    worker: str = ""
    traces: bool = True
    needs: Callable[[Recipe, str | None], object] = lambda recipe, runner: None
    runner: str = ""

    def make(
        self, session: ExportSession, program: Snapshot, *, timeout: float, runner: str | None = None
    ) -> Simulator:
        """Make it, as `base.Maker` says."""
        module, _, name = self.made_by.rpartition(".")
        maker: Maker = getattr(importlib.import_module(module), name)
        more = {"runner": runner} if self.runner else {}
        return maker(session, program, timeout=timeout, **more)


SIMULATORS: tuple[Row, ...] = (
    Row(
        name="vulkan",
        families=(Family.VGF,),
        made_by="arm_recipes.simulators.vgf_emulation.VgfEmulation",
        runs=".vgf files",
        passed_over="The .vgf files were not run, but the TOSA graphs they were made of.",
    ),
    Row(
        name=REFERENCE,
        families=(Family.ETHOS_U, Family.TOSA, Family.VGF),
        made_by="arm_recipes.simulators.tosa_reference.TosaReference",
        worker="tosa",
    ),
    Row(
        name=REFERENCE,
        families=(Family.CORTEX_M,),
        made_by="arm_recipes.simulators.cortex_m_reference.CortexMReference",
        worker="edge",
    ),
    Row(
        name="fvp",
        families=(Family.ETHOS_U, Family.CORTEX_M),
        made_by="arm_recipes.simulators.fvp.Fvp",
        runs="programs for Ethos-U and Cortex-M",
        automatic=False,
        traces=False,
        needs=lambda recipe, runner: fvp.find_board(recipe.target.name, runner),
        runner=fvp.RUNNER,
    ),
    Row(
        name="qemu",
        families=(Family.CORTEX_M,),
        made_by="arm_recipes.simulators.qemu.Qemu",
        runs="programs for Cortex-M",
        automatic=False,
        traces=False,
        needs=lambda recipe, runner: qemu.find(recipe.target.name, runner),
        runner=qemu.RUNNER,
    ),
)

NAMES = tuple(dict.fromkeys((AUTO, REFERENCE, *(row.name for row in SIMULATORS))))


def check_simulator(simulator: str, recipe: Recipe, *, per_layer: bool, runner: str | None = None) -> None:
    """
    Raises:
        ArmRecipeError: there is no such simulator, or it is not for the recipe, or can't look at layers, or has no
            runner.
        ToolError: it needs a tool that is not here.
    """
    own = _rows(simulator, recipe)
    allowed = ", ".join(repr(name) for name in NAMES if _rows(name, recipe))
    if simulator not in NAMES:
        near = nearest(simulator, NAMES)
        hint = f" Did you mean {near!r}?" if near else ""
        raise ArmRecipeError(f"simulator={simulator!r} is no simulator.{hint} Allowed: {allowed}.")
    if not own:
        runs = next(row.runs for row in SIMULATORS if row.name == simulator)
        raise ArmRecipeError(f"simulator={simulator!r} runs {runs}, and {recipe.name} makes none. Allowed: {allowed}.")
    if per_layer and not any(row.traces for row in own):
        raise ArmRecipeError(
            f"simulator={simulator!r} shows nothing of a program's inside, and so no layers. Leave out per_layer, or "
            f"take simulator={REFERENCE!r} for them."
        )
    if runner is not None and (simulator == AUTO or not own[0].runner):
        names = " or ".join(repr(row.name) for row in SIMULATORS if row.runner and recipe.family in row.families)
        advice = f"Give simulator={names} with it, or leave it out" if names else "Leave it out"
        raise ArmRecipeError(f"runner={runner!r}: simulator={simulator!r} runs programs without one. {advice}.")
    if simulator != AUTO:
        own[0].needs(recipe, runner)


def make_simulator(
    simulator: str, session: ExportSession, program: Snapshot, *, timeout: float, runner: str | None = None
) -> Simulator:
    """Make the simulator called `simulator`, or for ``auto`` the first that works.

    Args:
        simulator: one that `check_simulator` accepts.
        session: done with its export.
        program: the session's method to run.
        timeout: seconds that it may take for one delegate, or one program, on one sample.
        runner: path of the firmware that it runs programs by; None for the one that the environment names.

    Raises:
        ToolError: a tool is missing.
        SimulationError: the simulator does not accept the program.
        ModelError: it runs programs of one method only.
    """
    *first, last = _rows(simulator, program.recipe)
    notes: list[str] = []
    for row in first:
        try:
            return row.make(session, program, timeout=timeout, runner=runner)
        except (ToolError, SimulationError) as error:
            notes.append(f"{row.passed_over} {error}")
    made = last.make(session, program, timeout=timeout, runner=runner)
    made.notes = (*notes, *made.notes)
    return made


def start_early(recipe: Recipe) -> None:
    """Start the process of a recipe's reference simulator, which takes seconds, while there is other work to do."""
    for row in _rows(REFERENCE, recipe):
        if row.worker:
            start(row.worker, row.name)


def _rows(simulator: str, recipe: Recipe) -> list[Row]:
    """The rows that a name can mean for a recipe: more than one for ``auto`` alone."""
    rows = [row for row in SIMULATORS if recipe.family in row.families]
    return [row for row in rows if (row.automatic if simulator == AUTO else row.name == simulator)]
