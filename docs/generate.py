"""Write what is made from the package: the table `MADE`, at the end, has a function for each file.

python docs/generate.py            write
python docs/generate.py --check    exit with status 1 if a file is stale
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import click
import models_page  # docs/models_page.py
import operators  # docs/operators.py

import arm_recipes
from arm_recipes.checking.result import CheckResult
from arm_recipes.cli import group
from arm_recipes.cli.doctor import DoctorReport
from arm_recipes.cli.listing import OptionList, RecipeList
from arm_recipes.cli.printing import command_schema
from arm_recipes.documents.results import Result
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.catalog import Family, Recipe
from arm_recipes.recipes.options import Options, options_class
from arm_recipes.reporting.quantization import QuantizationReport
from arm_recipes.reporting.result import ExportReport
from arm_recipes.sweeping.result import SweepResult
from arm_recipes.verification.result import VerifyReport

ROOT = Path(__file__).parents[1]
_BEGIN = "<!-- made by docs/generate.py -->"
_END = "<!-- end -->"


def _recipe_table() -> Iterator[str]:
    yield "| `ArmRecipeType` | default target | precision |"
    yield "|---|---|---|"
    for recipe in catalog.RECIPES:
        yield f"| `{recipe.name}` | {recipe.compiles_for(recipe.target.macs)} | {recipe.precision.description} |"


def _value(value: object) -> str:
    if value is None:
        return "-"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def recipes_page() -> str:
    """docs/recipes.md: every recipe, and every option once, with what differs from recipe to recipe."""
    lines = ["# Recipes", "", "Made by `python docs/generate.py` from `arm_recipes/recipes/`.", ""]
    lines += [*_recipe_table(), ""]
    lines += [
        "A recipe's value, and so the name of the `ExportRecipe`, is `arm_` and its name in small letters.",
        "Options are keyword arguments of `ExportRecipe.get_recipe`. Legal values that a tool decides are those of the",
        "installed version, beside the other defaults.",
        "",
    ]
    families: dict[type[Options], list[Family]] = {}
    for family in Family:
        for cls in reversed(options_class(family).__mro__):
            if issubclass(cls, Options):
                families.setdefault(cls, []).append(family)
    for cls, sharing in families.items():
        recipes = [recipe for recipe in catalog.RECIPES if recipe.family in sharing]
        rows = [row for name in inspect.get_annotations(cls) for row in _option_rows(name, recipes)]
        if rows:
            titles = [family.facts.title for family in sharing]
            title = "All recipes" if len(sharing) == len(Family) else ", ".join(titles)
            lines += [f"## {title}", "", "| option | type | recipes | default | legal | |"]
            lines += ["|---|---|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _option_rows(name: str, recipes: Sequence[Recipe]) -> Iterator[str]:
    """The rows of an option: one for all recipes that have the same default and the same legal values."""
    having: dict[tuple[str, str], list[Recipe]] = {}
    for recipe in recipes:
        for info in options.describe(recipe):
            if info.name == name:
                legal = "any" if info.legal is None else ", ".join(map(_value, info.legal))
                having.setdefault((_value(info.default), legal), []).append(recipe)
    for index, ((default, legal), sharing) in enumerate(having.items()):
        declaration = options.declared(sharing[0])[name]
        help = declaration.help if index == 0 else ""
        yield f"| `{name}` | {declaration.kind.name} | {_which(sharing, recipes)} | {default} | {legal} | {help} |"


def _which(some: Sequence[Recipe], recipes: Sequence[Recipe]) -> str:
    """What `some` of the recipes have in common and the others haven't: their precisions, or their targets."""
    if len(some) == len(recipes):
        return "all"
    precisions = dict.fromkeys(recipe.precision for recipe in some)
    if [recipe for recipe in recipes if recipe.precision in precisions] == list(some):
        return ", ".join(precision.value for precision in precisions)
    targets = dict.fromkeys(recipe.target for recipe in some)
    if [recipe for recipe in recipes if recipe.target in targets] == list(some):
        return ", ".join(target.name for target in targets)
    return ", ".join(recipe.name for recipe in some)


