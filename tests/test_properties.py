"""Whatever is given is taken, or refused by an error of ours, in a message that can be read: by hypothesis. Each case
may take a second of CPU time, all of a test 300 MB, and none leaves a file where it runs.

`pytest tests/test_properties.py --hypothesis-profile=long` goes through 25 times as much.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from arm_recipes.cli import group, listing
from arm_recipes.errors import ArmRecipeError
from arm_recipes.recipes import catalog, options
from arm_recipes.samples import load_calibration, specs_of
from arm_recipes.samples.labels import read_labels
from arm_recipes.simulators.program_file import ProgramFile
from arm_recipes.tools import vela
from arm_recipes.tools.vela.estimates import printed_summaries
from tests import models
from tests.exports import exported

pytestmark = pytest.mark.no_cover

_MOST = 4000  # characters of a message

_TEXTS = st.text(max_size=30) | st.sampled_from(
    ["", "all", "None", "0", "-1", "nan", "1e999", "a=b", "~", "/", "..", "\0"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=8) | _TEXTS | st.just(np.int8(1)),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=6,
)
pytest.importorskip("ethosu.vela")  # legal values are asked of it


@pytest.fixture(autouse=True)
def takes_little_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with _little_memory():
        yield
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def _little_memory() -> Iterator[None]:
    _forget_the_most()
    before = _most_memory_mb()
    yield
    assert _most_memory_mb() - before < 300


def _forget_the_most() -> None:
    """Start from what there is now. Elsewhere than on Linux what an earlier test took hides what this one takes."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _most_memory_mb() -> float:
    """That this process ever had; 0 where Python can't tell, as on Windows."""
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


_RECIPES = st.sampled_from(catalog.RECIPES)


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Ends what takes a second of CPU time, which is no more on a machine that is busy; the most is a tenth of that."""
    late: list[int] = []

    def end(number: int, frame: object) -> None:
        late.append(number)
        raise TimeoutError("it takes more than a second of CPU time")

    if os.name == "nt":  # has no such clock
        yield
        return
    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert not late, "what ended it was taken for an error of the input"


@contextlib.contextmanager
def _taken_or_refused() -> Iterator[None]:
    with _in_time():
        try:
            yield
        except ArmRecipeError as error:
            assert len(str(error)) < _MOST, "a message that no one reads"


@pytest.mark.skipif(sys.platform != "linux", reason="of other systems not all is measured")
def test_the_limits_hold() -> None:
    block = bytearray(400_000_000)  # an earlier test's, that this one must not hide behind
    block[::4096] = bytes(len(block[::4096]))
    del block
    with pytest.raises(AssertionError), _little_memory():
        block = bytearray(400_000_000)
        block[::4096] = bytes(len(block[::4096]))
        del block
    _forget_the_most()  # or this test fails in its turn
    with pytest.raises(TimeoutError), _taken_or_refused():
        while True:
            pass
    with pytest.raises(AssertionError, match="taken for an error"), _taken_or_refused():
        try:
            while True:
                pass
        except TimeoutError as error:
            raise ArmRecipeError("the input is wrong") from error


@st.composite
def _changed(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with some bytes otherwise, less or more."""
    changed = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        length = draw(st.sampled_from([0, 1, 2, 8, len(changed)]))
        changed[place : place + length] = draw(st.binary(max_size=12))
    return bytes(changed)


