"""What of the machine the recipes need: one check per tool, and what to do where it is missing. No torch here.

Nothing is imported to be found: versions come from the packages' metadata, and what is required is read there too, from
arm_recipes' own requirements and those of executorch.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from arm_recipes.documents.blocks import Block, Column, Document, Heading, Items, table
from arm_recipes.documents.results import Result
from arm_recipes.errors import ToolError
from arm_recipes.recipes.catalog import RECIPES, Recipe
from arm_recipes.recipes.names import typed
from arm_recipes.tools import qemu
from arm_recipes.tools.fvp import BOARDS, INSTALL, RUNNER
from arm_recipes.tools.model_converter import find_model_converter
from arm_recipes.tools.processes import run_tool

OK = "ok"
OTHER = "other version"
MISSING = "missing"
BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found of one tool.

    Attributes:
        name: of the tool.
        status: "ok"; "other version" than the required one; "missing"; or "broken", where it is there and does not run.
        detail: the version, and what is wrong.
        action: what to do; None where nothing is to be done.
        wanted_by: names of the recipes that need it to export; none for what is only of use beyond that.
    """

    name: str
    status: str
    detail: str
    action: str | None = None
    wanted_by: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether recipes can be tried with it: another version may work, and is said to be another one."""
        return self.status in (OK, OTHER)


@dataclass(frozen=True)
class DoctorReport(Result):
    """What `arm-recipes doctor` found.

    Attributes:
        checks: of all tools.
    """

    kind: ClassVar[str] = "arm_recipes doctor"
    schema_version: ClassVar[int] = 1

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every recipe can be tried here."""
        return all(check.ok or not check.wanted_by for check in self.checks)

    def derived(self) -> Mapping[str, Any]:
        return {"ok": self.ok}

    def document(self) -> Document:
        rows = [(check.name, check.status, check.detail, _wanted(check)) for check in self.checks]
        blocks: list[Block] = [
            table((Column("tool", "code"), Column("status", "code"), "detail", "wanted by"), rows),
        ]
        actions = tuple(f"{check.name}: {check.action}" for check in self.checks if check.action)
        if actions:
            blocks += [Heading("What to do"), Items(actions)]
        return Document("What this machine has for arm_recipes", tuple(blocks))

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        columns = ("name", "status", "detail", "action", "wanted_by")
        return columns, [{**asdict(check), "wanted_by": ", ".join(check.wanted_by)} for check in self.checks]


@dataclass(frozen=True, kw_only=True)
class _Tool:
    """A Python package that recipes need.

    Attributes:
        name: for people.
        distribution: what pip calls it.
        module: what has to be importable.
        every: whether all recipes need it to export; otherwise those do whose family names it.
        install: what to give to pip.
        tried: versions beyond those required that were tried on all recipes: programs verify, and may be other ones.
    """

    name: str
    distribution: str
    module: str
    install: str
    every: bool = False
    tried: str = ""


_ETHOS_U_EXTRA = "'executorch[ethos-u]'"
_CONVERTER = "model-converter"

_TOOLS = (
    _Tool(name="torch", distribution="torch", module="torch", install="torch", every=True),
    _Tool(name="executorch", distribution="executorch", module="executorch", install="executorch", every=True),
    _Tool(name="torchao", distribution="torchao", module="torchao", install="torchao", every=True),
    _Tool(
        name="Vela",
        distribution="ethos-u-vela",
        module="ethosu",
        install=_ETHOS_U_EXTRA,
        tried="==5.2.0",
    ),
    _Tool(
        name="TOSA serializer",
        distribution="tosa-tools",
        module="tosa_serializer",
        install=_ETHOS_U_EXTRA,
        every=True,  # executorch's passes for Cortex-M import it too
        tried="==2026.8.0",
    ),
    _Tool(
        name="TOSA reference model",
        distribution="tosa-tools",
        module="tosa_reference_model",
        install=_ETHOS_U_EXTRA,
        tried="==2026.8.0",
    ),
    _Tool(
        name=_CONVERTER,
        distribution="ai_ml_sdk_model_converter",
        module="model_converter",
        install="ai_ml_sdk_model_converter",
    ),
)


def examine() -> DoctorReport:
    """Check all tools, and start those that are programs."""
    return DoctorReport(checks())


