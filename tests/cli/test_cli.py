"""The command's listings and what it refuses, for all of which it imports no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arm_recipes import ArmRecipeError
from arm_recipes.cli import doctor, group
from arm_recipes.recipes import catalog, names, options
from arm_recipes.tools.fvp import RUNNER

_HEAVY = "print('loaded', *sorted({'torch', 'executorch', 'torchao'} & sys.modules.keys()), file=sys.stderr)"


def _run(*arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which says at its end whether torch was imported."""
    script = f"import sys, atexit; atexit.register(lambda: {_HEAVY}); {code}\nfrom arm_recipes.cli import group\n"
    return subprocess.run(
        [sys.executable, "-c", f"{script}sys.exit(group.main({list(arguments)!r}))"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["export", "--help"],
        ["verify", "--help"],
        ["list"],
        ["list", "--json"],
        ["options", "ethosu-u85-int8"],
        ["doctor"],
        ["completion", "zsh"],
    ],
    ids=" ".join,
)
def test_is_light_and_fits_80_columns_without_colours(arguments: list[str]) -> None:
    done = _run(*arguments)
    assert (done.returncode, done.stderr) == (0, "loaded\n")
    assert "\x1b" not in done.stdout
    if arguments[-1] not in ("--json", "zsh") and arguments != ["doctor"]:
        assert max(map(len, done.stdout.splitlines())) <= (80 if arguments != ["--help"] else 100)


def test_the_check_for_torch_can_fail() -> None:
    assert _run("--version", code="import torch").stderr == "loaded torch\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "m.py"], "Missing option '-r' / '--recipe'"),
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (
            ["options", "tosa-in8"],
            "error: recipe='tosa-in8' is no recipe. Did you mean 'tosa-int8'? See: arm-recipes list.",
        ),
        (["options", "u85"], "Did you mean 'ethosu-u85-int8' or 'ethosu-u85-a16w8'?"),
        (["export", "m.py", "-r", "ethosu-u85-int8", "-o", "macs"], "'macs' is no key=value, e.g. macs=256."),
        (["export", "m.py", "-r", "ethosu-u85-int8", "-o", "mac=3"], "Did you mean 'macs'?"),
        (["export", "m.py", "-r", "ethosu-u85-int8", "-o", "macs=3"], "macs=3 is not legal for ethos-u85."),
        (["export", "m.py", "-r", "ethosu-u85-int8", "-o", "macs=128", "-o", "macs=256"], "-o macs is given twice"),
        (["export", "m.py", "-r", "tosa-int8", "--mean", "0.5"], "--mean: only of use with --calibration."),
        (["export", "m.py", "-r", "tosa-int8", "--mean", "a,b"], "'a,b' is neither a number nor numbers"),
        (["export", "m.py", "-r", "tosa-int8", "--size", "2x"], "'2x' is no size."),
        (["export", "m.py", "-r", "tosa-fp", "--calibration", "."], "tosa-fp quantizes nothing"),
        (["export", "m.py", "-r", "tosa-fp", "--quantization-report"], "tosa-fp quantizes nothing"),
        (
            ["export", "m.py", "-r", "tosa-fp", "--inputs", "x.pt", "--shape", "1"],
            "--inputs and --shape are both given.",
        ),
        (["verify", "m.py", "--data", "."], "Missing option '-r' / '--recipe'"),
        (["verify", "m.py", "-r", "tosa-int8", "--labels", "x.npy"], "--labels: only of use with --data."),
        (["verify", "m.py", "-r", "tosa-int8", "--data", ".", "--labels", "x.npy"], "no such file as 'x.npy'."),
        (["verify", "m.py", "-r", "tosa-int8", "--data", ".", "--max-accuracy-drop", "1"], "needs --labels."),
        (["verify", "m.py", "-r", "tosa-int8", "--min-sqnr", "much"], "'much' is not a valid float."),
        (["verify", "m.py", "-r", "tosa-int8", "--timeout", "0"], "0.0 is not in the range x>0."),
        (["verify", "m.py", "-r", "tosa-int8", "--simulator", "qemu"], "'qemu' is not one of 'auto', 'reference',"),
        (
            ["verify", "m.py", "-r", "tosa-int8", "--simulator", "vulkan"],
            "simulator='vulkan' runs .vgf files, and TOSA_INT8 makes none. Allowed: 'auto', 'reference'.",
        ),
        (["verify", "m.py", "-r", "vgf-fp", "--simulator", "fvp"], "Allowed: 'auto', 'reference', 'vulkan'."),
        (["verify", "m.py", "-r", "tosa-int8", "--mean", "0.5"], "--mean: only of use with --data or --calibration."),
        (["verify", "m.py", "-r", "tosa-fp", "--data", ".", "--calibration", "."], "tosa-fp quantizes nothing"),
        (["verify", "m.py", "-r", "ethosu-u85-int8", "-o", "macs=3"], "macs=3 is not legal for ethos-u85."),
        (["export", "m.py", "-r", "tosa-fp", "--report", "x.pdf"], "'x.pdf' ends in none of .html, .json, .txt"),
        (
            ["export", "m.py", "-r", "tosa-fp", "--report", "x.txt", "--report", "y.txt"],
            "--report is given twice for .txt.",
        ),
        (["export", "m.py", "-r", "tosa-fp", "--max-sram", "1"], "--max-sram: tosa-fp is for no firmware"),
        (["export", "m.py", "-r", "tosa-fp", "--output", "m.bpte"], "Give 'm.pte' and --bundle."),
        (
            ["export", "m.py", "-r", "tosa-fp", "--output", __file__],
            "is a file. Allowed: a folder, or a file that ends",
        ),
        (["export", "m.py", "-r", "tosa-fp", "--output", f"{__file__}/x"], "is a file, so there can be no folder."),
    ],
)
def test_what_the_user_can_change_is_said_in_a_few_lines(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert group.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err.splitlines()) <= 4


