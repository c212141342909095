"""The command `arm-recipes`: parsing and printing. Everything else is a call of the library.

The exit statuses stand in the help of `cli`. What takes long to import (torch, executorch) is imported only by the
commands that need it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import catalog, options
from .arguments import KeyValue, Numbers, RecipeName, ReportFile, Several, Size
from .chatter import chatter, complain, status, writing
from .errors import ArmRecipeError, LoweringError, SimulationError, nearest
from .names import short_name, typed
from .printing import plain, print_json, print_report, print_sweep, print_table, spelled, terminal_width

if TYPE_CHECKING:
    from . import doctor
    from .export_report import ExportReport
    from .gates import Gate
    from .partitioning import Verdicts
    from .sweep_result import SweepResult

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_COMPLETE = "_ARM_RECIPES_COMPLETE"
_NOT_GOOD_ENOUGH = 3


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
        code = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="arm-recipes",
            complete_var=_COMPLETE,
            standalone_mode=False,
        )
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; no file is left half-written")
        return 130
    except ArmRecipeError as error:
        complain(f"error: {error}")
        return 1 if isinstance(error, SimulationError) else 2
    except _CompileFailure as failure:
        complain(_failure_text(failure))
        return 1
    except BrokenPipeError:  # the reader of a pipe, e.g. head, has seen enough
        sys.stderr.close()
        return 0


_RECIPE = RecipeName()
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
    arm-recipes verify model.py -r ethosu-u85-int8 --data data/      whether it is still the model
    arm-recipes sweep model.py -r ethosu-u85-int8          what each configuration would cost
    arm-recipes doctor                       what is missing on this machine

    \b
    Exit status:
      0    it is done, and every condition holds
      1    the compile or the simulation failed; for sweep, that of every point;
           for doctor, something that a recipe wants is missing or broken
      2    the command, the model or the data has to be changed
      3    a condition does not hold: a gate of export or verify, or the limits of a sweep for
           every point; an export's files are written
      130  Ctrl-C
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


@cli.command("doctor")
@_JSON
def check_machine(as_json: bool) -> None:
    """Check every external tool: whether it is here, its version, which recipes want it, and what to do if it is
    missing.
    """
    from . import doctor

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


_MODEL_OPTIONS = (
    click.argument("model", type=click.Path()),
    click.option("-r", "--recipe", type=_RECIPE, required=True, help="What to compile for: see arm-recipes list."),
    click.option(
        "-o",
        "--option",
        "given",
        type=KeyValue(),
        multiple=True,
        help="An option of the recipe, e.g. macs=256: see arm-recipes options RECIPE. Repeatable.",
    ),
)

_INPUT_OPTIONS = (
    click.option(
        "--inputs",
        type=click.Path(),
        multiple=True,
        metavar="FILE",
        help="Example inputs: a .pt, .npy, .npz or .safetensors file with all of them, or one file per input, "
        "repeated.",
    ),
    click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="SHAPE",
        help="Random example inputs: 1x3x224x224, or 1x128:int64; once per input.",
    ),
    click.option(
        "--calibration",
        type=click.Path(),
        metavar="PATH",
        help="Data to calibrate on: a file or folder of tensors, arrays or images.",
    ),
    click.option("--max-samples", type=int, metavar="N", help="Use N samples at most. [default: 1000]"),
    click.option("--mean", type=Numbers(), help="Subtracted from the pixels (0..1) of images."),
    click.option("--std", type=Numbers(), help="By which the pixels are divided then."),
    click.option("--size", type=Size(), help="Stretch images to this size. [default: the model's]"),
    click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Of the model's images. [default: NCHW]"),
)


_TALK_OPTIONS = (
    click.option(
        "-v", "--verbose", is_flag=True, help="Print what Vela and executorch have to say, to standard error."
    ),
    click.option(
        "--log", type=click.Path(dir_okay=False), metavar="FILE", help="Write it, warnings and tracebacks to a file."
    ),
)


def _all_of(options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """A decorator that gives a command each of these, in order."""
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


_model_options = _all_of(_MODEL_OPTIONS)  # what to compile, and for what
_input_options = _all_of(_INPUT_OPTIONS)  # what a model is fed with
_talk_options = _all_of(_TALK_OPTIONS)  # where goes what others print


@cli.command("export", context_settings=_SETTINGS)
@_model_options
@click.option(
    "--output",
    type=click.Path(),
    default=".",
    metavar="PATH",
    help="The .pte to write, or a folder for it; made if it is not there. [default: the current folder]",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@_input_options
@click.option("--bundle", is_flag=True, help="Write a .bpte too: the program with test inputs and expected outputs.")
@click.option("--etrecord", is_flag=True, help="Write an ETRecord too, for executorch's Inspector.")
@click.option(
    "--intermediates",
    type=click.Path(),
    metavar="DIR",
    help="Write TOSA graphs, Vela's files and the exported program there. Compiles each delegate once more.",
)
@click.option("--quantization-report", "quantization", is_flag=True, help="Print how every node is quantized.")
@click.option(
    "--report",
    "reports",
    type=ReportFile(),
    multiple=True,
    metavar="FILE",
    help="Write the whole report, Ethos-U's layers included: a page (.html), .json or .txt. Repeatable. Compiles each "
    "delegate once more.",
)
@click.option("--max-sram", type=float, metavar="KIB", help="Fail if a firmware needs more RAM.")
@click.option("--max-flash", type=float, metavar="KIB", help="Fail if the .pte is larger.")
@click.option("--min-delegation", type=float, metavar="PERCENT", help="Fail if fewer operators are delegated.")
@click.option("--require-full-delegation", is_flag=True, help="Fail if an operator is not delegated.")
@_JSON
@_talk_options
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
    with chatter(how["verbose"], how["log"]) as printed:
        report, quantization = _export(model, recipe, kwargs, files, how, printed)
    if how["as_json"]:
        named = {kind: str(path) for kind, path in files.items()}
        print_json(files=named, report=report.to_dict(), quantization=quantization and quantization.to_dict())
    else:
        if quantization is not None:
            click.echo(quantization.text(max(terminal_width(), 60)) + "\n")
        print_report(report, files)
    _end_on(report.failed_gates)


def _end_on(failed: Sequence[Gate]) -> None:
    """Say which gates failed, and end there, if any did."""
    for gate in failed:
        complain(f"gate {gate}")
    if failed:
        click.get_current_context().exit(_NOT_GOOD_ENOUGH)


def _recipe_options(recipe: catalog.Recipe, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    texts: dict[str, str] = {}
    for key, text in given:
        if key in texts and texts[key] != text:
            raise click.UsageError(f"-o {key} is given twice, as {texts[key]!r} and {text!r}.")
        texts[key] = text
    return options.parse(recipe, texts)


_GATES = ("max_sram", "max_flash", "min_delegation", "require_full_delegation")
_IMAGE_OPTIONS = ("max_samples", "mean", "std", "size", "layout")


def _check_together(recipe: catalog.Recipe, kwargs: dict[str, Any], how: dict[str, Any]) -> None:
    if how["calibration"] is not None and not recipe.precision.quantized:
        raise click.UsageError(
            f"--calibration: {typed(recipe)} quantizes nothing. Leave it out, or take another recipe."
        )
    if how["calibration"] is not None and "calibration" in kwargs:
        raise click.UsageError("--calibration and -o calibration are both given. Leave one out.")
    if how.get("quantization") and not recipe.precision.quantized:
        raise click.UsageError(f"--quantization-report: {typed(recipe)} quantizes nothing. Leave it out.")
    if how["inputs"] and how["shapes"]:
        raise click.UsageError("--inputs and --shape are both given. Example inputs are read or random: leave one out.")
    if how.get("max_sram") is not None and not recipe.family.has_firmware:
        raise click.UsageError(
            f"--max-sram: {typed(recipe)} is for no firmware whose memory could be told. Leave it out."
        )
    alone = [f"--{name.replace('_', '-')}" for name in _IMAGE_OPTIONS if how[name] is not None]
    if alone and how["calibration"] is None and how.get("data") is None:
        kinds = "--data or --calibration" if "data" in how else "--calibration"
        raise click.UsageError(f"{', '.join(alone)}: only of use with {kinds}. Give data, or leave it out.")


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
    for name in how["reports"]:
        if f"report{Path(name).suffix}" in files:
            raise click.UsageError(f"--report is given twice for {Path(name).suffix}. Leave one out.")
        files[f"report{Path(name).suffix}"] = Path(name).expanduser()
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
    with status("importing torch and executorch"), contextlib.redirect_stderr(printed):
        # torch's log handlers keep the standard error of this moment.
        from . import artifacts, partitioning, provider, quantization, reporting
        from .recipe_types import ArmRecipeType
        from .session import export

        provider.register()

    with contextlib.ExitStack() as stack:
        if how["as_json"]:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        module, inputs = _loaded(model, how)
        if not sys.stderr.isatty():
            # torch prints whole graphs there when it fails. On a terminal that is where the progress bars are.
            stack.enter_context(contextlib.redirect_stderr(printed))
        with partitioning.watched() as verdicts, _failures(verdicts, printed):
            session = export(
                module,
                ArmRecipeType[recipe.name],
                inputs,
                generate_etrecord=how["etrecord"],
                **{"calibration": _calibration(how), **kwargs},
            )
            writers = {
                "intermediates": artifacts.write_intermediates,
                "bundle": artifacts.write_bundle,
                "etrecord": artifacts.write_etrecord,
                "pte": artifacts.write_pte,
            }
            for kind, write in writers.items():
                if kind in files:
                    with writing(files[kind]):
                        write(session, files[kind])
        found = quantization.quantization_report(session) if how["quantization"] else None
        with status("reporting"):
            made = reporting.report(session, layers=bool(how["reports"]), **{name: how[name] for name in _GATES})
        forms: dict[str, Callable[[], str]] = {
            "report.html": lambda: made.to_html(f"{short_name(model)}: {made.recipe} on {made.target}"),
            "report.json": made.to_json,
            "report.txt": made.text,
        }
        for kind, text in forms.items():
            if kind in files:
                with writing(files[kind]):
                    artifacts.write_whole(files[kind], f"{text()}\n".encode())
    return made, found


def _loaded(model: str, how: dict[str, Any]) -> tuple[Any, Any]:
    """The model, and its example inputs."""
    from . import models

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
    return loaded.model, inputs


def _calibration(how: dict[str, Any], option: str = "calibration") -> Any:
    from .calibration import load_calibration

    if how[option] is None:
        return None
    settings = {name: how[name] for name in _IMAGE_OPTIONS if how[name] is not None}
    return load_calibration(how[option], **settings)


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


# sweep


@cli.command("sweep", context_settings=_SETTINGS)
@click.argument("model", type=click.Path())
@click.option("-r", "--recipe", "recipes", type=_RECIPE, required=True, multiple=True, help="Of Ethos-U. Repeatable.")
@click.option("--macs", type=Several(int), default="all", help="MACs per cycle, e.g. 128,256. [default: all]")
@click.option("--system-config", type=Several(), default="all", help="System configurations. [default: all]")
@click.option("--memory-mode", type=Several(), default="all", help="Memory modes. [default: all]")
@click.option("--optimise", type=Several(), default="all", help="Performance, Size or both. [default: all]")
@click.option(
    "-o",
    "--option",
    "given",
    type=KeyValue(),
    multiple=True,
    help="Another option of the recipes, the same for all points, e.g. config_ini=board.ini. Repeatable.",
)
@_input_options
@click.option("--max-sram", type=float, metavar="KIB", help="Choose a point with no more peak SRAM.")
@click.option("--max-flash", type=float, metavar="KIB", help="Choose a point with no more flash.")
@click.option("--max-latency-ms", type=float, metavar="MS", help="Choose the least SRAM that is as fast as this.")
@click.option("--export-best", type=click.Path(dir_okay=False), metavar="FILE", help="Write the chosen point's .pte.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write a table of all points.")
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page: plot and table."
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep the results in this JSON file, and take from it what is done.",
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes that run Vela. [default: one per core]")
@click.option("--dask", metavar="ADDRESS", help="Run Vela on the workers of this dask.distributed scheduler instead.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@_JSON
@_talk_options
def sweep_model(
    model: str, recipes: tuple[catalog.Recipe, ...], given: tuple[tuple[str, str], ...], **how: Any
) -> None:
    """Estimate MODEL on every configuration of an NPU: one lowering, and a run of Vela for each legal combination.

    MODEL, its inputs and its calibration are as for arm-recipes export.

    Prints the front of latency against SRAM, and the fastest point that fits the limits. All figures but the size of
    the .pte are Vela's estimates; nothing is measured on hardware. Ctrl-C keeps what is done.
    """
    kwargs = _sweep_options(recipes, given, how)
    planned = [Path(name).expanduser() for name in (how["export_best"], how["csv_file"], how["html_file"]) if name]
    there = [path for path in planned if path.exists()]
    if there and not how["force"]:
        raise ArmRecipeError(
            f"{', '.join(map(str, there))}: already there. Give --force to overwrite, or another name."
        )
    with chatter(how["verbose"], how["log"]) as printed:
        result = _sweep(model, recipes, kwargs, how, printed)
        limits = {name: how[name] for name in ("max_sram", "max_flash", "max_latency_ms")}
        best = result.best(**limits)
        files: dict[str, Callable[[], bytes]] = {}
        if best is not None and not result.interrupted:
            files["export_best"] = lambda: result.program(best).get_pte_buffer()
        files["csv_file"] = lambda: result.to_csv().encode()
        files["html_file"] = lambda: result.to_html(short_name(model)).encode()
        written = []
        for option, content in files.items():
            if how[option]:
                written.append(Path(how[option]).expanduser())
                _write(written[-1], content, printed)
    if how["as_json"]:
        click.echo(result.to_json())
    else:
        print_sweep(result, best, limited=any(limit is not None for limit in limits.values()), files=written)
    if result.interrupted:
        raise click.Abort
    if not result.done:
        complain(f"error: every point failed. The first: {result.points[0].error}")
        click.get_current_context().exit(1)
    if best is None:
        least = min(point.figures.sram_kib for point in result.done if point.figures is not None)
        complain(f"error: no point fits the limits. The least peak SRAM of all points is {least:,} KiB.")
        click.get_current_context().exit(_NOT_GOOD_ENOUGH)


def _write(path: Path, content: Callable[[], bytes], printed: io.StringIO) -> None:
    from .artifacts import write_whole

    with writing(path), _failures([], printed):
        write_whole(path, content())


_AXES = ("macs", "system_config", "memory_mode", "optimise")


def _sweep_options(
    recipes: Sequence[catalog.Recipe], given: Iterable[tuple[str, str]], how: dict[str, Any]
) -> dict[str, Any]:
    for recipe in recipes:
        if recipe.family is not catalog.Family.ETHOS_U:
            raise click.UsageError(f"-r {typed(recipe)}: only Ethos-U has configurations to sweep.")
    for key, _ in given:
        if key in _AXES:
            raise click.UsageError(f"-o {key}: give --{key.replace('_', '-')}, which takes several values.")
    if how["dask"] and how["workers"]:
        raise click.UsageError("--dask and --workers are both given. Leave one out: a cluster has its own workers.")
    kwargs = _recipe_options(recipes[0], given)
    _check_together(recipes[0], kwargs, how)
    return kwargs


def _sweep(
    model: str, recipes: Sequence[catalog.Recipe], kwargs: dict[str, Any], how: dict[str, Any], printed: io.StringIO
) -> SweepResult:
    with status("importing torch and executorch"), contextlib.redirect_stderr(printed):
        from . import partitioning
        from .clusters import dask_executor
        from .recipe_types import ArmRecipeType
        from .sweeping import sweep

    with contextlib.ExitStack() as stack:
        if how["as_json"]:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        executor = stack.enter_context(dask_executor(how["dask"])) if how["dask"] else None
        module, inputs = _loaded(model, how)
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(printed))
        with partitioning.watched() as verdicts, _failures(verdicts, printed):
            return sweep(
                module,
                [ArmRecipeType[recipe.name] for recipe in recipes],
                inputs,
                resume=how["resume"],
                workers=how["workers"],
                executor=executor,
                **{axis: how[axis] for axis in _AXES},
                **{"calibration": _calibration(how), **kwargs},
            )
    raise AssertionError("contexts here let exceptions pass")


from . import cli_verify  # noqa: E402, F401 - a command in a module of its own, which is made of the parts above
