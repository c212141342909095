"""The command `arm-recipes`: parsing and printing. Everything else is a call of the library.

Exit status: 0; 1 where the compile failed; 2 where the command, the model or the data has to be changed; 130 on Ctrl-C.
What takes long to import (torch, executorch) is imported only by the commands that need it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shlex
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import catalog, options
from .errors import ArmRecipeError, LoweringError, nearest
from .names import find_recipe, short_name, typed

if TYPE_CHECKING:
    from rich.console import Console

    from . import doctor
    from .partitioning import Verdicts
    from .report import ExportReport, MethodReport

SCHEMA_VERSION = 1

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_COMPLETE = "_ARM_RECIPES_COMPLETE"


class _CompileFailure(Exception):
    """The compile failed: a tool's own error, as opposed to one of the command's or of the library's."""

    def __init__(self, error: BaseException, printed: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.printed = printed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exceptions that come out of here are bugs.

    Args:
        arguments: of the command line; sys.argv's where not given.

    Returns:
        The exit status.
    """
    try:
        status = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="arm-recipes",
            complete_var=_COMPLETE,
            standalone_mode=False,
        )
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; no file is left half-written")
        return 130
    except ArmRecipeError as error:
        _complain(f"error: {error}")
        return 2
    except _CompileFailure as failure:
        _complain(_failure_text(failure))
        return 1
    except BrokenPipeError:  # the reader of a pipe, e.g. head, has seen enough
        sys.stderr.close()
        return 0


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


# Types of arguments, and their completion

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]  # generic for type checkers, but not in every version of click
else:
    _ParamType = click.ParamType


class _RecipeName(_ParamType):
    name = "recipe"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> catalog.Recipe:
        return value if isinstance(value, catalog.Recipe) else find_recipe(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        start = incomplete.lower().replace("_", "-")
        names = [typed(recipe) for recipe in catalog.RECIPES]
        return [CompletionItem(name) for name in names if name.startswith(start)]


class _KeyValue(_ParamType):
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


class _Numbers(_ParamType):
    """One number, or one per channel."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is neither a number nor numbers with commas between them, e.g. 0.485,0.456,0.406.")
        return numbers[0] if len(numbers) == 1 else tuple(numbers)


class _Size(_ParamType):
    """Height and width."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = value.lower().split("x")
        if len(parts) > 2 or not all(part.isdigit() for part in parts):
            self.fail(f"{value!r} is no size. Give height and width, e.g. 224x224, or one number for both.")
        return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


_RECIPE = _RecipeName()
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class _Commands(click.Group):
    """A group that names the nearest command for a misspelt one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], self.commands)
            if near is None or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near!r}?", ctx) from None


@click.group(cls=_Commands, context_settings=_SETTINGS)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    help="Show the version and exit.",
    callback=lambda ctx, param, value: _print_version(ctx) if value else None,
)
def cli() -> None:
    """Compile PyTorch models for Arm targets: Ethos-U, Cortex-M, VGF, TOSA.

    \b
    arm-recipes list                         what there is to compile for
    arm-recipes options ethosu-u85-int8      the options of one recipe
    arm-recipes export model.py -r ethosu-u85-int8 -o macs=256 --calibration data/ --output build/
    arm-recipes doctor                       what is missing on this machine

    Exit status: 1 where the compile failed, 2 where what you gave has to be changed.
    """


def _print_version(context: click.Context) -> None:
    from . import __version__

    click.echo(f"arm-recipes {__version__}")
    context.exit()


# list, options, doctor, completion


