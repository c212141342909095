"""Which families' recipes a test is about: read from its parameters, and from the code in tests/ that it reaches."""

from __future__ import annotations

import dis
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pytest

from arm_recipes.recipes import catalog

# They export rows of the catalog by `exported`, or share what they export otherwise.
_OF_EACH_ROW = {
    "tests/lowering/test_cortex_m.py",
    "tests/lowering/test_integer_io.py",
    "tests/lowering/test_oracle.py",
    "tests/lowering/test_recipes.py",
    "tests/reporting/test_golden.py",
    "tests/simulators/test_vgf_emulation.py",
    "tests/verification/test_catalog.py",
}

_EXPORTS = {"export", "ExportSession", "verify", "sweep"}


class Reached(NamedTuple):
    families: frozenset[catalog.Family]
    exports: bool
    """Whether there is a call of executorch's `export` or of ours, or of what exports in its turn."""


@functools.cache
def reached(item: pytest.Function) -> Reached:
    """By a test, its fixtures and its parameters, or by the latter alone where one is a row of the catalog."""
    definitions = [each[-1] for each in item._fixtureinfo.name2fixturedefs.values()]
    functions = [item.function, *(each.func for each in definitions)]
    parts = [_by_function(function) for function in functions]
    own = vars(item.cls or object)  # what the test may get at by way of self
    parts.append(_by_values(own[name] for name in item.function.__code__.co_names if name in own))
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    parts.append(_by_values(values))
    rows = frozenset(value.family for value in values if isinstance(value, catalog.Recipe))
    families = frozenset().union(*(part.families for part in parts))
    return Reached(rows or families, any(part.exports for part in parts))


@functools.cache
def _by_function(function: Callable[..., Any]) -> Reached:
    return _by_values([function])


def _by_values(values: Iterable[object]) -> Reached:
    families: set[catalog.Family] = set()
    exports = False
    pending, seen = list(values), set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, str):
            families |= {recipe.family for recipe in _named(value)}
        elif isinstance(value, catalog.Recipe):
            families.add(value.family)
        elif type(value).__name__ == "ArmRecipeType":  # whose module imports torch
            families.add(catalog.BY_NAME[value.name].family)  # type: ignore[attr-defined]
        elif isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, (tuple, list, set, frozenset)):
            pending += value
        elif isinstance(value, (staticmethod, classmethod)):
            pending.append(value.__func__)
        elif isinstance(value, (types.FunctionType, type, functools._lru_cache_wrapper)):
            exports |= _is_export(value)
            pending += _of_code(value)
    return Reached(frozenset(families), exports)


def group_of(nodeid: str) -> str:
    """What one of several workers is to run of the suite, by a test's id: what shares exports, else the file."""
    file, _, test = nodeid.partition("::")
    row = catalog.BY_NAME.get(re.split(r"[\[\]-]", test)[1] if "[" in test else "")
    if row is not None and file in _OF_EACH_ROW:
        return {catalog.Family.ETHOS_U: "Ethos-U", catalog.Family.CORTEX_M: "Cortex-M"}.get(row.family, "TOSA")
    return next((name for name in ("mobilenet", "digits") if name in nodeid), file)


def _named(text: str) -> list[catalog.Recipe]:
    words = text.upper().replace("-", "_")
    return [recipe for recipe in catalog.RECIPES if recipe.name in words]


def _is_export(value: Any) -> bool:
    return value.__name__ in _EXPORTS and value.__module__.startswith(("arm_recipes", "executorch.export"))


def _of_code(value: Any) -> list[object]:
    """Constants, defaults and globals of a function or of a class's methods, if they are in tests/."""
    if not (value.__module__ or "").startswith("tests."):
        return []
    if isinstance(value, type):
        return [member for member in vars(value).values() if callable(member) or isinstance(member, staticmethod)]
    function = inspect.unwrap(value)
    pending: list[types.CodeType] = [function.__code__]
    parts: list[object] = [function.__defaults__, function.__kwdefaults__]
    for code in pending:
        pending += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        parts += [constant for constant in code.co_consts if not isinstance(constant, types.CodeType)]
        parts += [name for name in code.co_names if name in catalog.BY_NAME]  # ArmRecipeType.NAME
        names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
        parts += [function.__globals__[name] for name in names & function.__globals__.keys()]
    return [*parts, *(cell.cell_contents for cell in function.__closure__ or ())]
