"""Recipes and models by the names that people type."""

from __future__ import annotations

import os

import pytest

from arm_recipes import ArmRecipeError
from arm_recipes.recipes import names


@pytest.mark.parametrize(
    "name", ["ETHOSU_U85_INT8", "ethosu-u85-int8", "ethosu_u85-INT8", "arm_ethosu_u85_int8", "arm-ethosu-u85-int8"]
)
def test_a_recipe_has_its_name_in_any_form(name: str) -> None:
    assert names.find_recipe(name).name == "ETHOSU_U85_INT8"


@pytest.mark.parametrize("name", ["", "-", "arm_", "ethos", "int8 ", "🙂"])
def test_what_is_no_recipe_is_refused(name: str) -> None:
    with pytest.raises(ArmRecipeError, match=r"is no recipe\."):
        names.find_recipe(name)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("models/net.py", "net"),
        ("models/net.py:make", "make"),
        ("net.py:ModelUnderTest", "net"),
        ("zoo.nets:small", "small"),
        ("zoo.nets:Nets.small", "small"),
        ("zoo.nets", "nets"),
        ("C:\\nets\\net.py", "net" if os.name == "nt" else "C:\\nets\\net"),
        ("build/net.pt2", "net"),
    ],
)
def test_files_are_called_after_the_model(model: str, name: str) -> None:
    assert names.short_name(model) == name
