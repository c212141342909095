"""`arm-recipes export`: parsing and printing. Everything else is `session.export`, `artifacts` and `reporting`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.errors import ArmRecipeError
from arm_recipes.files import write_whole
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.names import short_name

from .output import chatter, status, writing
from .printing import print_json, print_report, terminal_width
from .shared import (
    JSON,
    SETTINGS,
    calibration_data,
    check_together,
    end_on,
    failures,
    input_options,
    loaded_model,
    model_options,
    recipe_options,
    talk_options,
)
from .types import ReportFile

if TYPE_CHECKING:
    from arm_recipes.reporting.result import ExportReport


@click.command("export", context_settings=SETTINGS)
@model_options
@click.option(
    "--output",
    type=click.Path(),
    default=".",
    metavar="PATH",
    help="The .pte to write, or a folder for it; made if it is not there. [default: the current folder]",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@input_options
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
@JSON
@talk_options
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
    kwargs = recipe_options(recipe, given)
    check_together(recipe, kwargs, how)
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
    end_on(report.failed_gates)


_GATES = ("max_sram", "max_flash", "min_delegation", "require_full_delegation")


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
        from arm_recipes import provider
        from arm_recipes.recipes.types import ArmRecipeType
        from arm_recipes.reporting import build
        from arm_recipes.reporting.quantization import quantization_report
        from arm_recipes.session import bundle
        from arm_recipes.session.export import export
        from arm_recipes.upstream import partitioner

        provider.register()

    with contextlib.ExitStack() as stack:
        if how["as_json"]:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        module, inputs = loaded_model(model, how)
        if not sys.stderr.isatty():
            # torch prints whole graphs there when it fails. On a terminal that is where the progress bars are.
            stack.enter_context(contextlib.redirect_stderr(printed))
        with partitioner.watched() as verdicts, failures(verdicts, printed):
            session = export(
                module,
                ArmRecipeType[recipe.name],
                inputs,
                generate_etrecord=how["etrecord"],
                **{"calibration": calibration_data(how), **kwargs},
            )
            writers = {
                "intermediates": bundle.write_intermediates,
                "bundle": bundle.write_bundle,
                "etrecord": bundle.write_etrecord,
                "pte": bundle.write_pte,
            }
            for kind, write in writers.items():
                if kind in files:
                    with writing(files[kind]):
                        write(session, files[kind])
        found = quantization_report(session) if how["quantization"] else None
        with status("reporting"):
            made = build.report(session, layers=bool(how["reports"]), **{name: how[name] for name in _GATES})
        forms: dict[str, Callable[[], str]] = {
            "report.html": lambda: made.to_html(f"{short_name(model)}: {made.recipe} on {made.target}"),
            "report.json": made.to_json,
            "report.txt": made.text,
        }
        for kind, text in forms.items():
            if kind in files:
                with writing(files[kind]):
                    write_whole(files[kind], f"{text()}\n".encode())
    return made, found
