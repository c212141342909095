"""`arm-recipes doctor`: what the machine has and lacks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from arm_recipes.cli import doctor, group
from arm_recipes.recipes import catalog, names
from arm_recipes.tools import qemu
from arm_recipes.tools.fvp import RUNNER

from .documents import valid


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
    monkeypatch.setenv("COLUMNS", "100")
    assert group.main(["doctor", "--json"]) == 1
    document = valid(capsys.readouterr().out)
    assert (document["command"], document["status"]) == ("doctor", 1)
    result = document["result"]
    (check,) = [check for check in result["checks"] if check["name"] == "model-converter"]
    assert not result["ok"]
    assert check["status"] == "broken"
    assert check["detail"] == f"{program} ended with status 7: no such symbol"
    assert check["action"].startswith("Install it with: pip install 'ai_ml_sdk_model_converter")
    assert json.loads(doctor.DoctorReport.from_dict(result).to_json()) == result

    assert group.main(["doctor", "--report", str(tmp_path / "r.csv"), "--report", str(tmp_path / "r.txt")]) == 1
    assert capsys.readouterr().out.startswith((tmp_path / "r.txt").read_text())
    with (tmp_path / "r.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert (rows["model-converter"]["status"], rows["Arm FVP"]["wanted_by"]) == ("broken", "")
    assert rows["model-converter"]["wanted_by"] == "vgf-fp, vgf-int8, vgf-a16w8"


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


def _of(name: str) -> doctor.Check:
    return next(check for check in doctor.checks() if check.name == name)


def test_an_emulator_is_wanted_by_no_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(qemu.RUNNER, str(tmp_path / "runner.elf"))
    check = _of("QEMU")
    assert (check.status, check.detail, check.wanted_by) == (doctor.MISSING, "qemu-system-arm is not on PATH", ())
    assert check.action is not None and "pip install 'arm_recipes[emulation]'" in check.action
    (tmp_path / qemu.QEMU).touch(mode=0o755)
    assert _of("QEMU").detail == "no runner"
    (tmp_path / "runner.elf").touch()
    assert (_of("QEMU").status, _of("QEMU").detail) == (doctor.OK, f"{tmp_path / qemu.QEMU}, runner.elf")


def test_an_fvp_is_wanted_by_no_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(RUNNER, raising=False)
    check = _of("Arm FVP")
    assert (check.name, check.status, check.wanted_by) == ("Arm FVP", doctor.MISSING, ())
    assert check.detail == f"none on PATH, {RUNNER} names no file"
    program = tmp_path / "FVP_Corstone_SSE-320"
    program.touch(mode=0o755)
    monkeypatch.setenv(RUNNER, str(program))
    assert (_of("Arm FVP").status, _of("Arm FVP").detail) == (doctor.OK, str(program))
