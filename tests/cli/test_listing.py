"""`arm-recipes list` and `options`."""

from __future__ import annotations

import csv
import io

import pytest

from arm_recipes.cli import group
from arm_recipes.cli.listing import OptionList, RecipeList, option_list, recipe_list
from arm_recipes.recipes import catalog, names, options

from .documents import valid


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert group.main(["list", "--json"]) == 0
    document = valid(capsys.readouterr().out)
    assert (document["command"], document["status"], document["files"]) == ("list", 0, {})
    recipes = document["result"]["recipes"]
    assert [listed["enum"] for listed in recipes] == [recipe.name for recipe in catalog.RECIPES]
    by_name = {listed["name"]: listed for listed in recipes}
    assert by_name["ethosu-u85-int8"] == {
        "name": "ethosu-u85-int8",
        "enum": "ETHOSU_U85_INT8",
        "value": "arm_ethosu_u85_int8",
        "family": "ethos_u",
        "target": "ethos-u85",
        "precision": "int8",
        "needs": ["Vela"],
        "ready": True,
        "missing": [],
    }
    assert document["result"]["precisions"]["a16w8"] == "int16 activations, int8 weights"


def test_list_as_rows() -> None:
    result = recipe_list()
    assert RecipeList.from_json(result.to_json()) == result
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert [row["name"] for row in rows] == [recipe.name for recipe in result.recipes]
    assert {row["needs"] for row in rows} >= {"", "Vela", "model-converter"}


@pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)
def test_options_of_every_recipe(recipe: catalog.Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.main(["options", names.typed(recipe), "--json"]) == 0
    document = valid(capsys.readouterr().out)
    infos = options.describe(recipe)
    assert [option["name"] for option in document["result"]["options"]] == [info.name for info in infos]
    result = OptionList.from_dict(document["result"])
    assert result == option_list(recipe)
    assert [(option.default, option.legal) for option in result.options] == [
        (info.default, info.legal) for info in infos
    ]
    assert group.main(["options", recipe.value]) == 0
    text = capsys.readouterr().out
    for info in infos:
        assert f"{info.name}  {info.type}" in text
        # What is printed can be given to -o.
        if info.default is not None and info.default != ():
            spelled = text.partition(f"{info.name}  {info.type}, default ")[2].splitlines()[0]
            assert options.parse(recipe, {info.name: spelled}) == {info.name: info.default}


def test_options_as_rows() -> None:
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(option_list(catalog.RECIPES[0]).to_csv()))}
    assert (rows["macs"]["default"], rows["macs"]["legal"]) == ("128", "32, 64, 128, 256")
    assert (rows["per_channel"]["default"], rows["per_channel"]["legal"]) == ("true", "")
