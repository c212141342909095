"""Registration: once, by importing a name that needs it, beside executorch's own Arm provider."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

_OURS = "from arm_recipes import ArmRecipeType as Ours"
_UPSTREAMS = "from executorch.backends.arm.recipes import ArmRecipeType as Upstreams"


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("imports", [(_OURS, _UPSTREAMS), (_UPSTREAMS, _OURS)], ids=["ours first", "upstream's first"])
def test_both_providers_work_in_one_process(imports: tuple[str, str]) -> None:
    code = "\n".join(
        [
            *imports,
            "from executorch.export import ExportRecipe, export, recipe_registry",
            "from tests import models",
            "example = models.conv_net()",
            "ours, theirs = ExportRecipe.get_recipe(Ours.TOSA_FP), ExportRecipe.get_recipe(Upstreams.TOSA_FP)",
            "ptes = [export(example.model, [example.inputs], r).get_pte_buffer() for r in (ours, theirs)]",
            "print(sorted(recipe_registry.list_backends()), ptes[0] == ptes[1])",
        ]
    )
    assert _run(code) == "['arm', 'arm_recipes'] True"


@pytest.mark.parametrize("name", ["ArmRecipeType", "register"])
def test_importing_a_name_registers_once(name: str) -> None:
    code = f"""
        from arm_recipes import {name}
        from executorch.export import recipe_registry
        provider = recipe_registry._providers["arm_recipes"]
        import arm_recipes
        arm_recipes.register()
        print(recipe_registry.list_backends(), recipe_registry._providers["arm_recipes"] is provider)
    """
    assert _run(code) == "['arm_recipes'] True"