@cli.command("list")
@_JSON
def list_recipes(as_json: bool) -> None:
    """List the recipes: target, precision, what each needs, and whether it is ready on this machine.

    To see what is missing where one is not ready: arm-recipes doctor.
    """
    from . import doctor

    found = doctor.checks(run=False)
    rows = [(recipe, doctor.needs(found, recipe), doctor.readiness(found, recipe)) for recipe in catalog.RECIPES]
    if as_json:
        _print_json(
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
    _print_table(
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


@cli.command("options")
@click.argument("recipe", type=_RECIPE)
@_JSON
def list_options(recipe: catalog.Recipe, as_json: bool) -> None:
    """List the options of RECIPE: type, default, legal values.

    Legal values that a tool decides are those of the installed version, beside the other defaults. Give options to
    `arm-recipes export` as -o NAME=VALUE, and in Python as keyword arguments of get_recipe.
    """
    infos = options.describe(recipe)
    if as_json:
        _print_json(
            recipe=typed(recipe),
            options=[
                {
                    "name": info.name,
                    "type": info.type,
                    "default": _plain(info.default),
                    "legal": None if info.legal is None else [_plain(value) for value in info.legal],
                    "help": info.help,
                }
                for info in infos
            ],
        )
        return
    click.echo(f"{typed(recipe)}: {recipe.target.name}, {recipe.precision.description}\n")
    width = min(_width(), 100)
    for info in infos:
        default = "" if info.default is None or info.default == () else f", default {_spelled(info.default)}"
        click.echo(f"{info.name}  {info.type}{default}")
        lines = [info.help]
        if info.legal is not None and info.type != "bool":
            lines.append(f"One of: {', '.join(_spelled(value) for value in info.legal)}")
        for line in lines:
            click.echo(textwrap.fill(line, width, initial_indent="    ", subsequent_indent="    "))


@cli.command("doctor")
@_JSON
def check_machine(as_json: bool) -> None:
    """Check every external tool: whether it is here, its version, which recipes want it, and what to do if it is
    missing.

    Exit status: 1 where something that a recipe wants is missing or broken.
    """
    from . import doctor

    found = doctor.checks()
    bad = [check for check in found if not check.ok and check.wanted_by]
    if as_json:
        _print_json(ok=not bad, checks=[check.to_json() for check in found])
    else:
        rows = [(check.name, check.status, check.detail, _wanted(check)) for check in found]
        _print_table(("TOOL", "STATUS", "DETAIL", "WANTED BY"), rows)
        actions = [(check.name, check.action) for check in found if check.action]
        if actions:
            click.echo()
        for name, action in actions:
            click.echo(textwrap.fill(f"{name}: {action}", _width(), subsequent_indent="    ", break_on_hyphens=False))
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


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def print_completion(shell: str) -> None:
    """Print the code that lets SHELL complete commands, recipes and options.

    \b
    bash, in ~/.bashrc:                    eval "$(arm-recipes completion bash)"
    zsh, in ~/.zshrc:                      eval "$(arm-recipes completion zsh)"
    fish, in ~/.config/fish/config.fish:   arm-recipes completion fish | source
    """
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None, "click has these shells"
    click.echo(completion(cli, {}, "arm-recipes", _COMPLETE).source())


# export


@cli.command("export", context_settings=_SETTINGS)
@click.argument("model", type=click.Path())
@click.option("-r", "--recipe", type=_RECIPE, required=True, help="What to compile for: see arm-recipes list.")
@click.option(
    "-o",
    "--option",
    "given",
    type=_KeyValue(),
    multiple=True,
    help="An option of the recipe, e.g. macs=256: see arm-recipes options RECIPE. Repeatable.",
)
@click.option(
    "--output",
    type=click.Path(),
    default=".",
    metavar="PATH",
    help="The .pte to write, or a folder for it; made if it is not there. [default: the current folder]",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option(
    "--inputs",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="Example inputs: a .pt, .npy, .npz or .safetensors file with all of them, or one file per input, repeated.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="SHAPE",
    help="Random example inputs: 1x3x224x224, or 1x128:int64; once per input.",
)
@click.option(
    "--calibration",
    type=click.Path(),
    metavar="PATH",
    help="Data to calibrate on: a file or folder of tensors, arrays or images.",
)
@click.option("--max-samples", type=int, metavar="N", help="Calibrate on N samples at most. [default: 1000]")
@click.option("--mean", type=_Numbers(), help="Subtracted from the pixels (0..1) of calibration images.")
@click.option("--std", type=_Numbers(), help="By which the pixels are divided then.")
@click.option("--size", type=_Size(), help="Stretch calibration images to this size. [default: the model's]")
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Of the model's images. [default: NCHW]")
@click.option("--bundle", is_flag=True, help="Write a .bpte too: the program with test inputs and expected outputs.")
@click.option("--etrecord", is_flag=True, help="Write an ETRecord too, for executorch's Inspector.")
@click.option(
    "--intermediates",
    type=click.Path(),
    metavar="DIR",
    help="Write TOSA graphs, Vela's files and the exported program there. Compiles each delegate once more.",
)
@click.option("--quantization-report", "quantization", is_flag=True, help="Print how every node is quantized.")
@_JSON
@click.option("-v", "--verbose", is_flag=True, help="Print what Vela and executorch have to say, to standard error.")
@click.option(
    "--log", type=click.Path(dir_okay=False), metavar="FILE", help="Write it, warnings and tracebacks to a file."
)
def export_model(model: str, recipe: catalog.Recipe, given: tuple[tuple[str, str], ...], **how: Any) -> None:
    """Compile MODEL to a .pte.

    MODEL is path/to/file.py:name or package.module:name, where name is a torch.nn.Module, or a function that gives one
    or a tuple of one and its example inputs; or a .pt2 file of torch.export.save. Without a name, a file's
    ModelUnderTest and ModelInputs are taken, or its only module.

    A .py file is run, and a .pt2 file may run code: give only files that you trust. Files of inputs and calibration
    data never run code.

    Example inputs come with the model, or from --inputs, or are random (--shape). Without --calibration they are all
    that a quantized model is calibrated on, which makes it inaccurate.
    """
    kwargs = _recipe_options(recipe, given)
    _check_together(recipe, kwargs, how)
    # As much as can be wrong is found before torch is imported, and all of it before the long part.
    options.resolve(recipe, kwargs)
    files = _planned_files(model, recipe, how)
    with _chatter(how["verbose"], how["log"]) as printed:
        report, quantization = _export(model, recipe, kwargs, files, how, printed)
    if how["as_json"]:
        named = {kind: str(path) for kind, path in files.items()}
        _print_json(files=named, report=report.to_dict(), quantization=quantization and quantization.to_dict())
        return
    if quantization is not None:
        click.echo(quantization.text(max(_width(), 60)) + "\n")
    _print_report(report, recipe, files)


def _recipe_options(recipe: catalog.Recipe, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    texts: dict[str, str] = {}
    for key, text in given:
        if key in texts and texts[key] != text:
            raise click.UsageError(f"-o {key} is given twice, as {texts[key]!r} and {text!r}.")
        texts[key] = text
    return options.parse(recipe, texts)


_IMAGE_OPTIONS = ("max_samples", "mean", "std", "size", "layout")


def _check_together(recipe: catalog.Recipe, kwargs: dict[str, Any], how: dict[str, Any]) -> None:
    if how["calibration"] is not None and not recipe.precision.quantized:
        raise click.UsageError(
            f"--calibration: {typed(recipe)} quantizes nothing. Leave it out, or take another recipe."
        )
    if how["calibration"] is not None and "calibration" in kwargs:
        raise click.UsageError("--calibration and -o calibration are both given. Leave one out.")
    if how["quantization"] and not recipe.precision.quantized:
        raise click.UsageError(f"--quantization-report: {typed(recipe)} quantizes nothing. Leave it out.")
    if how["inputs"] and how["shapes"]:
        raise click.UsageError("--inputs and --shape are both given. Example inputs are read or random: leave one out.")
    alone = [f"--{name.replace('_', '-')}" for name in _IMAGE_OPTIONS if how[name] is not None]
    if alone and how["calibration"] is None:
        raise click.UsageError(f"{', '.join(alone)}: only of use with --calibration. Give data, or leave it out.")


def _planned_files(model: str, recipe: catalog.Recipe, how: dict[str, Any]) -> dict[str, Path]:
    """What will be written, by kind.

    Raises:
        ArmRecipeError: a file is there already, or can't be made.
    """
    output = Path(how["output"]).expanduser()
    if output.suffix == ".pte" and not output.is_dir():
        pte = output
    elif output.suffix == ".bpte":
        raise ArmRecipeError(
            f"--output={how['output']!r}: a bundle is written beside the .pte. Give {str(output.with_suffix('.pte'))!r}"
            " and --bundle."
        )
    elif output.is_file():
        raise ArmRecipeError(f"--output={how['output']!r} is a file. Allowed: a folder, or a file that ends in .pte.")
    else:
        pte = output / f"{short_name(model)}_{recipe.name.lower()}.pte"
    files = {"pte": pte}
    if how["bundle"]:
        files["bundle"] = pte.with_suffix(".bpte")
    if how["etrecord"]:
        files["etrecord"] = pte.with_suffix(".etrecord")
    if how["intermediates"]:
        files["intermediates"] = Path(how["intermediates"]).expanduser()
    if how["intermediates"] and files["intermediates"].is_file():
        raise ArmRecipeError(f"--intermediates={how['intermediates']!r} is a file. Give a folder, new or empty.")
    there = [path for path in files.values() if path.exists() and not (path.is_dir() and not any(path.iterdir()))]
    if there and not how["force"]:
        raise ArmRecipeError(
            f"{', '.join(map(str, there))}: already there. Give --force to overwrite, or another --output."
        )
    folder = next((path for path in pte.parents if path.exists()), Path())
    if not folder.is_dir():
        raise ArmRecipeError(f"--output={how['output']!r}: {folder} is a file, so there can be no folder.")
    if not os.access(folder, os.W_OK):
        raise ArmRecipeError(f"--output={how['output']!r}: {folder} can't be written to. Give another --output.")
    return files


def _export(
    model: str,
    recipe: catalog.Recipe,
    kwargs: dict[str, Any],
    files: dict[str, Path],
    how: dict[str, Any],
    printed: io.StringIO,
) -> tuple[ExportReport, Any]:
    with _status("importing torch and executorch"), contextlib.redirect_stderr(printed):
        # torch's log handlers keep the standard error of this moment.
        from . import artifacts, models, partitioning, provider, quantization, report
        from .recipe_types import ArmRecipeType
        from .session import export

        provider.register()

    with contextlib.ExitStack() as stack:
        if how["as_json"]:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if not sys.stderr.isatty():
            # torch prints whole graphs there when it fails. On a terminal that is where the progress bars are.
            stack.enter_context(contextlib.redirect_stderr(printed))
        loaded = models.load_model(model)
        inputs = loaded.example_inputs
        if how["inputs"]:
            inputs = models.read_inputs(how["inputs"], loaded.model)
        elif how["shapes"]:
            inputs = models.random_inputs(how["shapes"])
        elif inputs is None and not models.has_inputs(loaded.model):
            raise ArmRecipeError(
                f"model={model!r} has no example inputs. Give --shape once per input, e.g. --shape 1x3x224x224, or "
                "--inputs FILE, or a function that gives a tuple of model and inputs."
            )
        with partitioning.watched() as verdicts, _failures(verdicts, printed):
            session = export(
                loaded.model,
                ArmRecipeType[recipe.name],
                inputs,
                calibration=_calibration(how),
                generate_etrecord=how["etrecord"],
                **kwargs,
            )
            writers = {
                "intermediates": artifacts.write_intermediates,
                "bundle": artifacts.write_bundle,
                "etrecord": artifacts.write_etrecord,
                "pte": artifacts.write_pte,
            }
            for kind, write in writers.items():
                if kind in files:
                    with _writing(files[kind]):
                        write(session, files[kind])
        found = quantization.quantization_report(session) if how["quantization"] else None
    return report.export_report(session), found


@contextlib.contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArmRecipeError(f"{path}: it can't be written ({error.strerror or error}).") from error


def _calibration(how: dict[str, Any]) -> Any:
    from .calibration import load_calibration

    if how["calibration"] is None:
        return None
    settings = {name: how[name] for name in _IMAGE_OPTIONS if how[name] is not None}
    return load_calibration(how["calibration"], **settings)


@contextlib.contextmanager
def _failures(verdicts: list[Verdicts], printed: io.StringIO) -> Iterator[None]:
    """Tell failures of the compile from errors of the user and from bugs, and say why nothing was delegated."""
    try:
        yield
    except LoweringError as error:
        refused = {each.operator: each.reason for program in verdicts for each in program if each.reason}
        lines = [f"  {operator}: {reason}" for operator, reason in refused.items() if "quantize_per" not in operator]
        why = "\nRefused were:\n" + "\n".join(lines) if lines else ""
        raise LoweringError(f"{error}{why}") from error
    except (ArmRecipeError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        printed.write("".join(traceback.format_exception(error)))
        if _is_ours(error):
            raise
        raise _CompileFailure(error, printed.getvalue()) from error


def _is_ours(error: BaseException) -> bool:
    """Whether it was raised in this package, other than by a call of ours into someone else's code."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)


def _failure_text(failure: _CompileFailure) -> str:
    error = failure.error
    kind = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
    text = str(error).strip() or "without a message"
    if isinstance(error, SystemExit):
        lines = [line for line in failure.printed.splitlines() if line.strip()]
        text = "\n".join(["a tool ended the process. Its last words:", *lines[-5:]])
    return (
        f"error: the compile failed: {kind}{text}\n"
        "No .pte was written. --log FILE keeps all that was said, and the traceback."
    )


# What others print


@contextlib.contextmanager
def _chatter(verbose: bool, log: str | None) -> Iterator[io.StringIO]:
    """Keep what libraries log, warn and print off the terminal: for `verbose` to standard error, else to the file
    `log`, else away. Warnings of arm_recipes are shown at the end.

    Yields:
        A stream to print to, of which the end is kept.
    """
    streams: list[Any] = []
    with contextlib.ExitStack() as stack:
        if log is not None:
            with _writing(log):
                Path(log).parent.mkdir(parents=True, exist_ok=True)
                streams.append(stack.enter_context(Path(log).open("w", encoding="utf-8")))
        if verbose:
            streams.append(sys.stderr)
        tee = _Tee(streams)
        handler = logging.StreamHandler(tee)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        ours = logging.getLogger(__package__)
        root = logging.getLogger()
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        # Not the root's level: upstream has Vela print all it can where its own is INFO.
        stack.callback(ours.setLevel, ours.level)
        ours.setLevel(logging.DEBUG)
        shown = stack.enter_context(_warnings_to(tee))
        try:
            yield tee
        finally:
            for text in dict.fromkeys(shown):
                _complain(f"warning: {text}")


class _Tee(io.StringIO):
    """Writes to all `streams`, and remembers."""

    def __init__(self, streams: Sequence[Any]) -> None:
        super().__init__()
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return super().write(text)


@contextlib.contextmanager
def _warnings_to(stream: Any) -> Iterator[list[str]]:
    """Send others' warnings to a stream, and collect those of arm_recipes."""
    ours: list[str] = []

    def show(
        message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: str | None = None
    ) -> None:
        here = Path(filename).is_relative_to(Path(__file__).parent) and category is UserWarning
        if here or category.__module__.startswith(f"{__package__}."):
            ours.append(str(message))
        else:
            stream.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield ours


@contextlib.contextmanager
def _status(text: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=sys.stderr).status(text):
        yield


# Printing


def _print_json(**content: Any) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _spelled(value: Any) -> str:
    """A value as -o takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.join(value) if isinstance(value, tuple) else str(value)


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: int = 0) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in header:
        # What is read word by word may be broken, what is copied may not.
        table.add_column(name, overflow="fold", no_wrap=name in ("RECIPE", "TARGET", "TOOL", "COUNT", "STATUS"))
    for row in rows:
        table.add_row(*row)
    console = _console()
    if indent:
        from rich.padding import Padding

        console.print(Padding(table, (0, 0, 0, indent)))
    else:
        console.print(table)


def _print_report(report: ExportReport, recipe: catalog.Recipe, files: dict[str, Path]) -> None:
    for method in report.methods:
        _print_method(method, len(report.methods) > 1)
    if report.vela_estimates:
        click.echo("Vela's estimates of the delegated subgraphs (computed by the compiler, not measured):")
        memories = list(dict.fromkeys(name for each in report.vela_estimates for name in each.memory_kib))
        _print_table(
            ("CYCLES", "TIME", "MACS", *(f"{name} (KiB)" for name in memories)),
            [
                (
                    f"{each.cycles:,}",
                    f"{each.milliseconds:.4g} ms at {each.clock_mhz:.0f} MHz",
                    f"{each.macs:,}",
                    *(f"{each.memory_kib.get(name, 0):,}" for name in memories),
                )
                for each in report.vela_estimates
            ],
            indent=2,
        )
        click.echo()
    click.echo(f"{files['pte']}  {report.pte_bytes:,} bytes, {typed(recipe)}")
    for kind, path in files.items():
        if kind != "pte":
            click.echo(f"{path}  {kind}")


def _print_method(method: MethodReport, several: bool) -> None:
    if several:
        click.echo(f"Method {method.name}\n")
    if method.calibration is not None:
        samples = "sample" if method.calibration.samples == 1 else "samples"
        click.echo(f"Calibrated on {method.calibration.samples} {samples}: {method.calibration.source}\n")
    if method.delegates:
        total = sum(each.operators for each in method.delegates)
        graphs = "1 subgraph" if len(method.delegates) == 1 else f"{len(method.delegates)} subgraphs"
        sizes = " + ".join(f"{each.payload_bytes:,}" for each in method.delegates)
        backends = ", ".join(dict.fromkeys(each.backend for each in method.delegates))
        click.echo(f"Delegated: {total} operators in {graphs} of {backends}, {sizes} bytes")
        click.echo(_listed(f"{each.count} {_short(each.operator)}" for each in method.delegated))
        click.echo()
    if method.not_delegated:
        click.echo(f"Not delegated: {sum(each.count for each in method.not_delegated)} operators")
        rows = [
            (str(each.count), _short(each.operator), each.reason or "not known", ", ".join(each.where) or "-")
            for each in method.not_delegated
        ]
        columns = 4 if any(each.where for each in method.not_delegated) else 3
        header = ("COUNT", "OPERATOR", "REASON", "IN MODULE")
        _print_table(header[:columns], [row[:columns] for row in rows], indent=2)
        click.echo()
    if method.kernels:
        click.echo("Kernels that the runtime must have, and the calls of each:")
        click.echo(_listed(f"{each.count} {each.operator}" for each in method.kernels))
    else:
        click.echo("Kernels that the runtime must have: none")
    memory = " + ".join(f"{size:,}" for size in method.planned_memory_bytes) or "0"
    click.echo(f"\nMemory planned for activations outside of delegates: {memory} bytes\n")


def _short(operator: str) -> str:
    return operator.removeprefix("quantized_decomposed.")


def _listed(words: Iterable[str]) -> str:
    # The spaces within a word are kept together.
    text = textwrap.fill(
        ", ".join(word.replace(" ", "\0") for word in words),
        min(_width(), 120),
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return text.replace("\0", " ")
