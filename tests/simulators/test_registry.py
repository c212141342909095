"""The table of simulators."""

from __future__ import annotations

import importlib
import re

import pytest

from arm_recipes.errors import ArmRecipeError
from arm_recipes.recipes import catalog
from arm_recipes.simulators.registry import AUTO, NAMES, REFERENCE, SIMULATORS, Row, check_simulator


@pytest.mark.parametrize("row", SIMULATORS, ids=lambda row: row.made_by)
def test_every_row_names_a_class(row: Row) -> None:
    module, _, name = row.made_by.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    assert {"run", "trace"} <= set(dir(cls))


def test_a_name_and_a_family_mean_one_simulator() -> None:
    pairs = [(row.name, family) for row in SIMULATORS for family in row.families]
    assert len(pairs) == len(set(pairs))
    assert {family for name, family in pairs if name == REFERENCE} == set(catalog.Family)


def test_where_auto_can_pass_over_a_simulator_it_has_something_to_note() -> None:
    for family in catalog.Family:
        *first, last = [row for row in SIMULATORS if family in row.families and row.automatic]
        assert all(row.passed_over for row in first)
        assert last.name == REFERENCE


@pytest.mark.parametrize(
    ("simulator", "recipe", "message"),
    [
        ("renode", "TOSA_INT8", "simulator='renode' is no simulator. Allowed: 'auto', 'reference'."),
        ("vulcan", "VGF_FP", "Did you mean 'vulkan'? Allowed: 'auto', 'reference', 'vulkan'."),
        (
            "vulkan",
            "ETHOSU_U55_INT8",
            "simulator='vulkan' runs .vgf files, and ETHOSU_U55_INT8 makes none. Allowed: 'auto', 'reference', 'fvp'.",
        ),
        ("fvp", "CORTEX_M55_INT8", "simulator='fvp' shows nothing of a program's inside, and so no layers."),
    ],
)
def test_what_does_not_fit_is_refused(simulator: str, recipe: str, message: str) -> None:
    with pytest.raises(ArmRecipeError) as caught:
        check_simulator(simulator, catalog.BY_NAME[recipe], per_layer=True)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("simulator", "recipe", "message"),
    [
        ("auto", "CORTEX_M55_INT8", "simulator='auto' runs programs without one. Give simulator='fvp' or 'qemu' with"),
        ("reference", "ETHOSU_U85_INT8", "'reference' runs programs without one. Give simulator='fvp' with it, or"),
        ("auto", "TOSA_INT8", "simulator='auto' runs programs without one. Leave it out."),
        ("qemu", "CORTEX_M55_INT8", "runner='no.elf' is no file"),
        ("fvp", "ETHOSU_U85_INT8", "runner='no.elf' is no file"),
    ],
)
def test_a_runner_is_for_boards_and_there(simulator: str, recipe: str, message: str) -> None:
    with pytest.raises(ArmRecipeError, match=re.escape(message)):
        check_simulator(simulator, catalog.BY_NAME[recipe], per_layer=False, runner="no.elf")


def test_auto_and_the_reference_are_for_all_recipes() -> None:
    assert NAMES[:2] == (AUTO, REFERENCE)
    for recipe in catalog.RECIPES:
        for name in NAMES[:2]:
            check_simulator(name, recipe, per_layer=True)
