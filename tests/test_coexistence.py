"""Registration: once, by importing a name that needs it, beside executorch's own Arm provider."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


_OURS = """
from arm_recipes import {name}
from executorch.export import recipe_registry
provider = recipe_registry._providers["arm_recipes"]
import arm_recipes
arm_recipes.register()
assert recipe_registry._providers["arm_recipes"] is provider, "registered twice"
assert set(recipe_registry.list_backends()) - {{"arm"}} == {{"arm_recipes"}}
"""
_UPSTREAMS = "from executorch.backends.arm.recipes import ArmRecipeType as Upstreams"
_BOTH = """
from arm_recipes import ArmRecipeType
from executorch.export import ExportRecipe, export
from tests import models
example = models.linear()
ours, theirs = ExportRecipe.get_recipe(ArmRecipeType.TOSA_FP), ExportRecipe.get_recipe(Upstreams.TOSA_FP)
ptes = [export(example.model, [example.inputs], r).get_pte_buffer() for r in (ours, theirs)]
print(sorted(recipe_registry.list_backends()), ptes[0] == ptes[1])
"""


@pytest.mark.parametrize(
    ("first", "then"),
    [(_OURS.format(name="ArmRecipeType"), _UPSTREAMS), (_UPSTREAMS, _OURS.format(name="register"))],
    ids=["ours first", "upstream's first"],
)
def test_importing_a_name_registers_once_and_both_providers_work_in_one_process(first: str, then: str) -> None:
    assert _run("\n".join([first, then, _BOTH])) == "['arm', 'arm_recipes'] True"
