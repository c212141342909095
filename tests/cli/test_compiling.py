"""Failures of a compile are told from errors of the user and from bugs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import arm_recipes
from arm_recipes.cli.compiling import CompileFailure, failure_text, told_apart
from arm_recipes.errors import LoweringError, OptionError
from arm_recipes.upstream.partitioner import Verdict

PACKAGE = Path(arm_recipes.__file__).parent


def _raise_in(file: Path, statement: str) -> None:
    exec(compile(f"def fail(): {statement}\nfail()", str(file), "exec"), {})


@pytest.mark.parametrize("place", ["provider.py", "cli/export.py", "lowering/rewrites/deep/down.py"])
def test_what_is_raised_in_our_rooms_is_a_bug(place: str) -> None:
    printed = io.StringIO()
    with pytest.raises(TypeError, match="a bug"), told_apart([], printed):
        _raise_in(PACKAGE / place, "raise TypeError('a bug')")
    assert printed.getvalue().startswith("Traceback ")


def test_what_is_raised_elsewhere_is_a_failure_of_the_compile() -> None:
    printed = io.StringIO()
    with pytest.raises(CompileFailure) as raised, told_apart([], printed):
        _raise_in(PACKAGE.with_name("torch") / "export.py", "raise TypeError('no such operator')")
    assert failure_text(raised.value).startswith("error: the compile failed: TypeError: no such operator\n")
    assert "TypeError: no such operator" in printed.getvalue()


def test_of_a_tool_that_ends_the_process_its_last_words_are_told() -> None:
    printed = io.StringIO()
    with pytest.raises(CompileFailure) as raised, told_apart([], printed):
        printed.write("first\n\n" + "".join(f"word {index}\n" for index in range(5)))
        raise SystemExit(1)
    said = failure_text(raised.value)
    assert said.startswith("error: the compile failed: a tool ended the process. Its last words:\n")
    assert "first" not in said


def test_errors_of_the_user_stay_and_a_program_without_delegates_says_why() -> None:
    refused = Verdict(
        node="fft", operator="aten._fft_r2c", captured="", module="", delegated=False, reason="Not included in BI."
    )
    quantize = Verdict(
        node="q", operator="quantize_per_tensor", captured="", module="", delegated=False, reason="border"
    )
    with pytest.raises(LoweringError, match=r"nothing\nRefused were:\n  aten\._fft_r2c: Not included in BI\.$"):  # noqa: SIM117
        with told_apart([(refused, quantize)], io.StringIO()):
            raise LoweringError("nothing")
    with pytest.raises(OptionError), told_apart([], io.StringIO()):
        raise OptionError("TOSA_FP", "macs", 3, "is no option")
