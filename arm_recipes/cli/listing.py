"""`arm-recipes list`, `options`, `doctor` and `completion`: what there is. No torch here."""

from __future__ import annotations

import textwrap

import click

from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.names import typed

from . import doctor
from .printing import plain, print_json, print_table, spelled, terminal_width
from .shared import JSON, RECIPE

COMPLETE = "_ARM_RECIPES_COMPLETE"


@click.command("list")
@JSON
def list_recipes(as_json: bool) -> None:
    """List the recipes: target, precision, what each needs, and whether it is ready on this machine.

    To see what is missing where one is not ready: arm-recipes doctor.
    """
    found = doctor.checks(run=False)
    rows = [(recipe, doctor.needs(found, recipe), doctor.readiness(found, recipe)) for recipe in catalog.RECIPES]
    if as_json:
        print_json(
            recipes=[
                {
                    "name": typed(recipe),
                    "enum": recipe.name,
                    "value": recipe.value,
                    "family": recipe.family.value,
                    "target": recipe.target.name,
                    "precision": recipe.precision.value,
                    "needs": list(needs),
                    "ready": not missing,
                    "missing": [check.name for check in missing],
                }
                for recipe, needs, missing in rows
            ]
        )
        return
    print_table(
        ("RECIPE", "TARGET", "PRECISION", "NEEDS", "READY"),
        [
            (
                typed(recipe),
                recipe.target.name,
                recipe.precision.value,
                ", ".join(needs) or "-",
                "no: " + ", ".join(check.name for check in missing) if missing else "yes",
            )
            for recipe, needs, missing in rows
        ],
    )
    precisions = dict.fromkeys(recipe.precision for recipe in catalog.RECIPES)
    words = [f"{each.value}: {each.description}" for each in precisions if each.value != each.description]
    click.echo("\n" + "; ".join(words))


@click.command("options")
@click.argument("recipe", type=RECIPE)
@JSON
def list_options(recipe: catalog.Recipe, as_json: bool) -> None:
    """List the options of RECIPE: type, default, legal values.

    Legal values that a tool decides are those of the installed version, beside the other defaults. Give options to
    `arm-recipes export` as -o NAME=VALUE, and in Python as keyword arguments of get_recipe.
    """
    infos = options.describe(recipe)
    if as_json:
        print_json(
            recipe=typed(recipe),
            options=[
                {
                    "name": info.name,
                    "type": info.type,
                    "default": plain(info.default),
                    "legal": None if info.legal is None else [plain(value) for value in info.legal],
                    "help": info.help,
                }
                for info in infos
            ],
        )
        return
    click.echo(f"{typed(recipe)}: {recipe.target.name}, {recipe.precision.description}\n")
    width = min(terminal_width(), 100)
    for info in infos:
        default = "" if info.default is None or info.default == () else f", default {spelled(info.default)}"
        click.echo(f"{info.name}  {info.type}{default}")
        lines = [info.help]
        if info.legal is not None and info.type != "bool":
            lines.append(f"One of: {', '.join(spelled(value) for value in info.legal)}")
        for line in lines:
            click.echo(textwrap.fill(line, width, initial_indent="    ", subsequent_indent="    "))


@click.command("doctor")
@JSON
def check_machine(as_json: bool) -> None:
    """Check every external tool: whether it is here, its version, which recipes want it, and what to do if it is
    missing.
    """
    found = doctor.checks()
    bad = [check for check in found if not check.ok and check.wanted_by]
    if as_json:
        print_json(ok=not bad, checks=[check.to_json() for check in found])
    else:
        rows = [(check.name, check.status, check.detail, _wanted(check)) for check in found]
        print_table(("TOOL", "STATUS", "DETAIL", "WANTED BY"), rows)
        actions = [(check.name, check.action) for check in found if check.action]
        if actions:
            click.echo()
        for name, action in actions:
            click.echo(
                textwrap.fill(f"{name}: {action}", terminal_width(), subsequent_indent="    ", break_on_hyphens=False)
            )
    if bad:
        click.get_current_context().exit(1)


def _wanted(check: doctor.Check) -> str:
    """Families of recipes, rather than each by name."""
    if not check.wanted_by:
        return "no export"
    if len(check.wanted_by) == len(catalog.RECIPES):
        return "all recipes"
    by_family: dict[catalog.Family, list[str]] = {}
    for recipe in catalog.RECIPES:
        by_family.setdefault(recipe.family, []).append(typed(recipe))
    words = []
    for names in by_family.values():
        wanting = [name for name in names if name in check.wanted_by]
        words += [f"{names[0].partition('-')[0]}-*"] if wanting == names else wanting
    return ", ".join(words)


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
