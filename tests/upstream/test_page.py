"""docs/upstream.md lists each private name and each trick, and each trick's test is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FILES = [file for room in ("upstream", "tools") for file in sorted((_ROOT / "arm_recipes" / room).rglob("*.py"))]
_COMMENTED = [
    file for file in sorted((_ROOT / "arm_recipes").rglob("*.py")) if "# Upstream:" in file.read_text("utf-8")
]
_PAGE = (_ROOT / "docs" / "upstream.md").read_text("utf-8")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


def private_names(source: str) -> set[str]:
    """Private names of others that a file uses: attributes, and parts of modules that it imports from."""
    tree = ast.parse(source)
    names = set()
    for node in ast.walk(tree):
        own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if isinstance(node, ast.Attribute) and not own:
            names.add(node.attr)
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.update((node.module or "").split("."))
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            names.update(
                each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )
    return set(filter(_is_private, names))


def test_private_names_are_found() -> None:
    source = "from torch._ops import x\na._b\nself._c\ngetattr(a, '_d')\na.__e__\n"
    assert private_names(source) == {"_ops", "_b", "_d"}


@pytest.mark.parametrize("file", _FILES, ids=lambda file: str(file.relative_to(_ROOT)))
def test_the_page_has_each_private_name(file: Path) -> None:
    missing = {name for name in private_names(file.read_text("utf-8")) if not re.search(rf"\b{name}\b", _PAGE)}
    assert missing == set(), f"say in docs/upstream.md what {missing} is for"


def _comments(file: Path) -> Iterator[str]:
    """Each comment from ``# Upstream:`` on, in one line."""
    for comment in re.findall(r"# Upstream:.*\n(?:\s*#.*\n)*", file.read_text("utf-8")):
        yield " ".join(line.strip().removeprefix("#").strip() for line in comment.splitlines())


@pytest.mark.parametrize("file", _COMMENTED, ids=lambda file: str(file.relative_to(_ROOT)))
def test_each_trick_names_its_versions_and_its_test(file: Path) -> None:
    for comment in _comments(file):
        assert re.search(r"Holds for (?:executorch|torch|torchao|Vela|tosa-tools) [\d.]+", comment), comment
        tests = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", comment)
        assert tests, f"no test is named: {comment}"
        for path, name in tests:
            assert (_ROOT / path).is_file(), path
            assert not name or f"def {name}(" in (_ROOT / path).read_text("utf-8"), f"{path}::{name}"
            assert name in _PAGE, f"say of {path}::{name} in docs/upstream.md"