# What is documented for executorch's script: in its --help, its test driver, and executorch's tutorials for Arm. Each
# with what to give to arm-recipes; a line whose recipe the catalog lacks is left out.
_SCRIPT = "python -m executorch.backends.arm.scripts.aot_arm_compiler"
_SCRIPT_LINES = (
    ("-m model.py -d -q", "export model.py -r ethosu-u55-int8"),
    (
        "-m model.py -d -q -t ethos-u85-256 --system_config=Ethos_U85_SYS_DRAM_Mid --memory_mode=Sram_Only",
        "export model.py -r ethosu-u85-int8 -o system_config=Ethos_U85_SYS_DRAM_Mid -o memory_mode=Sram_Only",
    ),
    ("-m model.py -d -q -t ethos-u65-512", "export model.py -r ethosu-u65-int8 -o macs=512"),
    (
        "-m model.py -d -q -t ethos-u55-256 --config=./board.ini --system_config=Board --memory_mode=Flash",
        "export model.py -r ethosu-u55-int8 -o macs=256 -o config_ini=./board.ini -o system_config=Board"
        " -o memory_mode=Flash",
    ),
    ("-m model.py -d -q -t vgf -o simple_example.pte", "export model.py -r vgf-int8 --output simple_example.pte"),
    ("-m model.py -d -t vgf -o build", "export model.py -r vgf-fp --output build"),
    ("-m model.py -d -t TOSA-1.0+FP", "export model.py -r tosa-fp"),
    ("-m model.py -d -q -t TOSA-1.0+INT --model_input input.pt", "export model.py -r tosa-int8 --inputs input.pt"),
    (
        "-m model.py -d -q -t TOSA-1.0+INT+int16 --calibration_data data",
        "export model.py -r tosa-a16w8 --calibration data",
    ),
    (
        "-m model.py -d -q -t ethos-u55-128 --bundleio --etrecord -i between -o out",
        "export model.py -r ethosu-u55-int8 --bundle --etrecord --intermediates between --output out",
    ),
    ("-m model.py -d -q -t ethos-u55-128 --debug", "export model.py -r ethosu-u55-int8 -v --force"),
    ("-m model.py -q -t cortex-m55", "export model.py -r cortex-m55-int8"),
)

_CLI_PAGE = """# The command

Made by `python docs/generate.py` from the command itself, `arm_recipes/cli/`. `python -m arm_recipes` is the same.

Completion in the shell: `eval "$(arm-recipes completion bash)"`, likewise for zsh and fish.
"""

_SCRIPT_PAGE = """## From executorch's script

Lines for the script, as they stand in its help, in its test driver and in executorch's tutorials, and below each what
to give to `arm-recipes` instead; a test runs each. The .pte is the same, byte for byte. A file that was made for the
script, with `ModelUnderTest` and `ModelInputs`, works as it is.
"""

_SCRIPT_NOTES = """What the script has and this command has not:

- models by the names of executorch's examples (`-m mv2`), and pickled models (`-m model.pt`), which run any code: write
  a file of two lines that makes the model, or save it with `torch.export.save`;
- programs of which nothing is delegated (no `-d`): a recipe is for its target. Say `-o allow_no_delegation=true` where
  nothing of a model can be delegated and that is wanted;
- `--so_library`: load it in the model's file, with `torch.ops.load_library`;
- `--non_strict_export`, `--enable_debug_mode`, `--direct_drive`;
- the .bpte in the place of the .pte: it is written beside it.
"""


def _script_lines() -> Iterator[tuple[str, str]]:
    for theirs, ours in _SCRIPT_LINES:
        name = ours.split()[3].replace("-", "_").upper()
        if name in catalog.BY_NAME:
            yield f"{_SCRIPT} {theirs}", f"arm-recipes {ours}"


def cli_page() -> str:
    """docs/cli.md: the help of every command, and how to go over from executorch's script."""
    lines = [_CLI_PAGE]
    commands: dict[str, click.Command] = {"arm-recipes": group.cli}
    commands |= {f"arm-recipes {name}": command for name, command in group.cli.commands.items()}
    for name, command in commands.items():
        context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
        context.help_option_names = ["-h", "--help"]
        lines += [f"## {name}", "", "```text", command.get_help(context), "```", ""]
    lines += [_SCRIPT_PAGE, "```sh"]
    lines += ["\n\n".join(f"# {theirs}\n{ours}" for theirs, ours in _script_lines()), "```", "", _SCRIPT_NOTES]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def readme() -> str:
    """README.md with the table of recipes put in anew."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return "\n".join([before + _BEGIN, "", *_recipe_table(), "", _END + after])


def stub() -> str:
    """arm_recipes/recipes/types.pyi: the enum's members, for editors and type checkers."""
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


