"""Marks every test of one recipe with the recipe's family, so that `-m ethos_u` runs the family's tests."""

from __future__ import annotations

import pytest

from arm_recipes import catalog


def pytest_configure(config: pytest.Config) -> None:
    for family in catalog.Family:
        config.addinivalue_line("markers", f"{family.value}: tests of the recipes of this family")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        recipe = getattr(item, "callspec", None) and item.callspec.params.get("recipe")  # type: ignore[attr-defined]
        if isinstance(recipe, catalog.Recipe):
            item.add_marker(recipe.family.value)
