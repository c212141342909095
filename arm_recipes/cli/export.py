"""`arm-recipes export`: parsing and printing. Everything else is the library's: session, reporting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.errors import ArmRecipeError
from arm_recipes.files import given_path
from arm_recipes.recipes import options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.names import short_name, typed

from .compiling import compile_context, read_data
from .output import status, writing
from .printing import check_new, check_place, report_files, show, write_reports
from .shared import (
    NOT_GOOD_ENOUGH,
    SETTINGS,
    CompileOptions,
    end_on,
    input_options,
    log_options,
    model_options,
    recipe_arguments,
    result_options,
)
from .types import Limit

if TYPE_CHECKING:
    from executorch.export import ExportSession

    from arm_recipes.reporting.quantization import QuantizationReport
    from arm_recipes.reporting.result import ExportReport


@dataclass(frozen=True, kw_only=True)
class ExportOptions(CompileOptions):
    """What `arm-recipes export` was given.

    Attributes:
        recipe: to compile for.
        output: the .pte, or a folder for it.
        bundle: whether to write a .bpte too.
        etrecord: whether to write an ETRecord too.
        intermediates: folder for the compilers' files.
        quantization: whether to print how every node is quantized.
        max_sram: gate: most RAM of a firmware, in KiB.
        max_flash: gate: largest .pte, in KiB.
        min_delegation: gate: least share of operators that are delegated, in percent.
        min_sqnr: gate: least SQNR of a quantized output against float, in dB.
        require_full_delegation: gate: whether every operator has to be delegated.
        check: whether to hold the program against the model, layer by layer.
        cache: folder in which what an export made is kept, and looked for.
    """

    recipe: Recipe
    output: str
    bundle: bool
    etrecord: bool
    intermediates: str | None
    quantization: bool
    max_sram: float | None
    max_flash: float | None
    min_delegation: float | None
    min_sqnr: float | None
    require_full_delegation: bool
    check: bool
    cache: str | None


@click.command("export", context_settings=SETTINGS)
@model_options()
@click.option(
    "--output",
    type=click.Path(),
    default=".",
    metavar="PATH",
    help="The .pte to write, or a folder for it; made if it is not there. [default: the current folder]",
)
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
@click.option("--max-sram", type=Limit(0), metavar="KIB", help="Fail if a firmware needs more RAM.")
@click.option("--max-flash", type=Limit(0), metavar="KIB", help="Fail if the .pte is larger.")
@click.option("--min-delegation", type=Limit(0, 100), metavar="PERCENT", help="Fail if fewer operators are delegated.")
@click.option("--min-sqnr", type=Limit(), metavar="DB", help="Fail if a quantized output is further from float.")
@click.option(
    "--no-check", "check", is_flag=True, default=True, flag_value=False, help="Don't run the program to check it."
)
@click.option(
    "--cache",
    type=click.Path(),
    metavar="DIR",
    help="Take program and report from there if an earlier export had the same model, samples, options and versions, "
    "and keep them there. [default: $ARM_RECIPES_CACHE, else none]",
)
@click.option("--require-full-delegation", is_flag=True, help="Fail if an operator is not delegated.")
@result_options("the whole report, with Ethos-U's layers,", " Compiles each delegate once more.")
@log_options
def export_model(**values: Any) -> None:
    """Compile MODEL to a .pte.

    MODEL is path/to/file.py:name or package.module:name, where name is a torch.nn.Module, or a function that gives one
    or a tuple of one and its example inputs; or a .pt2 file of torch.export.save. Without a name, a file's
    ModelUnderTest and ModelInputs are taken, or its only module.

    A .py file is run, and a .pt2 file may run code: give only files that you trust. Files of inputs and calibration
    data never run code.

    Example inputs come with the model, or from --inputs, or are random (--shape). Without --calibration they are all
    that a quantized model is calibrated on, which makes it inaccurate.
    """
    command = ExportOptions(**values)
    arguments = _checked_arguments(command)
    files = _planned_files(command)
    report, quantization = _export(command, arguments, files)
    write_reports(report, files, f"{short_name(command.model)}: {report.recipe} on {report.target}")

    def text(width: int) -> str:
        before = "" if quantization is None else f"{quantization.text(width)}\n\n"
        return f"{before}{report.text(width)}"

    failed = report.failed_gates
    show(report, command, files, status=NOT_GOOD_ENOUGH if failed else 0, text=text, quantization=quantization)
    end_on(failed)


def _checked_arguments(command: ExportOptions) -> dict[str, Any]:
    """The recipe's arguments. As much as can be wrong is found before torch is imported."""
    recipe = command.recipe
    arguments = recipe_arguments(command, recipe)
    if command.quantization and not recipe.precision.quantized:
        raise click.UsageError(f"--quantization-report: {typed(recipe)} quantizes nothing. Leave it out.")
    if command.min_sqnr is not None and not recipe.precision.quantized:
        raise click.UsageError(f"--min-sqnr: {typed(recipe)} quantizes nothing. Leave it out.")
    if command.max_sram is not None and not recipe.family.facts.has_firmware:
        raise click.UsageError(
            f"--max-sram: {typed(recipe)} is for no firmware whose memory could be told. Leave it out."
        )
    options.resolve(recipe, arguments)
    return arguments