def checks(*, run: bool = True) -> tuple[Check, ...]:
    """Check all tools.

    Args:
        run: start those that are programs, to see whether they do (some tenths of a second); otherwise only look
            whether they are there.
    """
    machine = (_python(), _system(), _glibc(), _temporary_folder())
    return (*machine, *(_check(tool, run) for tool in _TOOLS), _fvp(), _qemu())


def readiness(checks: Iterable[Check], recipe: Recipe) -> tuple[Check, ...]:
    """Those of `checks` that keep `recipe` from being exported here; none where it is ready."""
    return tuple(check for check in checks if not check.ok and typed(recipe) in check.wanted_by)


def needs(checks: Iterable[Check], recipe: Recipe) -> tuple[str, ...]:
    """The tools that `recipe` needs beyond those that all recipes need."""
    return tuple(check.name for check in checks if check.name in recipe.family.facts.tools)


def _wanted(check: Check) -> str:
    """Families of recipes, rather than each by name."""
    if not check.wanted_by:
        return "no export"
    if len(check.wanted_by) == len(RECIPES):
        return "all recipes"
    by_family: dict[str, list[str]] = {}
    for recipe in RECIPES:
        by_family.setdefault(recipe.family.value, []).append(typed(recipe))
    words = []
    for names in by_family.values():
        wanting = [name for name in names if name in check.wanted_by]
        words += [f"{names[0].partition('-')[0]}-*"] if wanting == names else wanting
    return ", ".join(words)


def _wanted_by(tool: str | None) -> tuple[str, ...]:
    """The recipes whose family needs a tool; all of them for None."""
    return tuple(typed(recipe) for recipe in RECIPES if tool is None or tool in recipe.family.facts.tools)


def _python() -> Check:
    version = platform.python_version()
    required = SpecifierSet(_metadata("arm_recipes").get("Requires-Python") or "")
    check = Check(name="Python", status=OK, detail=f"{version} at {sys.prefix}", wanted_by=_wanted_by(None))
    if required.contains(version):
        return check
    return replace(
        check,
        status=OTHER,
        detail=f"{version}, and arm_recipes is for {required}",
        action="Make a virtual environment with another Python.",
    )


# What torch 2.13, executorch 1.5.1, Vela, tosa-tools and the model converter have wheels for, by their index.
_SYSTEMS = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64"))


def _system() -> Check:
    here = (platform.system(), platform.machine())
    check = Check(name="system", status=OK, detail=" ".join(here), wanted_by=_wanted_by(None))
    if here in _SYSTEMS:
        return check
    known = ", ".join(map(" ".join, _SYSTEMS))
    return replace(
        check,
        status=OTHER,
        detail=f"{check.detail}, for which executorch and Arm's tools have no wheels",
        action=f"They have wheels for {known}. Take one of these, a container for instance.",
    )


def _temporary_folder() -> Check:
    """Where Vela, torch and the simulators write."""
    check = Check(name="temporary folder", status=OK, detail="", wanted_by=_wanted_by(None))
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(2**20))
    except OSError as error:
        detail = f"{error.filename or tempfile.gettempdir()}: {error.strerror}"
        return replace(check, status=BROKEN, detail=detail, action="Free some space, or set TMPDIR to another folder.")
    return replace(check, detail=tempfile.gettempdir())


def _glibc() -> Check:
    """The C library against what the tools that come as binaries were built for."""
    check = Check(name="glibc", status=OK, detail="", wanted_by=_wanted_by(_CONVERTER))
    library, version = platform.libc_ver()
    if library != "glibc":
        return replace(check, detail=f"not used here ({platform.system()})")
    needed = {tool.distribution: _glibc_of(tool.distribution) for tool in _TOOLS if tool.name == _CONVERTER}
    too_new = {name: least for name, least in needed.items() if least is not None and least > _numbers(version)}
    for name, least in too_new.items():
        return replace(
            check,
            status=BROKEN,
            detail=f"{version}, and the installed {name} needs {'.'.join(map(str, least))}",
            action=f"Install the version that arm_recipes asks for: pip install '{name}{_required(name)}'.",
        )
    known = [least for least in needed.values() if least]
    return replace(check, detail=f"{version}, {'.'.join(map(str, max(known)))} is needed" if known else version)


