"""The tables of .vgf files, against Arm's own reader of them."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sysconfig
from pathlib import Path

import pytest

from arm_recipes.errors import ToolError
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.tools.border_tables import Entry
from arm_recipes.tools.vgf import tables
from tests.bordering_models import map_and_head, right_inputs
from tests.exports import exported


def _payload(recipe: str, model: object) -> bytes:
    modules = snapshots(exported(recipe, model))["forward"].modules.values()  # type: ignore[arg-type]
    (payload,) = (bytes(module.processed_bytes) for module in modules)
    return payload


@pytest.mark.parametrize(("recipe", "model"), [("VGF_INT8", map_and_head), ("VGF_FP", right_inputs)])
def test_tables_are_those_of_vgf_dump(recipe: str, model: object, tmp_path: Path) -> None:
    dump = shutil.which("vgf_dump") or shutil.which("vgf_dump", path=sysconfig.get_path("scripts"))
    if dump is None:
        pytest.skip("vgf_dump is not here: pip install ai_ml_sdk_vgf_library")
    payload = _payload(recipe, model)
    file = tmp_path / "model.vgf"
    file.write_bytes(payload)
    told = json.loads(subprocess.run([dump, "-i", str(file)], check=True, capture_output=True, text=True).stdout)
    own = tables(payload)
    for side, entries in (("inputs", own.inputs), ("outputs", own.outputs)):
        resources = [told["resources"][slot["mrt_index"]] for slot in told["model_sequence"][side]]
        assert [resource["shape"] for resource in resources] == [list(entry.shape) for entry in entries if entry]
        formats = {"VK_FORMAT_R8_SINT": "int8", "VK_FORMAT_R32_SFLOAT": "float32", "VK_FORMAT_R32_SINT": "int32"}
        assert [formats[resource["vk_format"]] for resource in resources] == [entry.dtype for entry in entries if entry]


def test_an_input_without_a_slot_is_not_read() -> None:
    payload = bytearray(_payload("VGF_INT8", map_and_head))
    assert tables(bytes(payload)).inputs == (Entry((1, 3, 8, 8), 1, "int8"),)
    offset, _ = struct.unpack_from("<QQ", payload, 32)
    root = offset + struct.unpack_from("<I", payload, offset)[0]
    vtable = root - struct.unpack_from("<i", payload, root)[0]
    slots = root + struct.unpack_from("<H", payload, vtable + 4 + 2)[0]
    slots += struct.unpack_from("<I", payload, slots)[0]
    struct.pack_into("<I", payload, slots, 0)
    assert tables(bytes(payload)).inputs == (None,)


def test_what_is_no_vgf_file_is_refused() -> None:
    payload = _payload("VGF_INT8", map_and_head)
    with pytest.raises(ToolError, match="are no .vgf file, which starts with b'VGF1'"):
        tables(b"vela_bin_stream" * 20)
    with pytest.raises(ToolError, match="no .vgf file"):
        tables(payload[:100])
    with pytest.raises(ToolError, match="can't be read"):
        tables(payload[:128])
