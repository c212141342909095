"""`arm-recipes list`, `options`, `doctor` and `completion`: what there is. No torch here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import click

from arm_recipes.documents.blocks import Column, Document, Items, OnlyPage, OnlyText, Paragraph, table
from arm_recipes.documents.results import Result
from arm_recipes.recipes import options
from arm_recipes.recipes.catalog import RECIPES, Recipe
from arm_recipes.recipes.names import typed

from . import doctor
from .printing import check_new, report_files, show, write_reports
from .shared import RECIPE, ResultOptions, result_options

COMPLETE = "_ARM_RECIPES_COMPLETE"

# Of a recipe's option. A tuple is a list of texts.
Value = bool | int | float | str | None


@dataclass(frozen=True)
class ListedRecipe:
    """A recipe, and whether it is ready.

    Attributes:
        name: as the command takes it, e.g. ``ethosu-u85-int8``.
        enum: member of `ArmRecipeType`.
        value: of that member, which is the recipe's own name.
        family: e.g. ``ethos_u``.
        target: e.g. ``ethos-u85``.
        precision: e.g. ``int8``.
        needs: names of the tools that it needs beyond those that all recipes need.
        ready: whether it can be tried on this machine.
        missing: names of the tools that are missing or broken.
    """

    name: str
    enum: str
    value: str
    family: str
    target: str
    precision: str
    needs: tuple[str, ...]
    ready: bool
    missing: tuple[str, ...]


@dataclass(frozen=True)
class RecipeList(Result):
    """What `arm-recipes list` says.

    Attributes:
        recipes: all of them, in the catalog's order.
        precisions: what the names of precisions mean.
    """

    kind: ClassVar[str] = "arm_recipes list"
    schema_version: ClassVar[int] = 1

    recipes: tuple[ListedRecipe, ...]
    precisions: Mapping[str, str]

    def document(self) -> Document:
        rows = [
            (
                recipe.name,
                recipe.target,
                recipe.precision,
                ", ".join(recipe.needs) or "-",
                f"no: {', '.join(recipe.missing)}" if recipe.missing else "yes",
            )
            for recipe in self.recipes
        ]
        header = (Column("recipe", "code"), Column("target", "code"), "precision", "needs", "ready")
        words = [f"{name}: {meaning}" for name, meaning in self.precisions.items() if name != meaning]
        return Document("Recipes of arm_recipes", (table(header, rows), Paragraph("; ".join(words))))

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        joined = [
            {**asdict(recipe), "needs": ", ".join(recipe.needs), "missing": ", ".join(recipe.missing)}
            for recipe in self.recipes
        ]
        return [field.name for field in fields(ListedRecipe)], joined


@dataclass(frozen=True)
class ListedOption:
    """An option of a recipe.

    Attributes:
        name: keyword argument of `get_recipe`.
        type: in words.
        default: what it is if it is not given.
        legal: all values that are legal beside the other defaults; None where they can't be listed.
        help: what it is for.
    """

    name: str
    type: str
    default: Value | tuple[str, ...]
    legal: tuple[Value, ...] | None
    help: str

    @property
    def spelled(self) -> tuple[str, str]:
        """The default, and the legal values where they say more than the type does, as -o takes them."""
        default = "" if self.default is None or self.default == () else _spelled(self.default)
        legal = () if self.legal is None or self.type == "bool" else self.legal
        return default, ", ".join(map(_spelled, legal))


@dataclass(frozen=True)
class OptionList(Result):
    """What `arm-recipes options` says of a recipe.

    Attributes:
        recipe: as the command takes it, e.g. ``ethosu-u85-int8``.
        target: e.g. ``ethos-u85``.
        precision: what it is, e.g. ``int16 activations, int8 weights``.
        options: in the order in which they are resolved.
    """

    kind: ClassVar[str] = "arm_recipes options"
    schema_version: ClassVar[int] = 1

    recipe: str
    target: str
    precision: str
    options: tuple[ListedOption, ...]

    def document(self) -> Document:
        lines, rows = [], []
        for option in self.options:
            default, legal = option.spelled
            first = f"{option.name}  {option.type}{f', default {default}' if default else ''}"
            lines.append("\n".join([first, option.help, *([f"One of: {legal}"] if legal else [])]))
            rows.append((option.name, option.type, default, legal, option.help))
        header = (Column("option", "code"), "type", "default", "legal values", "")
        what = f"{self.recipe}: {self.target}, {self.precision}"
        return Document(
            f"Options of {self.recipe}",
            (Paragraph(what), OnlyText((Items(tuple(lines)),)), OnlyPage((table(header, rows),))),
        )

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        rows = []
        for option in self.options:
            default, legal = option.spelled
            rows.append({**asdict(option), "default": default, "legal": legal})
        return [field.name for field in fields(ListedOption)], rows


def _spelled(value: Value | tuple[str, ...]) -> str:
    """A value as -o takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.join(value) if isinstance(value, tuple) else str(value)