def _glibc_of(distribution: str) -> tuple[int, ...] | None:
    """The least glibc that the wheel of an installed package is tagged for."""
    try:
        wheel = metadata.distribution(distribution).read_text("WHEEL") or ""
    except metadata.PackageNotFoundError:
        return None
    tags = [(int(major), int(minor)) for major, minor in re.findall(r"manylinux_(\d+)_(\d+)_", wheel)]
    return min(tags, default=None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _check(tool: _Tool, run: bool) -> Check:
    check = Check(name=tool.name, status=OK, detail="", wanted_by=_wanted_by(None if tool.every else tool.name))
    required = _required(tool.distribution)
    try:
        version = metadata.version(tool.distribution)
    except metadata.PackageNotFoundError:
        version = None
    if tool.name == _CONVERTER:
        return _converter(check, tool, version, required, run)
    if version is None or importlib.util.find_spec(tool.module) is None:
        what = "not installed" if version is None else f"{version} is installed, without its module {tool.module}"
        return replace(check, status=MISSING, detail=_with(what, required), action=_install(tool, required))
    return _versioned(check, tool, version, required)


def _versioned(check: Check, tool: _Tool, version: str, required: SpecifierSet) -> Check:
    if required.contains(version, prereleases=True):
        return replace(check, detail=version)
    if tool.tried and SpecifierSet(tool.tried).contains(version):
        detail = f"{version}, which works too; executorch's own is {required}, of other figures and bytes"
        return replace(check, detail=detail)
    return replace(
        check, status=OTHER, detail=f"{version}, and {required} is required", action=_install(tool, required)
    )


def _converter(check: Check, tool: _Tool, version: str | None, required: SpecifierSet, run: bool) -> Check:
    path = find_model_converter()
    if path is None:
        action = f"{_install(tool, required)} Or set MODEL_CONVERTER_PATH to the executable."
        return replace(
            check, status=MISSING, detail=_with("neither on PATH nor beside Python", required), action=action
        )
    if run:
        try:
            finished = run_tool([path, "--version"], name=path, timeout=30)
        except ToolError as error:
            return replace(check, status=BROKEN, detail=str(error), action=_install(tool, required))
        if finished.status != 0:
            detail = f"{path} {finished.end}: {finished.last_words(1)}"
            return replace(check, status=BROKEN, detail=detail, action=_install(tool, required))
    return replace(check, detail=path) if version is None else _versioned(check, tool, version, required)


def _fvp() -> Check:
    """Arm's FVPs, one of which `verify` can run a .pte on."""
    programs = dict.fromkeys(board.program for board in BOARDS.values())
    paths = [path for program in programs if (path := shutil.which(program))]
    runner = os.environ.get(RUNNER)
    lacking = [] if paths else ["none on PATH"]
    if runner is None or not Path(runner).is_file():
        lacking.append(f"{RUNNER} names no file")
    if lacking:
        return Check(name="Arm FVP", status=MISSING, detail=", ".join(lacking), action=f"For verify alone. {INSTALL}")
    return Check(name="Arm FVP", status=OK, detail=", ".join(paths))


def _qemu() -> Check:
    """QEMU and a runner for its Cortex-M55, on which `verify` can run a .pte."""
    try:
        path, runner = qemu.find("cortex-m55")
    except ToolError:
        lacking = [] if shutil.which(qemu.QEMU) else [f"{qemu.QEMU} is not on PATH"]
        lacking = lacking or ["no runner"]
        return Check(name="QEMU", status=MISSING, detail=", ".join(lacking), action=f"For verify alone. {qemu.INSTALL}")
    return Check(name="QEMU", status=OK, detail=f"{path}, {runner.path.name}")


def _with(what: str, required: SpecifierSet) -> str:
    return f"{what} ({required} is required)" if str(required) else what


def _install(tool: _Tool, required: SpecifierSet) -> str:
    wanted = tool.install if tool.install.startswith("'") else f"'{tool.install}{required}'"
    return f"Install it with: pip install {wanted}."


@cache
def _required(distribution: str) -> SpecifierSet:
    """The versions of `distribution` that arm_recipes asks for, or else executorch; any where neither says."""
    for asking in ("arm_recipes", "executorch"):
        for text in _metadata(asking).get("Requires-Dist") or ():
            requirement = _parsed(text)
            if _folded(requirement.name) == _folded(distribution):
                return requirement.specifier
    return SpecifierSet()


@cache
def _parsed(text: str) -> Requirement:
    return Requirement(text)


def _folded(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _metadata(distribution: str) -> dict[str, Any]:
    try:
        fields = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return {}
    return {"Requires-Python": fields["Requires-Python"], "Requires-Dist": fields.get_all("Requires-Dist")}