@st.composite
def _named(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[catalog.Recipe, dict[str, Any]]:
    recipe = draw(_RECIPES)
    names = st.sampled_from(sorted(options.declared(recipe)))
    return recipe, draw(st.dictionaries(names | _TEXTS, values, max_size=3))


@given(_named(_VALUES))
def test_options(named: tuple[catalog.Recipe, dict[str, Any]]) -> None:
    with _taken_or_refused():
        options.resolve(*named)


@given(_named(_TEXTS))
def test_options_as_text(named: tuple[catalog.Recipe, dict[str, str]]) -> None:
    with _taken_or_refused():
        options.resolve(named[0], options.parse(*named))


_INI = vela.read_config(vela.STOCK_CONFIG).path.read_bytes()
_LINES = _INI.splitlines(keepends=True)


@given(
    st.lists(st.sampled_from(_LINES), max_size=40).map(b"".join) | _changed(_INI) | _changed(b"".join(_LINES[-40:])),
    st.sampled_from([64, 256]),
)
def test_a_vela_ini(content: bytes, macs: int) -> None:
    with tempfile.TemporaryDirectory() as folder, _taken_or_refused():
        (Path(folder) / "own.ini").write_bytes(content)
        options.resolve(catalog.BY_NAME["ETHOSU_U55_INT8"], {"config_ini": f"{folder}/own.ini", "macs": macs})


_X = torch.arange(12.0).reshape(1, 3, 2, 2)
_WRITERS: dict[str, Callable[[Path], object]] = {
    ".npy": lambda path: np.save(path, _X.numpy()),
    ".npz": lambda path: np.savez(path, x=_X.numpy()),
    ".pt": lambda path: torch.save({"x": _X}, path),
    ".safetensors": lambda path: save_file({"x": _X}, path),
    ".png": lambda path: _image(path),
    ".csv": lambda path: path.write_text("0\n1\n2\n"),
}


def _image(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (2, 2)).save(path)


def _written(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        _WRITERS[suffix](path)
        return path.read_bytes()


@pytest.mark.parametrize("suffix", _WRITERS)
def test_a_file_of_data(suffix: str) -> None:
    @given(_changed(_written(suffix)))
    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"x{suffix}"
            path.write_bytes(content)
            with _taken_or_refused():
                if suffix == ".csv":
                    read_labels(path)
                else:
                    list(load_calibration(path).bind(specs_of((_X,))))
            assert [each.name for each in Path(folder).iterdir()] == [path.name]

    read()


_RESULT = listing.recipe_list().to_json()


@given(_changed(_RESULT.encode()) | st.integers(1, 100_000).map(lambda deep: b"[" * deep))
def test_a_result(content: bytes) -> None:
    with _taken_or_refused():
        listing.RecipeList.from_json(content.decode(errors="replace"))


@given(st.data())
def test_a_program(data: st.DataObject) -> None:
    program = bytes(exported("CORTEX_M55_INT8", models.linear).get_pte_buffer())
    content = data.draw(_changed(program))
    with tempfile.TemporaryDirectory() as folder, _taken_or_refused():
        (Path(folder) / "x.pte").write_bytes(content)
        ProgramFile(f"{folder}/x.pte", None, 5.0)


_LINE = """
export verify sweep list options none.py none.pte -r --recipe tosa-int8 ethosu-u55-int8 cortex-m4-int8 nothing -o
macs=64 macs=x =1 --shape 1x2 1x0 1xx --size 2x --mean 0.5,1 nan --timeout 1e400 --min-sqnr --max-flash -1 --data
--labels folders --json --report x.json x.html x.exe --force --csv --macs 1,2 all --resume --log / . .. --runner
--float-model --simulator qemu vulkan --per-layer --no-check --bundle --output a/b.pte --calibration
"""
_WORDS = st.sampled_from(_LINE.split())


@given(st.lists(_WORDS | _TEXTS, max_size=8))
def test_a_command_line(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, _in(folder):
        silent = io.StringIO()
        with _in_time(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            assert group.main(words) in (0, 1, 2, 3)


@contextlib.contextmanager
def _in(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


_PRINTED = b"""Network summary for x
Accelerator configuration               Ethos_U55_128
Total SRAM used                                  1.50 KiB
Batch Inference time                 0.01 ms,   100.00 inferences/s (batch size 1)
"""


@given(_changed(_PRINTED), st.integers(0, 2))
def test_what_vela_prints(printed: bytes, subgraphs: int) -> None:
    with _taken_or_refused():
        printed_summaries(printed.decode(errors="replace"), subgraphs)
