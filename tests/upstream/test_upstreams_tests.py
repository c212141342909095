"""executorch's own tests of its Arm recipes, run on ours: they pass, but for a few that differ by design."""

from __future__ import annotations

import importlib.util
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import executorch.backends.arm
import pytest
from executorch.export import recipe_registry

from arm_recipes import ArmRecipeProvider, ArmRecipeType

_FILE = Path(executorch.backends.arm.__path__[0]) / "test" / "recipes" / "test_arm_recipes.py"
_PACKAGE = "executorch.backends.arm.recipes"

# What is other, and why.
_DIFFER = {
    "TestTosaRecipes.test_unexpected_kwarg_warns": "an unknown option is an error",
    "TestEthosURecipes.test_unexpected_kwarg_warns": "the same",
    "TestEthosURecipes.test_extra_flags_must_be_a_list": "the error's words",
    "TestEthosURecipes.test_macs_must_be_an_int": "the error's words",
    "TestEthosURecipes.test_documented_kwargs_do_not_warn": "a config_ini that is not there is an error",
    "TestEthosURecipes.test_pass_through_kwargs": "the same, and ./custom/vela.ini is what Vela finds below the folder",
    "TestEthosURecipes.test_fp_recipes_run_no_post_partition_transform": "checks and the snapshot run there",
    "TestVgfRecipes.test_keeps_quantized_decomposed_ops": "the same",
}


class _Names:
    """Our rows under upstream's names. As there, iterating gives them all."""

    def __getattr__(self, name: str) -> ArmRecipeType:
        return ArmRecipeType[name.replace("ETHOS_U", "ETHOSU_U")]

    def __iter__(self) -> Any:
        return iter(ArmRecipeType)


def _upstreams_tests() -> types.ModuleType:
    provider, names = types.ModuleType("provider"), types.ModuleType("names")
    provider.ArmRecipeProvider = ArmRecipeProvider  # type: ignore[attr-defined]
    names.ARM_BACKEND, names.ArmRecipeType = ArmRecipeType.get_backend_name(), _Names()  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("upstreams_recipe_tests", _FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, f"{_PACKAGE}.arm_recipe_provider", provider)
        patch.setitem(sys.modules, f"{_PACKAGE}.arm_recipe_types", names)
        spec.loader.exec_module(module)
    return module


def test_they_pass() -> None:
    suite = unittest.defaultTestLoader.loadTestsFromModule(_upstreams_tests())
    result = unittest.TestResult()
    suite.run(result)
    failed: dict[str, str] = {}
    for test, trace in (*result.failures, *result.errors):
        name = getattr(test, "test_case", test).id().rpartition(".")[0].rpartition(".")[2]
        failed.setdefault(f"{name}.{getattr(test, 'test_case', test)._testMethodName}", trace.strip().splitlines()[-1])
    assert result.testsRun >= 25
    assert failed.keys() == _DIFFER.keys(), failed
    assert "arm_recipes" in recipe_registry.list_backends()
