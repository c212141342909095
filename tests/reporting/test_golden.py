"""The reports of every recipe on three models, against files in golden/, versions and digests apart.

The files are written anew, to be read before they are committed, by

    ARM_RECIPES_WRITE_GOLDEN=1 python -m pytest tests/reporting/test_golden.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from arm_recipes import ArmRecipeType, export, report
from arm_recipes.recipes import catalog
from tests import models

GOLDEN = Path(__file__).parent / "golden"
MODELS = [models.conv_net, models.two_inputs, models.partly_delegated]


def _without_versions_and_digests(content: dict[str, Any]) -> dict[str, Any]:
    del content["versions"], content["pte_sha256"]
    for method in content["methods"]:
        del method["graph"]
        if method["calibration"] is not None:
            del method["calibration"]["digest"]
    return content


pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


@pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)
def test_the_report(recipe: catalog.Recipe) -> None:
    found = {}
    for make in MODELS:
        model, inputs = make()
        made = report(export(model, ArmRecipeType[recipe.name], inputs))
        found[make.__name__] = _without_versions_and_digests(made.to_dict())
    file = GOLDEN / f"{recipe.name}.json"
    if os.environ.get("ARM_RECIPES_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(file.read_text(encoding="utf-8"))
