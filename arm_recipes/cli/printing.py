"""How the command shows a result: as text, as one JSON document, and in the files of --report. No torch here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from arm_recipes.documents.results import FORMS, Result
from arm_recipes.errors import ArmRecipeError
from arm_recipes.files import given_path, write_whole

from .output import writing
from .shared import ResultOptions

SCHEMA_VERSION = 2
KIND = "arm_recipes command"

_REPORT = "report"


def report_files(command: ResultOptions) -> dict[str, Path]:
    """The files of --report, by kind: ``report`` and the ending that says their form, e.g. ``report.html``.

    Raises:
        click.UsageError: there are two of one form.
        ArmRecipeError: a file can't be made.
    """
    files: dict[str, Path] = {}
    for form, name in command.report_forms:
        if f"{_REPORT}{form}" in files:
            raise click.UsageError(f"--report is given twice for {form}. Leave one out.")
        path = given_path(name)
        check_place(path, f"--report={name!r}")
        if path.is_dir():
            raise ArmRecipeError(f"--report={name!r} is a folder. Give a file.")
        files[f"{_REPORT}{form}"] = path
    return files


def check_place(path: Path, given: str) -> None:
    """Check that a file or folder can be made.

    Args:
        path: of it.
        given: the option that names it, with its value.

    Raises:
        ArmRecipeError: it can't.
    """
    folder = next((parent for parent in path.parents if parent.exists()), Path())
    if not folder.is_dir():
        raise ArmRecipeError(f"{given}: {folder} is a file, so there can be no folder.")
    if not os.access(folder, os.W_OK):
        raise ArmRecipeError(f"{given}: {folder} can't be written to. Give another {given.partition('=')[0]}.")


def check_new(files: Mapping[str, Path], command: ResultOptions, instead: str = "another name") -> None:
    """Refuse to overwrite what is there, without --force; and, with or without, what the command reads, or writes
    twice. A folder may be there, if it is empty.

    Args:
        files: that are to be written, by kind.
        command: that writes them, and others.
        instead: of what is there, for the message.

    Raises:
        ArmRecipeError: a file may not be written.
    """
    others = {option: given_path(name) for option, name in command.also_writes.items()}
    written = [
        *((f"{path}", path) for path in files.values()),
        *((f"{each}={path}", path) for each, path in others.items()),
    ]
    for index, (given, path) in enumerate(written):
        for what, other in command.reads.items():
            if _same(path, Path(other)):
                raise ArmRecipeError(f"{given}: that is {what} itself. Give another file to write.")
        if any(_same(path, other) for _, other in written[:index]):
            raise ArmRecipeError(f"{given}: two outputs can't be one file. Give another name.")
    there = [path for path in files.values() if path.exists() and not (path.is_dir() and not any(path.iterdir()))]
    there += [path for option, path in others.items() if option not in command.continues and path.is_file()]
    if there and not command.force:
        raise ArmRecipeError(f"{', '.join(map(str, there))}: already there. Give --force to overwrite, or {instead}.")


def _same(path: Path, other: Path) -> bool:
    """Whether two names are of one file, which need not be there."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        other = other.expanduser()
        if path.exists() and other.exists():
            return path.samefile(other)
        return path.resolve() == other.resolve()
    return False


def write_reports(result: Result, files: Mapping[str, Path], title: str | None = None) -> None:
    """Write the files of --report.

    Args:
        result: what to write.
        files: by kind; those of other kinds are left alone.
        title: of the page; the result's own where not given.

    Raises:
        ArmRecipeError: a file can't be written.
    """
    for kind, path in files.items():
        stem, dot, ending = kind.partition(".")
        if stem == _REPORT:
            written = result.to_html(title) if ending == "html" else FORMS[dot + ending](result)
            with writing(path):
                write_whole(path, f"{written.rstrip()}\n".encode())


def show(
    result: Result,
    command: ResultOptions,
    files: Mapping[str, Path],
    *,
    status: int = 0,
    text: Callable[[int], str] | None = None,
    **more: Result | None,
) -> None:
    """Print a result, to standard output.

    Args:
        result: of the command.
        command: whose `as_json` says in which form.
        files: that were written, by kind.
        status: that the command ends with.
        text: what to print where it is not JSON, by the terminal's width; the result's own text where not given.
        **more: further results for JSON, by name; those that are None are left out.
    """
    if command.as_json:
        click.echo(json.dumps(_command_document(result, files, status, more), indent=2, allow_nan=False))
        return
    click.echo((text or result.text)(shutil.get_terminal_size().columns))
    for kind, path in files.items():
        click.echo(f"{path}" if kind == "pte" else f"{path}  {kind}")


def _command_document(
    result: Result, files: Mapping[str, Path], status: int, more: Mapping[str, Result | None]
) -> dict[str, Any]:
    """What --json prints, of every command."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "command": click.get_current_context().info_name,
        "status": status,
        "files": {kind: str(path) for kind, path in files.items()},
        "result": result.to_dict(),
        **{name: part.to_dict() for name, part in more.items() if part is not None},
    }


def command_schema(results: Mapping[str, str]) -> dict[str, Any]:
    """The JSON Schema of what --json prints.

    Args:
        results: the name of the schema file of its result, by command.
    """
    fields = {
        "schema_version": {"const": SCHEMA_VERSION},
        "kind": {"const": KIND},
        "command": {"enum": list(results)},
        "status": {"type": "integer", "description": "that the command ends with"},
        "files": {
            "type": "object",
            "description": "paths that were written, by kind",
            "additionalProperties": {"type": "string"},
        },
        "result": {"type": "object"},
        "quantization": {"$ref": "quantization.json"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": KIND,
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name != "quantization"],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"command": {"const": command}}},
                "then": {"properties": {"result": {"$ref": file}}},
            }
            for command, file in results.items()
        ],
    }
