"""What the command refuses, its help and completion, for all of which it imports no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arm_recipes.cli import group

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


def test_a_report_of_the_machine_is_light(tmp_path: Path) -> None:
    reports = [
        word for ending in ("html", "json", "txt", "md", "csv") for word in ("--report", f"{tmp_path}/r.{ending}")
    ]
    done = _run("doctor", "--json", *reports)
    assert (done.returncode, done.stderr) == (0, "loaded\n")
    assert len(list(tmp_path.iterdir())) == 5


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
        (["verify", "m.py", "-r", "tosa-int8", "--min-sqnr", "inf"], "'inf' is no number."),
        (["verify", "m.py", "-r", "tosa-int8", "--timeout", "nan"], "'nan' is no number above 0."),
        (["verify", "m.py", "-r", "tosa-int8", "--max-accuracy-drop", "nan"], "'nan' is no number."),
        (["export", "m.py", "-r", "tosa-int8", "--max-flash", "nan"], "'nan' is no number from 0."),
        (["export", "m.py", "-r", "tosa-int8", "--min-delegation", "200"], "'200' is no number from 0 to 100."),
        (["export", "m.py", "-r", "tosa-int8", "--size", "\u00b2"], "'\u00b2' is no size."),
        (["export", "m.py", "-r", "tosa-int8", "--size", "0x8"], "'0x8' is no size."),
        (["export", "m.py", "-r", "tosa-int8", "--mean", "nan"], "'nan' is neither a number nor numbers"),
        (
            ["export", "m.py", "-r", "tosa-fp", "--output", "~no-such-user/x.pte"],
            "'~no-such-user/x.pte' names no file: ",
        ),
        (["export", "m.py", "-r", "tosa-fp", "--output", "a" * 300 + ".pte"], "names no file: File name too long."),
        (["sweep", "m.py", "-r", "ethosu-u55-int8", "--max-latency-ms", "nan"], "'nan' is no number from 0."),
        (["verify", "m.py", "-r", "tosa-int8", "--min-sqnr", "much"], "'much' is no number."),
        (["verify", "m.py", "-r", "tosa-int8", "--timeout", "0"], "'0' is no number above 0."),
        (["verify", "m.py", "-r", "tosa-int8", "--simulator", "renode"], "'renode' is not one of 'auto', 'reference',"),
        (
            ["verify", "m.py", "-r", "tosa-int8", "--simulator", "vulkan"],
            "simulator='vulkan' runs .vgf files, and TOSA_INT8 makes none. Allowed: 'auto', 'reference'.",
        ),
        (["verify", "m.py", "-r", "vgf-fp", "--simulator", "fvp"], "Allowed: 'auto', 'reference', 'vulkan'."),
        (["verify", "m.py", "-r", "tosa-int8", "--mean", "0.5"], "--mean: only of use with --data or --calibration."),
        (["verify", "m.py", "-r", "tosa-fp", "--data", ".", "--calibration", "."], "tosa-fp quantizes nothing"),
        (["verify", "m.py", "-r", "ethosu-u85-int8", "-o", "macs=3"], "macs=3 is not legal for ethos-u85."),
        (["export", "m.py", "-r", "tosa-fp", "--max-sram", "1"], "--max-sram: tosa-fp is for no firmware"),
        (["export", "m.py", "-r", "tosa-fp", "--min-sqnr", "1"], "--min-sqnr: tosa-fp quantizes nothing"),
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


def _complete(*words: str) -> list[str]:
    done = _run(_ARM_RECIPES_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion_knows_recipes_options_and_values() -> None:
    assert _complete("arm-recipes", "export", "m.py", "-r", "TOSA_i") == ["tosa-int8"]
    options_of = ("arm-recipes", "export", "m.py", "-r", "ethosu-u55-int8", "-o")
    assert _complete(*options_of, "mem") == ["memory_mode="]
    assert _complete(*options_of, "macs=") == ["macs=32", "macs=64", "macs=128", "macs=256"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no head")
def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    command = f"{sys.executable} -m arm_recipes list | head -0; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