def _planned_files(command: ExportOptions) -> dict[str, Path]:
    """What will be written, by kind.

    Raises:
        ArmRecipeError: a file is there already, or can't be made.
    """
    pte = _planned_pte(command)
    files = {"pte": pte}
    if command.bundle:
        files["bundle"] = pte.with_suffix(".bpte")
    if command.etrecord:
        files["etrecord"] = pte.with_suffix(".etrecord")
    files |= report_files(command)
    if command.intermediates is not None:
        files["intermediates"] = given_path(command.intermediates)
        if files["intermediates"].is_file():
            raise ArmRecipeError(f"--intermediates={command.intermediates!r} is a file. Give a folder, new or empty.")
    check_new(files, command, "another --output")
    check_place(pte, f"--output={command.output!r}")
    return files


def _planned_pte(command: ExportOptions) -> Path:
    output = given_path(command.output)
    if output.suffix == ".pte" and not output.is_dir():
        return output
    if output.suffix == ".bpte":
        raise ArmRecipeError(
            f"--output={command.output!r}: a bundle is written beside the .pte. Give "
            f"{str(output.with_suffix('.pte'))!r} and --bundle."
        )
    if output.is_file():
        raise ArmRecipeError(f"--output={command.output!r} is a file. Allowed: a folder, or a file that ends in .pte.")
    return output / f"{short_name(command.model)}_{command.recipe.name.lower()}.pte"


def _export(
    command: ExportOptions, arguments: dict[str, Any], files: dict[str, Path]
) -> tuple[ExportReport, QuantizationReport | None]:
    """Export, write all files but reports, and report."""
    with compile_context(command, command.model) as compiling:
        from arm_recipes.recipes.types import ArmRecipeType
        from arm_recipes.reporting import build
        from arm_recipes.reporting.quantization import quantization_report
        from arm_recipes.session.export import export

        with compiling.failures():
            session = export(
                compiling.model,
                ArmRecipeType[command.recipe.name],
                compiling.inputs,
                generate_etrecord=command.etrecord,
                check=command.check,
                cache_dir=command.cache,
                **{"calibration": read_data(command.calibration, command), **arguments},
            )
            _write_programs(session, files)
        quantization = quantization_report(session) if command.quantization else None
        with status("reporting"):
            report = build.report(
                session,
                layers=bool(command.reports),
                max_sram=command.max_sram,
                max_flash=command.max_flash,
                min_delegation=command.min_delegation,
                min_sqnr=command.min_sqnr,
                require_full_delegation=command.require_full_delegation,
            )
    return report, quantization


def _write_programs(session: ExportSession, files: dict[str, Path]) -> None:
    """Write what is asked for; the .pte last, as a sign that all went well."""
    from arm_recipes.session import bundle

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