def recipe_list() -> RecipeList:
    """All recipes, and whether this machine has what each needs."""
    checks = doctor.checks(run=False)
    recipes = []
    for recipe in RECIPES:
        missing = doctor.readiness(checks, recipe)
        recipes.append(
            ListedRecipe(
                name=typed(recipe),
                enum=recipe.name,
                value=recipe.value,
                family=recipe.family.value,
                target=recipe.target.name,
                precision=recipe.precision.value,
                needs=doctor.needs(checks, recipe),
                ready=not missing,
                missing=tuple(check.name for check in missing),
            )
        )
    return RecipeList(tuple(recipes), {recipe.precision.value: recipe.precision.description for recipe in RECIPES})


def option_list(recipe: Recipe) -> OptionList:
    """The options of `recipe`, with the defaults and the values that are legal beside the other defaults.

    Raises:
        ToolError: the legal values are a missing tool's to say.
    """
    listed = [
        ListedOption(info.name, info.type, info.default, info.legal, info.help) for info in options.describe(recipe)
    ]
    return OptionList(typed(recipe), recipe.target.name, recipe.precision.description, tuple(listed))


@click.command("list")
@result_options("the list")
def list_recipes(**values: Any) -> None:
    """List the recipes: target, precision, what each needs, and whether it is ready on this machine.

    To see what is missing where one is not ready: arm-recipes doctor.
    """
    _say(recipe_list, ResultOptions(**values))


@click.command("options")
@click.argument("recipe", type=RECIPE)
@result_options("the list")
def list_options(recipe: Recipe, **values: Any) -> None:
    """List the options of RECIPE: type, default, legal values.

    Legal values that a tool decides are those of the installed version, beside the other defaults. Give options to
    `arm-recipes export` as -o NAME=VALUE, and in Python as keyword arguments of get_recipe.
    """
    _say(lambda: option_list(recipe), ResultOptions(**values))


@click.command("doctor")
@result_options("the findings")
def check_machine(**values: Any) -> None:
    """Check every external tool: whether it is here, its version, which recipes want it, and what to do if it is
    missing.
    """
    _say(doctor.examine, ResultOptions(**values))


def _say(look: Callable[[], Result], command: ResultOptions) -> None:
    files = report_files(command)
    check_new(files, command)
    result = look()
    write_reports(result, files)
    status = 1 if isinstance(result, doctor.DoctorReport) and not result.ok else 0
    show(result, command, files, status=status)
    click.get_current_context().exit(status)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def print_completion(shell: str) -> None:
    """Print the code that lets SHELL complete commands, recipes and options.

    \b
    bash, in ~/.bashrc:                    eval "$(arm-recipes completion bash)"
    zsh, in ~/.zshrc:                      eval "$(arm-recipes completion zsh)"
    fish, in ~/.config/fish/config.fish:   arm-recipes completion fish | source
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    completion = get_completion_class(shell)
    assert completion is not None, "click has these shells"
    click.echo(completion(root.command, {}, "arm-recipes", COMPLETE).source())
