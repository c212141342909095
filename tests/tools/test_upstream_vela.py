"""The tricks that Vela and upstream's wrapper of it take: each test fails when its trick can go, or has to change."""

from __future__ import annotations

import argparse
import inspect
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arm_recipes.errors import ToolError
from arm_recipes.tools.border_tables import Entry, Tables
from arm_recipes.tools.vela import VelaRefusal, flags_set, try_flags
from arm_recipes.tools.vela.payload import blocks, tables

vela = pytest.importorskip("ethosu.vela.vela")
stats_writer = pytest.importorskip("ethosu.vela.stats_writer")


def test_main_sets_the_recursion_limit(capfd: pytest.CaptureFixture[str]) -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(4321)
        with pytest.raises(SystemExit):
            vela.main(["--recursion-limit=1500", "--accelerator-config=none", "none.tosa"])
        with pytest.raises(FileNotFoundError):
            vela.main(["--recursion-limit=1500", "none.tosa"])
        assert sys.getrecursionlimit() != 4321
    finally:
        sys.setrecursionlimit(limit)


def test_the_parser_is_made_inside_of_main() -> None:
    parsers = [name for name, value in vars(vela).items() if isinstance(value, argparse.ArgumentParser)]
    makers = [name for name, value in vars(vela).items() if inspect.isfunction(value) and "parser" in name.lower()]
    assert parsers == makers == []
    assert flags_set(["--verbose-gra"]) == {"verbose_graph"}  # abbreviated, as only the parser itself knows


def test_a_missing_network_is_found_last() -> None:
    try_flags(["--accelerator-config=ethos-u55-128"])
    with pytest.raises(VelaRefusal, match="Specifying a configuration file is not allowed"):
        try_flags(["--accelerator-config=ethos-u55-128", "--config=Arm/vela.ini"])


def test_the_summary_is_written_after_the_last_print() -> None:
    source = inspect.getsource(stats_writer.print_regor_performance_metrics)
    assert 0 < source.index("print_performance_metrics_common(") < source.index("write_summary_metrics_csv_common(")


def test_the_wrapper_s_package_needs_torch() -> None:
    code = "import sys, executorch.backends.arm.arm_vela; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1


def test_a_payload_is_made_of_blocks() -> None:
    from executorch.backends.arm import arm_vela

    assert (arm_vela._BLOCK_HEADER.format, arm_vela._BLOCK_HEADER.size) == ("<16sIB11s", 32)
    assert arm_vela._BLOCK_ALIGNMENT == 16
    packed = b""
    for name, content in ((b"cmd_data", bytes(range(1, 20))), (b"weight_data", b""), (b"scratch_size", b"abcd")):
        header = arm_vela._BLOCK_HEADER.pack(name, len(content), 0, arm_vela._RESERVED_BYTES)
        packed += header + content + bytes(-len(content) % arm_vela._BLOCK_ALIGNMENT)
    assert blocks(packed) == {"cmd_data": bytes(range(1, 20)), "weight_data": b"", "scratch_size": b"abcd"}
    assert np.frombuffer(blocks(packed)["scratch_size"], "<u4").size == 1


def _packed(name: bytes, content: bytes, outside: int = 0) -> bytes:
    return struct.pack("<16sIB11s", name, len(content), outside, b"") + content + bytes(-len(content) % 16)


def test_a_payload_s_tables_are_six_sizes_and_three_numbers() -> None:
    from executorch.backends.arm import arm_vela

    data = {
        "input_shape": np.array([[1, 1, 1, 3, 8, 8], [1, 1, 1, 1, 1, 4]]),
        "input_elem_size": np.array([1, 4]),
        "input_offset": np.array([0, 256]),
        "input_region": np.array([1, 1]),
    }
    packed = arm_vela.vela_bin_pack_io("input", data)
    payload = _packed(b"inputs", packed) + _packed(b"outputs", bytes(4))
    assert tables(payload) == Tables((Entry((1, 1, 1, 3, 8, 8), 1), Entry((1, 1, 1, 1, 1, 4), 4)), ())


def test_a_block_may_be_outside_of_the_payload() -> None:
    payload = _packed(b"inputs", b"key", 1) + _packed(b"outputs", bytes(4))
    assert tables(payload, {"key": bytes(4)}) == Tables((), ())
    with pytest.raises(ToolError, match="Block 'inputs' of a payload is outside of it, as key"):
        tables(payload)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"vela", "ends within the header of a block"),
        (_packed(b"inputs", bytes(16))[:-8], "Block 'inputs' of a payload should have 16 bytes, and has 8"),
        (_packed(b"cmd_data", b""), "has no block inputs and no block outputs"),
        (_packed(b"inputs", b"") + _packed(b"outputs", b""), "Block 'inputs' of a payload has 0 bytes"),
        (_packed(b"inputs", b"\2\0\0\0") + _packed(b"outputs", b""), "has 4 bytes, which is not what 2 entries take"),
    ],
)
def test_what_is_no_payload_is_refused(payload: bytes, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        tables(payload)


def test_flags_are_split_at_spaces(tmp_path: Path) -> None:
    """Where this fails, `vela.temporary_without_spaces` can go."""
    from executorch.backends.arm.arm_vela import vela_compile

    (tmp_path / "sp ace").mkdir()
    with pytest.raises(SystemExit):
        vela_compile(b"", ["--accelerator-config=ethos-u55-128"], intermediate_path=str(tmp_path / "sp ace"))
