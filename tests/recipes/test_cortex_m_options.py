"""Options of the Cortex-M recipes, and what executorch's table of cores says of them. No torch here."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from arm_recipes.errors import OptionError, ToolError
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.cortex_m import CortexMOptions
from arm_recipes.tools import cmsis_nn

pytestmark = pytest.mark.cortex_m

_ROWS = [recipe for recipe in catalog.RECIPES if recipe.family is catalog.Family.CORTEX_M]

# (recipe, kwargs, the whole message)
_REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "CORTEX_M33_INT8",
        {"isa": "MVE"},
        "CORTEX_M33_INT8: isa='MVE' is not legal for cortex-m33. Allowed: DSP, SCALAR.",
    ),
    (
        "CORTEX_M0PLUS_INT8",
        {"isa": "DSP"},
        "CORTEX_M0PLUS_INT8: isa='DSP' is not legal for cortex-m0plus. Allowed: SCALAR.",
    ),
    (
        "CORTEX_M55_INT8",
        {"isa": "mve"},
        "CORTEX_M55_INT8: isa='mve' is not legal for cortex-m55. Did you mean 'MVE'? Allowed: MVE, DSP, SCALAR.",
    ),
    (
        "CORTEX_M55_INT8",
        {"isa": 1},
        "CORTEX_M55_INT8: isa=1 is of type int. Allowed: a value of type str, one of MVE, DSP, SCALAR.",
    ),
    (
        "CORTEX_M85_INT8",
        {"io_layout": "nhcw"},
        "CORTEX_M85_INT8: io_layout='nhcw' is not legal for cortex-m85. Allowed: contiguous, channels_last.",
    ),
    (
        "CORTEX_M85_INT8",
        {"io_layout": None},
        "CORTEX_M85_INT8: io_layout=None is of type NoneType. Allowed: a value of type str, one of "
        "contiguous, channels_last.",
    ),
    (
        "CORTEX_M4_INT8",
        {"drop_unused_constants": 1},
        "CORTEX_M4_INT8: drop_unused_constants=1 is of type int. Allowed: a value of type bool.",
    ),
    (
        "CORTEX_M4_INT8",
        {"allow_portable_fallback": "yes"},
        "CORTEX_M4_INT8: allow_portable_fallback='yes' is of type str. Allowed: a value of type bool.",
    ),
    (
        "CORTEX_M7_INT8",
        {"per_channel": True},
        "CORTEX_M7_INT8: per_channel=True is no option of this recipe. Allowed: isa, io_layout, "
        "drop_unused_constants, allow_portable_fallback, calibration, io_dtype, cures.",
    ),
    (
        "CORTEX_M7_INT8",
        {"drop_unused_constant": True},
        "CORTEX_M7_INT8: drop_unused_constant=True is no option of this recipe. Did you mean 'drop_unused_constants'? "
        "Allowed: isa, io_layout, drop_unused_constants, allow_portable_fallback, calibration, io_dtype, cures.",
    ),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), _REFUSED)
def test_mistakes_are_refused(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        options.resolve(catalog.BY_NAME[name], kwargs)
    assert str(caught.value) == message


def test_the_recipes_are_these() -> None:
    """Names and values are public, and so are the cores they are for."""
    assert {recipe.name: (recipe.value, recipe.target.name) for recipe in _ROWS} == {
        f"CORTEX_{core}_INT8": (f"arm_cortex_{core.lower()}_int8", f"cortex-{core.lower()}")
        for core in ("M0", "M0PLUS", "M3", "M4", "M7", "M23", "M33", "M35P", "M55", "M85")
    }


def test_there_is_a_recipe_for_every_core_that_executorch_knows() -> None:
    from executorch.backends.cortex_m.target_config import CortexM, CortexMTargetConfig

    known = {CortexMTargetConfig(cpu=core).target_string for core in CortexM}
    assert {recipe.target.name for recipe in _ROWS} == known


@pytest.mark.parametrize("recipe", _ROWS, ids=lambda recipe: recipe.name)
def test_defaults_are_upstreams_and_legal_values_are_what_the_core_runs(recipe: catalog.Recipe) -> None:
    from executorch.backends.cortex_m.target_config import CortexMTargetConfig

    resolved = options.resolve(recipe, {})
    assert resolved == CortexMOptions(
        isa=CortexMTargetConfig.from_target_string(recipe.target.name).backend.name,
        io_layout="contiguous",
        drop_unused_constants=False,
        allow_portable_fallback=False,
        calibration=None,
        io_dtype="float32",
        cures=True,
    )
    for isa in cmsis_nn.isas(recipe.target.name):
        assert cmsis_nn.target_config(recipe.target.name, isa).backend.name == isa
        assert options.resolve(recipe, {"isa": isa}) == options.resolve(
            recipe, options.parse(recipe, {"isa": isa, "io_layout": "contiguous"})
        )
    for isa in {"MVE", "DSP", "SCALAR"} - set(cmsis_nn.isas(recipe.target.name)):
        with pytest.raises(ValueError, match="is not supported on"):
            cmsis_nn.target_config(recipe.target.name, isa)


def test_every_core_runs_scalar_code_and_the_newest_run_all() -> None:
    assert all("SCALAR" in cmsis_nn.isas(recipe.target.name) for recipe in _ROWS)
    assert cmsis_nn.isas("cortex-m85") == ("MVE", "DSP", "SCALAR")


def test_none_is_the_default_isa() -> None:
    recipe = catalog.BY_NAME["CORTEX_M55_INT8"]
    assert options.resolve(recipe, {"isa": None}) == options.resolve(recipe, {})


def test_without_the_table_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch.backends.cortex_m.library", None)
    with pytest.raises(ToolError, match=r"^Cortex-M recipes need the CMSIS-NN module of executorch.*pip install"):
        cmsis_nn.target_config("cortex-m55")


def test_describing_them_is_light() -> None:
    code = (
        "import sys; from arm_recipes.recipes import catalog, options; "
        "[options.describe(r) for r in catalog.RECIPES if r.name.startswith('CORTEX')]; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
