"""What importing costs: the root, the catalog, the options and the errors load neither torch nor executorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import arm_recipes

_HEAVY = "print(*sorted({'torch', 'executorch', 'torchao'} & sys.modules.keys()))"


def _loaded_by(statement: str) -> list[str]:
    code = f"import sys; {statement}; {_HEAVY}"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import arm_recipes; dir(arm_recipes); arm_recipes.__version__",
        "from arm_recipes import OptionError",
        "import arm_recipes.recipes.catalog, arm_recipes.errors, arm_recipes.tools.vela",
        "import arm_recipes.recipes.options, arm_recipes.tools.cmsis_nn",
        "import arm_recipes.reporting.advice, arm_recipes.reporting.result, arm_recipes.documents",
        "import arm_recipes.sweeping.result; from arm_recipes.tools.vela import compiler; compiler.start_worker()",
    ],
)
def test_is_light(statement: str) -> None:
    assert _loaded_by(statement) == []


def test_a_listing_loads_of_executorch_only_the_table_of_cores() -> None:
    """What a listing needs is every option of every recipe."""
    code = (
        "import sys; from arm_recipes.recipes import catalog, options; "
        "[options.describe(recipe) for recipe in catalog.RECIPES]; "
        "print(*(name for name in sys.modules if name.startswith(('torch', 'executorch.'))))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    packages = {"executorch.backends"}
    assert all(name in packages or name.startswith("executorch.backends.cortex_m") for name in loaded)
    assert "executorch.backends.cortex_m.target_config" in loaded


def test_the_check_can_fail() -> None:
    assert _loaded_by("from arm_recipes import ArmRecipeType") == ["executorch", "torch", "torchao"]


def test_every_public_name_is_there() -> None:
    assert set(arm_recipes.__all__) - set(vars(arm_recipes)) <= {"__version__", *arm_recipes._MODULES}
    for name in arm_recipes.__all__:
        assert getattr(arm_recipes, name) is not None
    assert dir(arm_recipes) == sorted(arm_recipes.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'arm_recipes' has no attribute 'ArmRecipe'"):
        _ = arm_recipes.ArmRecipe
