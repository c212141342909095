"""The public names stay what they are. Their signatures are in docs/api.txt, which tests/test_docs.py compares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import arm_recipes


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """A package's attribute becomes its subpackage of that name once it is imported, and no longer the function."""
    code = """
import importlib, pkgutil, types
import arm_recipes
for module in pkgutil.walk_packages(arm_recipes.__path__, "arm_recipes."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in arm_recipes.__all__:
    exported = getattr(arm_recipes, name)
    assert not isinstance(exported, types.ModuleType), name
    if name != "__version__":
        module = importlib.import_module(f"arm_recipes.{arm_recipes._MODULES[name]}")
        assert exported is vars(module)[name], name
        assert exported.__name__ == name
print("same")
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "same\n"


def test_every_public_name_is_listed_with_its_signature() -> None:
    lines = (Path(__file__).parents[1] / "docs" / "api.txt").read_text(encoding="utf-8").splitlines()
    for name in arm_recipes.__all__:
        assert any(line.startswith((f"def {name}(", f"class {name}", f"{name}: ")) for line in lines), name
