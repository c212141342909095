"""docs/adding.md, done in a copy of the repository: its edits, and no others, are enough."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arm_recipes.recipes import catalog

pytestmark = pytest.mark.ethos_u

ROOT = Path(__file__).parents[1]
_PARTS = ("arm_recipes", "docs", "tests", "README.md", "pyproject.toml")

_WORK = """
import json, warnings
warnings.simplefilter("ignore")
from arm_recipes import ArmRecipeType, export, retarget, verify
from arm_recipes.recipes import catalog, options
from tests.models import linear

def exported(recipe, **given):
    model, inputs = linear()
    return export(model, recipe, inputs, progress=False, **given)

session = exported(ArmRecipeType.ETHOSU_U55_SMALL_INT8)
given = {"macs": 32, "system_config": "Ethos_U55_Deep_Embedded", "memory_mode": "Sram_Only"}
spelled_out = exported(ArmRecipeType.ETHOSU_U55_INT8, **given)
retargeted = retarget(session, ArmRecipeType.ETHOSU_U55_INT8, kit="sensor")
report = verify(session, [linear().inputs], simulator="repeated", progress=False)
explicit = options.resolve(catalog.BY_NAME["ETHOSU_U55_INT8"], {"kit": "sensor", "macs": 256})
print(json.dumps({
    "same as spelled out": session.get_pte_buffer() == spelled_out.get_pte_buffer(),
    "retargeted": {name: retargeted.options[name] for name in ("kit", "macs", "system_config", "memory_mode")},
    "explicit": [explicit.macs, explicit.system_config],
    "simulator": report.simulator,
    "gates": [gate.passed for gate in report.gates],
}))
"""


def _edits() -> list[tuple[str, str, str]]:
    """What the page says: a language, a file, and the text of the edit."""
    page = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(diff|python)\n(?:---|#) (\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert [language for language, _, _ in blocks] == ["diff", "diff", "python", "diff"]
    return blocks


def _apply(language: str, file: Path, text: str) -> None:
    if language == "python":
        assert not file.exists()
        file.write_text(text, encoding="utf-8")
        return
    lines = text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] == " ")
    after = "".join(line[1:] for line in lines)
    content = file.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{file.name} has no such place: {before}"
    file.write_text(content.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the page's edits, and with its made files made."""
    root = tmp_path_factory.mktemp("copy")
    for part in _PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, root / part)
    for language, name, text in _edits():
        _apply(language, root / name, text)
    _run(root, "docs/generate.py")
    return root


@pytest.fixture(scope="module")
def worked(copy: Path) -> dict[str, Any]:
    (copy / "work.py").write_text(_WORK, encoding="utf-8")
    results: dict[str, Any] = json.loads(_run(copy, "work.py").splitlines()[-1])
    return results


def _run(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_target_is_one_row(copy: Path, worked: dict[str, Any]) -> None:
    assert worked["same as spelled out"]
    (recipe,) = [
        recipe
        for recipe in json.loads(_run(copy, "-m", "arm_recipes", "list", "--json"))["result"]["recipes"]
        if recipe["name"] == "ethosu-u55-small-int8"
    ]
    assert (recipe["target"], recipe["ready"]) == ("ethos-u55", True)
    assert "| `ETHOSU_U55_SMALL_INT8` | ethos-u55-32 | int8 |" in (copy / "README.md").read_text(encoding="utf-8")
    assert "ETHOSU_U55_SMALL_INT8" in (copy / "arm_recipes/recipes/types.pyi").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_preset_is_one_declaration(copy: Path, worked: dict[str, Any]) -> None:
    assert worked["retargeted"] == {
        "kit": "sensor",
        "macs": 64,
        "system_config": "Ethos_U55_Deep_Embedded",
        "memory_mode": "Shared_Sram",
    }
    assert worked["explicit"] == [256, "Ethos_U55_Deep_Embedded"]
    assert "| `kit` | str | all | - | -, `sensor` |" in (copy / "docs/recipes.md").read_text(encoding="utf-8")
    assert "kit  str" in _run(copy, "-m", "arm_recipes", "options", "ethosu-u55-int8")


@pytest.mark.slow
def test_a_simulator_is_a_module_and_a_row(copy: Path, worked: dict[str, Any]) -> None:
    assert worked["simulator"] == "TOSA reference model, asked twice"
    assert worked["gates"]
    assert all(worked["gates"])
    assert "[auto|reference|repeated|vulkan|fvp|qemu]" in (copy / "docs/cli.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_nothing_else_was_edited(copy: Path) -> None:
    files = [path.relative_to(copy) for part in _PARTS for path in [copy / part, *(copy / part).rglob("*")]]
    changed = {
        file.as_posix()
        for file in files
        if (copy / file).is_file()
        and "__pycache__" not in file.parts
        and not ((ROOT / file).exists() and filecmp.cmp(ROOT / file, copy / file, shallow=False))
    }
    edited = {name for _, name, _ in _edits()}
    made = set(
        _run(copy, "-c", "import sys; sys.path.insert(0, 'docs'); import generate; print(*generate.MADE)").split()
    )
    assert edited <= changed <= edited | made
    assert _run(copy, "docs/generate.py", "--check") == "stale: nothing\n"
    _run(copy, "-m", "ruff", "check", *sorted(edited))


def test_code_asks_for_facts_and_not_for_families() -> None:
    """So that a family takes what docs/adding.md says: a member of the enum, options, a lowering, simulators' rows."""
    names = "|".join(family.name for family in catalog.Family)
    asking = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "arm_recipes").rglob("*.py")
        if re.search(rf"\bFamily\.(?:{names})\b", path.read_text(encoding="utf-8"))
    }
    assert asking == {"arm_recipes/recipes/catalog.py", "arm_recipes/simulators/registry.py"}
