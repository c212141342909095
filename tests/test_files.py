"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arm_recipes import files


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.pte"
    for error in (KeyboardInterrupt, OSError):
        with pytest.raises(error), files.replacing(path) as file:
            file.write(b"half")
            raise error
        assert list(path.parent.iterdir()) == []
    files.write_whole(path, b"whole")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [each.read_bytes() for each in path.parent.iterdir()] == [b"whole"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_it_has_the_permissions_of_any_file(mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(mask)
    try:
        monkeypatch.setattr(os, "umask", None)  # of the whole process: another thread's files would be open to all
        files.write_whole(tmp_path / "x.pte", b"whole")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "x.pte").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_name_may_be_as_long_as_names_are(tmp_path: Path) -> None:
    files.write_whole(tmp_path / ("x" * 251 + ".pte"), b"whole")
