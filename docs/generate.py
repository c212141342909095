"""Write what is made from the catalog: docs/recipes.md, the README's table, and the enum's type stub.

python docs/generate.py            write
python docs/generate.py --check    exit with status 1 if a file is stale
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from arm_recipes import catalog, options
from arm_recipes.catalog import Family, Recipe

ROOT = Path(__file__).parents[1]
_BEGIN = "<!-- made by docs/generate.py -->"
_END = "<!-- end -->"

_FAMILY_TITLES = {
    Family.ETHOS_U: "Ethos-U",
    Family.TOSA: "TOSA",
    Family.VGF: "VGF",
    Family.CORTEX_M: "Cortex-M",
}


def _default_target(recipe: Recipe) -> str:
    if recipe.family in (Family.TOSA, Family.VGF):
        return catalog.TOSA_PROFILES[recipe.precision]
    return recipe.target.name if recipe.target.macs is None else f"{recipe.target.name}-{recipe.target.macs}"


def _recipe_table() -> Iterator[str]:
    yield "| `ArmRecipeType` | default target | precision |"
    yield "|---|---|---|"
    for recipe in catalog.RECIPES:
        yield f"| `{recipe.name}` | {_default_target(recipe)} | {recipe.precision.description} |"


def _value(value: object) -> str:
    if value is None:
        return "-"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def _option_rows(recipe: Recipe) -> Iterator[str]:
    for info in options.describe(recipe):
        legal = ", ".join(map(_value, info.legal)) if info.legal else "any"
        yield f"| `{info.name}` | {info.type} | {_value(info.default)} | {legal} | {info.help} |"


def recipes_page() -> str:
    """docs/recipes.md: every recipe, and its options where they differ from those of the recipe before."""
    lines = ["# Recipes", "", "Made by `python docs/generate.py` from `arm_recipes/catalog.py` and `options.py`.", ""]
    lines += [*_recipe_table(), ""]
    lines += [
        "A recipe's value, and so the name of the `ExportRecipe`, is `arm_` and its name in small letters.",
        "Options are keyword arguments of `ExportRecipe.get_recipe`. Legal values that a tool decides are those of the",
        "installed version, beside the other defaults.",
        "",
    ]
    for family, title in _FAMILY_TITLES.items():
        lines += [f"## {title}", ""]
        grouped: dict[tuple[str, ...], list[str]] = {}
        for recipe in catalog.RECIPES:
            if recipe.family is family:
                grouped.setdefault(tuple(_option_rows(recipe)), []).append(recipe.name)
        for rows, names in grouped.items():
            lines += [", ".join(f"`{name}`" for name in names), ""]
            if rows:
                lines += ["| option | type | default | legal | |", "|---|---|---|---|---|", *rows, ""]
            else:
                lines += ["No options.", ""]
    return "\n".join(lines)


def readme() -> str:
    """README.md with the table of recipes put in anew."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return "\n".join([before + _BEGIN, "", *_recipe_table(), "", _END + after])


def stub() -> str:
    """arm_recipes/recipe_types.pyi: the enum's members, for editors and type checkers."""
    lines = [
        "# Made by `python docs/generate.py` from catalog.py.",
        "from enum import Enum",
        "",
        "from executorch.export import RecipeType",
        "",
        "BACKEND_NAME: str",
        "",
        "class ArmRecipeType(RecipeType, Enum):",
        *(f'    {recipe.name} = "{recipe.value}"' for recipe in catalog.RECIPES),
        "    @classmethod",
        "    def get_backend_name(cls) -> str: ...",
        "",
    ]
    return "\n".join(lines)


MADE = {
    "docs/recipes.md": recipes_page,
    "README.md": readme,
    "arm_recipes/recipe_types.pyi": stub,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, only say what is stale")
    check = parser.parse_args().check
    stale = []
    for name, make in MADE.items():
        path = ROOT / name
        text = make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'nothing'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
