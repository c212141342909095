"""VGF recipes find Arm's model-converter as pip installs it, or say how to get it."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import pytest
from executorch.backends.arm.vgf.model_converter import find_model_converter_binary
from executorch.export import ExportRecipe

from arm_recipes import ArmRecipeType, ToolError
from arm_recipes.tools.model_converter import find_model_converter


@pytest.fixture(autouse=True)
def _not_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a virtual environment that is not activated."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MODEL_CONVERTER_PATH", raising=False)


def test_beside_python_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERTER_PATH", "")  # so that what the recipe sets is undone
    ExportRecipe.get_recipe(ArmRecipeType.VGF_FP)
    expected = shutil.which("model-converter", path=sysconfig.get_path("scripts"))
    assert expected is not None
    assert os.environ["MODEL_CONVERTER_PATH"] == expected


def test_upstream_does_not_look_beside_python() -> None:
    assert find_model_converter() is not None
    assert find_model_converter_binary() is None


def test_without_it_the_recipe_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ToolError) as caught:
        ExportRecipe.get_recipe(ArmRecipeType.VGF_FP)
    assert str(caught.value) == (
        "VGF_FP needs Arm's model-converter, which is neither on PATH nor beside Python. Install it with: "
        "pip install 'ai_ml_sdk_model_converter>=0.11,<0.12', or set MODEL_CONVERTER_PATH to the executable."
    )
