"""A user's vela.ini: what Vela would take and fail on later is refused at once, by section and key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from arm_recipes.errors import OptionError
from arm_recipes.recipes import catalog, options
from arm_recipes.tools import vela

U55 = catalog.BY_NAME["ETHOSU_U55_INT8"]

_SYSTEM = {
    "core_clock": "500e6",
    "axi0_port": "Sram",
    "axi1_port": "OffChipFlash",
    "Sram_clock_scale": "1.0",
    "Sram_burst_length": "32",
    "Sram_read_latency": "32",
    "OffChipFlash_clock_scale": "0.125",
    "OffChipFlash_burst_length": "128",
}
_MODE = {"const_mem_area": "Axi1", "arena_mem_area": "Axi0", "cache_mem_area": "Axi0"}


def _section(name: str, values: dict[str, str]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in values.items() if value != "absent")


def _resolved(folder: Path, text: str, **names: str) -> Any:
    (folder / "own.ini").write_text(text, encoding="utf-8")
    names = {"system_config": "A", "memory_mode": "M", **names}
    return options.resolve(U55, {"config_ini": str(folder / "own.ini"), **names})


def _text(system: dict[str, str] | None = None, mode: dict[str, str] | None = None) -> str:
    return _section("System_Config.A", _SYSTEM | (system or {})) + _section("Memory_Mode.M", _MODE | (mode or {}))


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        *(("core_clock", value, "a number of Hz above 0") for value in ("0", "-1", "nan", "inf", "", "fast")),
        *(("Sram_clock_scale", value, "a number above 0") for value in ("0", "-1", "nan")),
        *(("OffChipFlash_burst_length", value, "a whole number from 1 on") for value in ("0", "-3", "1.5")),
        ("Sram_read_latency", "-1", "a whole number from 0 on"),
        ("axi1_port", "Rom", "Sram, Dram, OnChipFlash, OffChipFlash"),
    ],
)
def test_a_figure_that_is_none_is_told_by_its_key(key: str, value: str, allowed: str, tmp_path: Path) -> None:
    message = f"system_config='A' can't be used: [System_Config.A] {key.lower()}={value}: allowed is {allowed}"
    with pytest.raises(OptionError, match=re.escape(message)):
        _resolved(tmp_path, _text({key: value}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_text({"core_clock": "5%6"}), "[System_Config.A] can't be read: '%' must be followed by"),
        (_text({"axi0_port": "absent"}), "[System_Config.A] has no axi0_port"),
        (
            _text({"inherit": "System_Config.B"}),
            "[System_Config.A] inherits from [System_Config.B], which is not there",
        ),
        (_text({"inherit": "System_Config.A"}), "[System_Config.A] inherits in a circle"),
        (
            _text(mode=dict.fromkeys(_MODE, "absent")),
            "[Memory_Mode.M] has no const_mem_area, arena_mem_area, cache_mem_",
        ),
        (_text(mode={"arena_mem_area": "Axi7"}), "[Memory_Mode.M] arena_mem_area=Axi7: allowed is Axi0, Axi1"),
        (
            _text(mode={"arena_cache_size": "-1"}),
            "[Memory_Mode.M] arena_cache_size=-1: allowed is a whole number from 0",
        ),
        (
            _text(mode={"inherit": "Memory_Mode.N"}) + _section("Memory_Mode.N", {"inherit": "Memory_Mode.M"}),
            "[Memory_Mode.M] inherits in a circle: Memory_Mode.M from Memory_Mode.N from Memory_Mode.M",
        ),
    ],
)
def test_a_section_that_can_not_be_used_says_why(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        _resolved(tmp_path, text)


def test_what_is_inherited_counts(tmp_path: Path) -> None:
    text = _text(mode={**dict.fromkeys(_MODE, "absent"), "inherit": "Memory_Mode.N"}) + _section("Memory_Mode.N", _MODE)
    assert _resolved(tmp_path, text).memory_mode == "M"


@pytest.mark.parametrize("option", ["system_config", "memory_mode"])
def test_a_name_that_is_a_path_is_refused(option: str, tmp_path: Path) -> None:
    text = (
        _text()
        .replace("System_Config.A" if option == "system_config" else "Memory_Mode.M", "{}.A/b")
        .format("System_Config" if option == "system_config" else "Memory_Mode")
    )
    with pytest.raises(OptionError, match=rf"{option}='A/b' has a / or .* in it, and Vela calls its files by it"):
        _resolved(tmp_path, text, **{option: "A/b"})


@pytest.mark.parametrize("path", ["~nobody/v.ini", "/" + "a" * 5000 + ".ini", "a\0b.ini"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(OptionError, match="can't be used: no such file") as caught:
        options.resolve(U55, {"config_ini": path})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("flag", ["--recursion-limit=1", "--recursion-limit=99999999999999999999"])
def test_what_vela_raises_is_its_refusal(flag: str) -> None:
    with pytest.raises(OptionError, match="is refused by Vela: "):
        options.resolve(U55, {"extra_flags": [flag]})


def test_many_modes_are_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    features = vela.installed.vela_module().architecture_features
    real = features.ArchitectureFeatures
    monkeypatch.setattr(real, "_get_vela_config", _counted(asked, real._get_vela_config))
    _resolved(tmp_path, _text() + "".join(_section(f"Memory_Mode.X{index}", _MODE) for index in range(100)))
    assert len(asked) <= 4
    with pytest.raises(OptionError, match="it has 20,000,0.. bytes, and at most 262,144 are read"):
        _resolved(tmp_path, "#" * 20_000_000 + _text()[:30])


def _counted(asked: list[int], call: Any) -> Any:
    def counting(*arguments: Any) -> Any:
        asked.append(1)
        return call(*arguments)

    return counting


class _Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_message_holds_no_megabytes() -> None:
    with pytest.raises(OptionError) as caught:
        options.resolve(U55, {"optimise": "x" * 1_000_000})
    assert "(1,000,002 characters)" in str(caught.value) and len(str(caught.value)) < 2000
    with pytest.raises(OptionError, match="macs=<_Unspeakable whose repr raises RuntimeError> is of type _Unspeakable"):
        options.resolve(U55, {"macs": _Unspeakable()})


@pytest.mark.parametrize("recipe", ["ETHOSU_U85_INT8", "TOSA_FP", "VGF_INT8", "CORTEX_M55_INT8"])
def test_layouts_have_the_names_that_people_type(recipe: str) -> None:
    for name, layout in (("NHWC", "channels_last"), ("nchw", "contiguous"), ("channels_last", "channels_last")):
        resolved: Any = options.resolve(catalog.BY_NAME[recipe], {"io_layout": name})
        assert resolved.io_layout == layout
    with pytest.raises(OptionError, match=r"io_layout='NHCW' is not legal"):
        options.resolve(catalog.BY_NAME[recipe], {"io_layout": "NHCW"})
