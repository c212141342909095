"""Types of the command's arguments, and what the shell completes them to. No torch here."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.documents.results import FORMS
from arm_recipes.errors import ArmRecipeError, spell
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.names import find_recipe, typed

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]  # generic for type checkers, but not in every version of click
else:
    _ParamType = click.ParamType


class RecipeName(_ParamType):
    name = "recipe"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> catalog.Recipe:
        return value if isinstance(value, catalog.Recipe) else find_recipe(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        start = incomplete.lower().replace("_", "-")
        names = [typed(recipe) for recipe in catalog.RECIPES]
        return [CompletionItem(name) for name in names if name.startswith(start)]


class KeyValue(_ParamType):
    """``key=value``, an option of the recipe that was named before."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, text = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is no key=value, e.g. macs=256. `arm-recipes options RECIPE` lists the keys.")
        return key.strip().replace("-", "_"), text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        recipe = ctx.params.get("recipe")
        if not isinstance(recipe, catalog.Recipe):
            return []
        key, equals, start = incomplete.partition("=")
        with contextlib.suppress(ArmRecipeError):
            infos = options.describe(recipe)
            if not equals:
                return [CompletionItem(f"{info.name}=", help=info.help) for info in infos if info.name.startswith(key)]
            legal = [str(value) for info in infos if info.name == key for value in info.legal or ()]
            return [CompletionItem(f"{key}={value}") for value in legal if value.startswith(start)]
        return []


class Numbers(_ParamType):
    """One number, or one per channel."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            numbers = [float(part) for part in value.split(",")]
            if not all(map(math.isfinite, numbers)):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is neither a number nor numbers with commas between them, e.g. 0.485,0.456,0.406.")
        return numbers[0] if len(numbers) == 1 else tuple(numbers)


class Limit(_ParamType):
    """A number that something is held against: not NaN, not infinite, and in a range."""

    name = "number"

    def __init__(self, least: float = -math.inf, most: float = math.inf, *, above: bool = False) -> None:
        self._least, self._most, self._above = least, most, above

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        low = number > self._least if self._above else number >= self._least
        if not (math.isfinite(number) and low and number <= self._most):
            allowed = f"{' above' if self._above else ' from'} {self._least:g}" if self._least > -math.inf else ""
            allowed += f" to {self._most:g}" if self._most < math.inf else ""
            self.fail(f"{value!r} is no number{allowed}.")
        return number


class Size(_ParamType):
    """Height and width."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = value.lower().split("x")
        if len(parts) > 2 or not all(re.fullmatch("[0-9]{1,9}", part) and int(part) for part in parts):
            self.fail(f"{value!r} is no size. Give height and width, e.g. 224x224, or one number for both.")
        return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


class Several(_ParamType):
    """Values with commas between them, or all that there are."""

    name = "values"

    def __init__(self, of: type = str) -> None:
        self._of = of

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all" or isinstance(value, list):
            return value
        try:
            return [self._of(part.strip()) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is neither 'all' nor numbers with commas between them, e.g. 128,256.")


class ReportFile(_ParamType):
    """A file whose ending says in which form a result is written."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if Path(value).suffix not in FORMS:
            self.fail(f"{value!r} ends in none of {spell(FORMS)}, which say what kind of report it is.")
        return value