def test_a_file_that_is_there_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "net_tosa_int8.pte").touch()
    (tmp_path / "net_tosa_int8.bpte").touch()
    done = _run("export", "models/net.py", "-r", "tosa-int8", "--output", str(tmp_path), "--bundle")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path}/net_tosa_int8.pte, {tmp_path}/net_tosa_int8.bpte: already there. Give --force to "
        "overwrite, or another --output.\nloaded\n"
    )


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    group.main(arguments)
    return json.loads(capsys.readouterr().out)


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    document = _json(capsys, "list", "--json")
    assert document["schema_version"] == 1
    assert [each["enum"] for each in document["recipes"]] == [recipe.name for recipe in catalog.RECIPES]
    by_name = {each["name"]: each for each in document["recipes"]}
    assert by_name["ethosu-u85-int8"] == {
        "name": "ethosu-u85-int8",
        "enum": "ETHOSU_U85_INT8",
        "value": "arm_ethosu_u85_int8",
        "family": "ethos_u",
        "target": "ethos-u85",
        "precision": "int8",
        "needs": ["Vela", "TOSA serializer"],
        "ready": True,
        "missing": [],
    }


@pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)
def test_options_of_every_recipe(recipe: catalog.Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    document = _json(capsys, "options", names.typed(recipe), "--json")
    infos = options.describe(recipe)
    assert [each["name"] for each in document["options"]] == [info.name for info in infos]
    assert group.main(["options", recipe.value]) == 0
    text = capsys.readouterr().out
    for info in infos:
        assert f"{info.name}  {info.type}" in text
        # What is printed can be given to -o.
        if info.default is not None and info.default != ():
            spelled = text.partition(f"{info.name}  {info.type}, default ")[2].splitlines()[0]
            assert options.parse(recipe, {info.name: spelled}) == {info.name: info.default}


@pytest.mark.parametrize(
    "name", ["ETHOSU_U85_INT8", "ethosu-u85-int8", "ethosu_u85-INT8", "arm_ethosu_u85_int8", "arm-ethosu-u85-int8"]
)
def test_a_recipe_has_its_name_in_any_form(name: str) -> None:
    assert names.find_recipe(name).name == "ETHOSU_U85_INT8"


@pytest.mark.parametrize("name", ["", "-", "arm_", "ethos", "int8 ", "🙂"])
def test_what_is_no_recipe_is_refused(name: str) -> None:
    with pytest.raises(ArmRecipeError, match=r"is no recipe\."):
        names.find_recipe(name)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("models/net.py", "net"),
        ("models/net.py:make", "make"),
        ("net.py:ModelUnderTest", "net"),
        ("zoo.nets:small", "small"),
        ("zoo.nets:Nets.small", "small"),
        ("zoo.nets", "nets"),
        ("C:\\nets\\net.py", "net" if os.name == "nt" else "C:\\nets\\net"),
        ("build/net.pt2", "net"),
    ],
)
def test_files_are_called_after_the_model(model: str, name: str) -> None:
    assert names.short_name(model) == name