def public_api() -> str:
    """docs/api.txt: the public names, with the signatures of functions and what classes have that is public."""
    lines = ["# Made by `python docs/generate.py`: what `arm_recipes` exports. A change here is a change for users."]
    for name in sorted(arm_recipes.__all__):
        exported = getattr(arm_recipes, name)
        if inspect.isclass(exported):
            bases = [base.__name__ for base in exported.__mro__[1:-1] if not base.__name__.startswith("_")]
            lines += ["", f"class {name}({bases[0]})" if bases else f"class {name}", *_members(exported)]
        elif callable(exported):
            lines += ["", *_signature(name, exported)]
        else:
            lines += ["", f"{name}: {type(exported).__name__}"]
    return "\n".join(lines) + "\n"


def _members(cls: type[Any]) -> Iterator[str]:
    """What this package gives to a class, without private names; of an enum its members."""
    if issubclass(cls, Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in cls)
        return
    own = [base for base in reversed(cls.__mro__) if base.__module__.startswith("arm_recipes")]
    members = {name: member for base in own for name, member in vars(base).items()}
    for name, member in sorted(members.items()):
        if isinstance(member, property):
            yield f"    {name}: {inspect.signature(member.fget or member.__get__).return_annotation}"
        elif name == "__init__" or (name[0] != "_" and callable(getattr(member, "__func__", member))):
            kind = [f"@{type(member).__name__}"] if isinstance(member, (classmethod, staticmethod)) else []
            yield from (f"    {line}" for line in [*kind, *_signature(name, getattr(member, "__func__", member))])


class _AsWritten(str):
    """An annotation, which is text already, without quotes around it."""

    __repr__ = str.__str__


def _signature(name: str, function: Any) -> list[str]:
    """On one line where there is room, otherwise with one parameter a line, as a change is easier to see there."""
    signature = inspect.signature(function)
    written = [
        parameter.replace(annotation=_AsWritten(parameter.annotation))
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    returned = _AsWritten(signature.return_annotation)
    text = f"def {name}{signature.replace(parameters=written, return_annotation=returned)}"
    if len(text) <= 100:
        return [text]
    lines = []
    for index, parameter in enumerate(written):
        before = {earlier.kind for earlier in written[:index]}
        if parameter.kind is parameter.KEYWORD_ONLY and not before & {parameter.kind, parameter.VAR_POSITIONAL}:
            lines.append("    *,")
        lines.append(f"    {parameter},")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            later = {parameter.kind for parameter in written[index + 1 :]}
            lines += [] if parameter.kind in later else ["    /,"]
    return [f"def {name}(", *lines, f") -> {returned}"]


def schema(result: type[Result]) -> str:
    """docs/schemas/: the JSON Schema of a result."""
    return json.dumps(result.schema(), indent=2) + "\n"


# Where the result of each command has its schema.
_SCHEMAS = {
    "list": "list.json",
    "options": "options.json",
    "doctor": "doctor.json",
    "export": "report.json",
    "verify": "verify.json",
    "sweep": "sweep.json",
}


MADE = {
    "docs/api.txt": public_api,
    "docs/schemas/command.json": lambda: json.dumps(command_schema(_SCHEMAS), indent=2) + "\n",
    "docs/schemas/list.json": lambda: schema(RecipeList),
    "docs/schemas/options.json": lambda: schema(OptionList),
    "docs/schemas/doctor.json": lambda: schema(DoctorReport),
    "docs/schemas/report.json": lambda: schema(ExportReport),
    "docs/schemas/verify.json": lambda: schema(VerifyReport),
    "docs/schemas/check.json": lambda: schema(CheckResult),
    "docs/schemas/sweep.json": lambda: schema(SweepResult),
    "docs/schemas/quantization.json": lambda: schema(QuantizationReport),
    "docs/recipes.md": recipes_page,
    "docs/cli.md": cli_page,
    "docs/operators.md": operators.page,
    "docs/models.md": models_page.page,
    "README.md": readme,
    "arm_recipes/recipes/types.pyi": stub,
    "arm_recipes/recipes/operators.json": operators.package_data,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, only say what is stale")
    check = parser.parse_args().check
    stale = []
    for name, make in MADE.items():
        path = ROOT / name
        text = make()
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == text:
            continue
        stale.append(name)
        if check:
            lines = difflib.unified_diff(
                before.splitlines(), text.splitlines(), name, "as it would be", n=0, lineterm=""
            )
            print(*itertools.islice(lines, 20), sep="\n", file=sys.stderr)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'nothing'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
