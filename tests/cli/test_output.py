"""What others print, log and warn of is kept off the terminal, what arm_recipes warns of is not."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

import arm_recipes
from arm_recipes.cli.output import complain, others_kept_off, writing
from arm_recipes.errors import ArmRecipeError

PACKAGE = Path(arm_recipes.__file__).parent
# As deep as a room of a room: what tells ours by the command's own folder would not know it.
NESTED = PACKAGE / "simulators" / "worker" / "process.py"


def _warn(file: Path, text: str, category: type[Warning] = UserWarning) -> None:
    warnings.warn_explicit(text, category, str(file), 1)


@pytest.mark.parametrize("file", [PACKAGE / "provider.py", PACKAGE / "cli" / "verify.py", NESTED], ids=lambda f: f.name)
def test_a_warning_of_ours_is_shown_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with others_kept_off(verbose=False, log=None) as kept:
        _warn(file, "look out")
        _warn(file, "look out")
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "warning: look out\n"
    assert "look out" not in kept.getvalue()


@pytest.mark.parametrize(
    ("file", "category"), [(PACKAGE.parent / "torch" / "x.py", UserWarning), (NESTED, DeprecationWarning)]
)
def test_a_warning_of_others_is_not(file: Path, category: type[Warning], capsys: pytest.CaptureFixture[str]) -> None:
    with others_kept_off(verbose=False, log=None) as kept:
        _warn(file, "some day", category)
    assert capsys.readouterr().err == ""
    assert f"{file}:1: {category.__name__}: some day" in kept.getvalue()


def test_what_is_kept_off_goes_to_the_log_and_if_asked_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "x.log"
    with others_kept_off(verbose=True, log=str(log)) as kept:
        logging.getLogger("arm_recipes.tools.vela").debug("vela says")
        logging.getLogger("vela").warning("beware")
        print("printed", file=kept)
    expected = "DEBUG arm_recipes.tools.vela: vela says\nWARNING vela: beware\nprinted\n"
    assert log.read_text() == f"arm-recipes {arm_recipes.__version__}\n{expected}"
    assert capsys.readouterr().err == expected
    assert not any(handler.stream is kept for handler in logging.getLogger().handlers if hasattr(handler, "stream"))


def test_a_terminal_obeys_nothing_that_is_complained_of(capsys: pytest.CaptureFixture[str]) -> None:
    complain("layer \x1b[31mred\r[/x]\u202e: \u00e9\n  next")
    assert capsys.readouterr().err == "layer \\x1b[31mred\\r[/x]\\u202e: \u00e9\n  next\n"


def test_a_file_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArmRecipeError, match=r"x\.json: it can't be written \(Is a directory\)\."), writing("x.json"):
        tmp_path.write_text("")