def _complete(*words: str) -> list[str]:
    done = _run(_ARM_RECIPES_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion_knows_recipes_options_and_values() -> None:
    assert _complete("arm-recipes", "export", "m.py", "-r", "TOSA_i") == ["tosa-int8"]
    options_of = ("arm-recipes", "export", "m.py", "-r", "ethosu-u55-int8", "-o")
    assert _complete(*options_of, "mem") == ["memory_mode="]
    assert _complete(*options_of, "macs=") == ["macs=32", "macs=64", "macs=128", "macs=256"]


def test_every_tool_of_a_ready_machine_is_found() -> None:
    found = {check.name: check for check in doctor.checks()}
    assert {name for name, check in found.items() if check.wanted_by and check.status != doctor.OK} == set()
    everything = {names.typed(recipe) for recipe in catalog.RECIPES}
    assert set(found["torch"].wanted_by) == everything
    assert {name.partition("-")[0] for name in found["Vela"].wanted_by} == {"ethosu"}
    assert {name.partition("-")[0] for name in found["model-converter"].wanted_by} == {"vgf"}


def test_a_converter_that_does_not_start_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "model-converter"
    program.write_text("#!/bin/sh\necho no such symbol >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("MODEL_CONVERTER_PATH", str(program))
    assert group.main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    (check,) = [each for each in document["checks"] if each["name"] == "model-converter"]
    assert not document["ok"]
    assert check["status"] == "broken"
    assert check["detail"] == f"{program} ends with status 7: no such symbol"
    assert check["action"].startswith("Install it with: pip install 'ai_ml_sdk_model_converter")


def test_what_is_missing_is_said_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing of the kind is installed, as metadata and import system see it.
    absent = doctor._Tool(
        name="nothing",
        distribution="no-such-package",
        module="no_such_module",
        every=True,
        install="no-such-package",
    )
    monkeypatch.setattr(doctor, "_TOOLS", (absent,))
    recipe = catalog.RECIPES[0]
    (check,) = doctor.readiness(doctor.checks(), recipe)
    assert (check.name, check.status) == ("nothing", doctor.MISSING)
    assert check.action == "Install it with: pip install 'no-such-package'."


def test_an_fvp_is_wanted_by_no_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(RUNNER, raising=False)
    check = doctor.checks()[-1]
    assert (check.name, check.status, check.wanted_by) == ("Arm FVP", doctor.MISSING, ())
    assert check.detail == f"none on PATH, {RUNNER} names no file"
    program = tmp_path / "FVP_Corstone_SSE-320"
    program.touch(mode=0o755)
    monkeypatch.setenv(RUNNER, str(program))
    assert (doctor.checks()[-1].status, doctor.checks()[-1].detail) == (doctor.OK, str(program))
