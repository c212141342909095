"""Files are written whole or not at all."""

from __future__ import annotations

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
    assert path.stat().st_mode & 0o777 == 0o666 & ~files._umask()
