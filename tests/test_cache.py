"""A folder of entries: what is damaged is none, what was used longest ago goes, and other files stay."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from arm_recipes import ArmRecipeError
from arm_recipes.cache import Cache, Entry

_KEY = "0123456789abcdef" * 4


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    entry = Cache(tmp_path / "new" / "cache").entry(_KEY)
    assert entry.read("program.pte") is None
    entry.write("program.pte", b"bytes")
    entry.write("empty", b"")
    assert Cache(tmp_path / "new" / "cache").entry(_KEY).read("program.pte") == b"bytes"
    assert entry.read("empty") == b""


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "grown"])
def test_a_damaged_part_is_none(tmp_path: Path, damage: str) -> None:
    entry = Cache(tmp_path).entry(_KEY)
    entry.write("program.pte", b"some bytes")
    file = tmp_path / _KEY / "program.pte"
    kept = file.read_bytes()
    changed = {"cut": kept[:-1], "changed": kept[:-1] + b"!", "emptied": b"", "grown": kept + b"!"}
    file.write_bytes(changed[damage])
    assert entry.read("program.pte") is None
    entry.write("program.pte", b"some bytes")
    assert entry.read("program.pte") == b"some bytes"


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the user's")
    (tmp_path / "folder").mkdir()
    cache = Cache(tmp_path, limit=350)
    keys = [f"{number:064x}" for number in range(4)]
    for age, key in enumerate(keys):
        cache.entry(key).write("part", bytes(100))  # 132 bytes with the digest
        os.utime(tmp_path / key, (1000 + age, 1000 + age))
    assert cache.entry(keys[0]).read("part") is not None  # so it is no longer the oldest
    cache.trim()
    assert [cache.entry(key).read("part") is not None for key in keys] == [True, False, False, True]
    assert {each.name for each in tmp_path.iterdir()} == {"notes.txt", "folder", keys[0], keys[3]}


def test_what_was_used_last_stays_whatever_its_size(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=10)
    cache.entry(_KEY).write("part", bytes(100))
    cache.trim()
    assert cache.entry(_KEY).read("part") == bytes(100)


def test_a_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArmRecipeError, match=r"cache_dir='.*file' can't be made a folder \(File exists\)"):
        Cache(tmp_path / "file")


def test_what_cant_be_written_is_a_warning(tmp_path: Path) -> None:
    entry = Cache(tmp_path).entry(_KEY)
    (tmp_path / _KEY).write_text("a file in the entry's place")
    with pytest.warns(UserWarning, match="the cache can't be written to"):
        entry.write("part", b"bytes")
    assert entry.read("part") is None


def _write_and_read(folder: str, content: bytes) -> int:
    """How often what is there is neither nothing nor whole."""
    entry, wrong = Entry(Path(folder) / _KEY), 0
    for _ in range(100):
        entry.write("part", content)
        wrong += entry.read("part") not in (b"a" * 50_000, b"b" * 50_000)
    return wrong


def test_processes_may_write_the_same_entry_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(3) as processes:
        wrong = processes.starmap(_write_and_read, [(str(tmp_path), letter * 50_000) for letter in (b"a", b"b", b"a")])
    assert wrong == [0, 0, 0]
    assert [each.name for each in (tmp_path / _KEY).iterdir()] == ["part"]
