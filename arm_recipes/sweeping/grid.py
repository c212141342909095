"""What a sweep goes through: every combination of the options given that the recipes and Vela accept."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arm_recipes.errors import ArmRecipeError, OptionError, spell
from arm_recipes.lowering.ethos_u import compile_spec
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.tools import vela

from .result import Point, Skipped

ALL = "all"


@dataclass(frozen=True)
class Task:
    """A point to be estimated.

    Attributes:
        recipe: the catalog row.
        lowering: name of what the recipe lowers to, the same for recipes that lower alike.
        point: the point, without figures.
        configuration: the recipe's options as resolved.
    """

    recipe: Recipe
    lowering: str
    point: Point
    configuration: EthosUOptions


def rows_of(recipes: Any) -> list[Recipe]:
    """The catalog rows of a sweep's recipes, each once.

    Raises:
        ArmRecipeError: one has no Vela configurations, or there is none.
    """
    several = [recipes] if isinstance(recipes, (ArmRecipeType, str)) else list(recipes)
    rows = []
    for recipe in dict.fromkeys(several):
        row = catalog.BY_NAME.get(recipe.name) if isinstance(recipe, ArmRecipeType) else None
        if row is None or not options.retargetable(row):
            allowed = [each.name for each in catalog.RECIPES if options.retargetable(each)]
            raise ArmRecipeError(f"recipes: {recipe!r} has no Vela configurations to sweep. Allowed: {spell(allowed)}.")
        rows.append(row)
    if not rows:
        raise ArmRecipeError("recipes is empty. Give at least one, e.g. [ArmRecipeType.ETHOSU_U55_INT8].")
    return rows


def axis_values(values: Any) -> tuple[Any, ...] | None:
    """The values of an axis, each once; None for all."""
    if values == ALL:
        return None
    return tuple(dict.fromkeys([values] if isinstance(values, (str, int)) else values))


def legal(
    rows: Sequence[Recipe], axes: Mapping[str, tuple[Any, ...] | None], settings: Mapping[str, Any]
) -> tuple[list[Task], tuple[Skipped, ...]]:
    """Every combination that options and Vela accept, and the others by reason.

    Raises:
        OptionError: a value is legal in no combination, or a setting is not legal at all.
    """
    tasks: list[Task] = []
    refusals: list[tuple[Mapping[str, Any], OptionError]] = []
    skipped: Counter[tuple[str, str]] = Counter()
    for row in rows:
        candidates = _candidates(row, axes, settings.get("config_ini"))
        for values in itertools.product(*candidates.values()):
            combination = dict(zip(candidates, values, strict=True))
            try:
                resolved = options.resolve(row, {**settings, **combination})
            except OptionError as error:
                if error.option not in options.retargetable(row):
                    raise
                refusals.append((combination, error))
                skipped[row.name, str(error)] += 1
                continue
            assert isinstance(resolved, EthosUOptions)
            lowering = f"{compile_spec(row, resolved).tosa_spec} {row.precision.value}"
            tasks.append(Task(row, lowering, Point(recipe=row.name, **combination), resolved))
    for axis, wanted in axes.items():
        for value in wanted or ():
            if not any(task.point.options[axis] == value for task in tasks):
                errors = [error for combination, error in refusals if combination[axis] == value]
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
    for axis, wanted in axes.items():
        if wanted is not None:
            candidates[axis] = wanted
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
