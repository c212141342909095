"""Rules of the house that no linter holds: sizes, and that a room says what belongs in it (docs/architecture.md)."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "arm_recipes"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.py"))]
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)

# Functions that a user calls, each of whose parameters is a keyword of the documentation.
ENTRY_POINTS = {
    "samples/data.py:load_calibration",
    "session/export.py:export",
    "sweeping/run.py:sweep",
    "verification/run.py:verify",
}


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{_name(path)}:{node.name}", node


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring's."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    described = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - described


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def test_no_file_has_more_than_400_lines() -> None:
    lines = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_no_function_has_more_than_60_lines() -> None:
    lines = {name: _code_lines(function) for name, function in _functions()}
    assert {name: count for name, count in lines.items() if count > 60} == {}


def test_no_function_has_more_than_8_parameters() -> None:
    parameters = {name: _parameters(function) for name, function in _functions()}
    assert {name: count for name, count in parameters.items() if count > 8 and name not in ENTRY_POINTS} == {}
    assert parameters.keys() >= ENTRY_POINTS


def test_few_files_lie_outside_of_the_rooms() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 10


@pytest.mark.parametrize("room", ROOMS, ids=_name)
def test_a_room_says_what_belongs_in_it(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    assert docstring is not None and len(docstring.split()) >= 5
    if room.parent == PACKAGE:
        assert f"{room.name}/" in (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_the_rule_between_the_rooms_has_no_exceptions() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    (layers,) = [contracts[name] for name in contracts.sections() if contracts[name].get("type") == "layers"]
    assert layers["exhaustive"] == "true"
    assert not any("ignore_imports" in contracts[name] for name in contracts.sections())


def test_what_is_ignored_is_named() -> None:
    """`type: ignore` and `noqa` without a code would ignore what comes later, too."""
    ignores = re.compile(r"#\s*(type:\s*ignore(?!\[)|noqa(?!:))")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if ignores.search(line)
    ]
    assert found == []
