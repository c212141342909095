"""Keyword arguments: every mistake is refused, at once and clearly."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arm_recipes.errors import OptionError
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.tools import vela

U55 = catalog.BY_NAME["ETHOSU_U55_INT8"]
U65 = catalog.BY_NAME["ETHOSU_U65_INT8"]
U85 = catalog.BY_NAME["ETHOSU_U85_INT8"]
VGF = catalog.BY_NAME["VGF_INT8"]

_U55_SYSTEMS = "Ethos_U55_Deep_Embedded, Ethos_U55_High_End_Embedded"
_VELA_SAYS = "is refused by Vela"

# (recipe, kwargs, the whole message)
_REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "ETHOSU_U85_INT8",
        {"mac": 64},
        "ETHOSU_U85_INT8: mac=64 is no option of this recipe. Did you mean 'macs'? Allowed: macs, config_ini, "
        "system_config, memory_mode, optimise, arena_cache_size, extra_flags, calibration, io_dtype, cures, "
        "per_channel, io_layout, allow_no_delegation.",
    ),
    (
        "ETHOSU_U85_INT8",
        {"macs": True},
        "ETHOSU_U85_INT8: macs=True is of type bool. Allowed: a value of type int, one of 128, 256, 512, 1024, 2048.",
    ),
    (
        "ETHOSU_U85_INT8",
        {"macs": "128"},
        "ETHOSU_U85_INT8: macs='128' is of type str. Allowed: a value of type int, one of 128, 256, 512, 1024, 2048.",
    ),
    (
        "ETHOSU_U85_INT8",
        {"macs": None},
        "ETHOSU_U85_INT8: macs=None is of type NoneType. Allowed: a value of type int, one of "
        "128, 256, 512, 1024, 2048.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"macs": 999},
        "ETHOSU_U55_INT8: macs=999 is not legal for ethos-u55. Allowed: 32, 64, 128, 256.",
    ),
    (
        "ETHOSU_U85_INT8",
        {"macs": 64},
        "ETHOSU_U85_INT8: macs=64 is not legal for ethos-u85. Allowed: 128, 256, 512, 1024, 2048.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"system_config": "Nope"},
        f"ETHOSU_U55_INT8: system_config='Nope' is not legal for ethos-u55 with Arm/vela.ini. Allowed: {_U55_SYSTEMS}.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"system_config": "ethos_u55_deep_embeded"},
        "ETHOSU_U55_INT8: system_config='ethos_u55_deep_embeded' is not legal for ethos-u55 with Arm/vela.ini. "
        f"Did you mean 'Ethos_U55_Deep_Embedded'? Allowed: {_U55_SYSTEMS}.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"system_config": 5},
        f"ETHOSU_U55_INT8: system_config=5 is of type int. Allowed: a value of type str, one of {_U55_SYSTEMS}.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"system_config": "Ethos_U85_SYS_DRAM_Mid"},
        "ETHOSU_U55_INT8: system_config='Ethos_U85_SYS_DRAM_Mid' is not legal for ethos-u55 with Arm/vela.ini. "
        f"Allowed: {_U55_SYSTEMS}.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"memory_mode": "Nope"},
        "ETHOSU_U55_INT8: memory_mode='Nope' is not legal for ethos-u55 with Arm/vela.ini "
        "with Ethos_U55_High_End_Embedded. Allowed: Sram_Only, Shared_Sram.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"memory_mode": "Dedicated_Sram"},
        "ETHOSU_U55_INT8: memory_mode='Dedicated_Sram' is not legal for ethos-u55 with Arm/vela.ini "
        "with Ethos_U55_High_End_Embedded "
        "(Invalid configuration of arena_mem_area=OffChipFlash (must be Sram or Dram)). "
        "Allowed: Sram_Only, Shared_Sram.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"config_ini": "/nope.ini"},
        "ETHOSU_U55_INT8: config_ini='/nope.ini' can't be used: no such file. "
        "Give the path of a Vela .ini file, or leave it out for Arm/vela.ini.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"config_ini": "my board/vela.ini"},
        "ETHOSU_U55_INT8: config_ini='my board/vela.ini' has white space in it, at which executorch splits the "
        "compiler's flags. Copy the file to a path without spaces.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"config_ini": 5},
        "ETHOSU_U55_INT8: config_ini=5 is of type int. Allowed: a value of type path.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"optimise": "Speed"},
        "ETHOSU_U55_INT8: optimise='Speed' is not legal for ethos-u55. Allowed: Size, Performance.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"arena_cache_size": 0},
        "ETHOSU_U55_INT8: arena_cache_size=0 is no size. Allowed: a number of bytes above 0.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"arena_cache_size": 2**40},
        f"ETHOSU_U55_INT8: arena_cache_size=1099511627776 {_VELA_SAYS}: Invalid configuration of "
        "arena_cache_size=1099511627776. Size is out of bounds, maximum is: 4294967296.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"arena_cache_size": 4096, "optimise": "Size"},
        "ETHOSU_U55_INT8: arena_cache_size=4096 has no effect together with optimise='Size', which uses as little "
        "SRAM as it can. Leave one of the two out.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": "--x"},
        "ETHOSU_U55_INT8: extra_flags='--x' is of type str. Allowed: a value of type list of str.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": [1]},
        "ETHOSU_U55_INT8: extra_flags=[1] is of type list. Allowed: a value of type list of str.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": 7},
        "ETHOSU_U55_INT8: extra_flags=7 is of type int. Allowed: a value of type list of str.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": ["--bogus"]},
        f"ETHOSU_U55_INT8: extra_flags=['--bogus'] {_VELA_SAYS}: unrecognized arguments: --bogus. "
        "`vela --help` lists its flags.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": ["--verbose-graph --timing"]},
        "ETHOSU_U55_INT8: extra_flags=['--verbose-graph --timing'] holds '--verbose-graph --timing'; it has white "
        "space in it, at which executorch splits the compiler's flags. Give each word as an item of its own. "
        "A path with spaces can't be handed over.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": [""]},
        "ETHOSU_U55_INT8: extra_flags=[''] holds an empty flag.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": ["--help"]},
        f"ETHOSU_U55_INT8: extra_flags=['--help'] {_VELA_SAYS}: Vela prints something and ends. "
        "`vela --help` lists its flags.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"extra_flags": ["--separate-io-regions"]},
        f"ETHOSU_U55_INT8: extra_flags=['--separate-io-regions'] {_VELA_SAYS}: Driver actions format 'COP2' is "
        "required for --separate-io-regions.",
    ),
    (
        "ETHOSU_U55_INT8",
        {"per_channel": 1},
        "ETHOSU_U55_INT8: per_channel=1 is of type int. Allowed: a value of type bool.",
    ),
    (
        "TOSA_FP",
        {"per_channel": True},
        "TOSA_FP: per_channel=True is no option of this recipe. Allowed: cures, io_layout, allow_no_delegation.",
    ),
    (
        "TOSA_INT8",
        {"macs": 128},
        "TOSA_INT8: macs=128 is no option of this recipe. Allowed: calibration, io_dtype, cures, per_channel, "
        "io_layout, allow_no_delegation.",
    ),
    (
        "VGF_INT8",
        {"compiler_flags": ["--emit-debug-info --dump-mlir"]},
        "VGF_INT8: compiler_flags=['--emit-debug-info --dump-mlir'] holds '--emit-debug-info --dump-mlir'; it has "
        "white space in it, at which executorch splits the compiler's flags. Give each word as an item of its own.",
    ),
    (
        "VGF_INT8",
        {"compiler_flags": ["--output=x.vgf"]},
        "VGF_INT8: compiler_flags=['--output=x.vgf'] holds '--output=x.vgf', which is the recipe's own to set.",
    ),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), _REFUSED, ids=lambda value: str(value)[:40])
def test_is_refused(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        options.resolve(catalog.BY_NAME[name], kwargs)
    assert str(caught.value) == message
    assert caught.value.recipe == name
    assert caught.value.option in kwargs


@pytest.mark.parametrize(
    ("flag", "dest"),
    [
        ("--accelerator-config=ethos-u85-256", "accelerator-config"),
        ("--accel=ethos-u85-256", "accelerator-config"),  # argparse takes unambiguous abbreviations
        ("--config=Arm/vela.ini", "config"),
        ("--system-config=Ethos_U55_Deep_Embedded", "system-config"),
        ("--memory-mode=Sram_Only", "memory-mode"),
        ("--output-format=tflite", "output-format"),
        ("--output-dir=/tmp", "output-dir"),
        ("--optimise=Size", "optimise"),
        ("--arena-cache-size=1", "arena-cache-size"),
        ("--supported-ops-report", "supported-ops-report"),
        ("--list-config-files", "list-config-files"),
        ("--list-configs=Arm/vela.ini", "list-configs"),
        ("network.tosa", "network"),
    ],
)
def test_a_flag_that_the_recipe_owns_is_refused(flag: str, dest: str) -> None:
    with pytest.raises(OptionError, match=rf"sets Vela's {dest}, which is not for extra_flags. Instead: "):
        options.resolve(U55, {"extra_flags": ["--verbose-graph", flag]})


def test_no_flag_of_vela_ends_the_process_or_writes_a_file(tmp_path: Path) -> None:
    """Every flag that Vela has, given without a value: each is taken or refused, and the folder stays empty."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from arm_recipes.recipes import catalog, options
from arm_recipes.tools.vela import arguments
from arm_recipes.errors import OptionError
taken = 0
flags = sorted(arguments._argument_parser()._option_string_actions)
for flag in flags:
    try:
        options.resolve(catalog.BY_NAME["ETHOSU_U55_INT8"], {{"extra_flags": [flag]}})
        taken += 1
    except OptionError:
        pass
print(len(flags), taken)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    count, taken = map(int, done.stdout.split())
    assert count > 40
    assert 5 < taken < count
    assert list(tmp_path.iterdir()) == []


def test_the_recursion_limit_of_the_caller_stays() -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(4321)
        options.resolve(U55, {"extra_flags": ["--recursion-limit=1500"]})
        assert sys.getrecursionlimit() == 4321
    finally:
        sys.setrecursionlimit(limit)


def test_defaults_are_spelled_out() -> None:
    assert options.resolve(U85, {}) == EthosUOptions(
        macs=256,
        config_ini="Arm/vela.ini",
        system_config="Ethos_U85_SYS_DRAM_Mid",
        memory_mode="Sram_Only",
        optimise="Performance",
        arena_cache_size=None,
        extra_flags=(),
        per_channel=True,
        io_layout=None,
        allow_no_delegation=False,
        calibration=None,
        io_dtype="float32",
        cures=True,
    )


def test_none_means_the_default_where_upstream_takes_none() -> None:
    nothing = dict.fromkeys(["system_config", "memory_mode", "config_ini", "extra_flags", "arena_cache_size"])
    assert options.resolve(U65, nothing) == options.resolve(U65, {})


def test_values_are_taken_over() -> None:
    kwargs = {
        "macs": 64,
        "system_config": "Ethos_U55_Deep_Embedded",
        "memory_mode": "Sram_Only",
        "optimise": "Size",
        "extra_flags": ["--verbose-performance", "--cop-format", "COP2"],
        "per_channel": False,
    }
    resolved = options.resolve(U55, kwargs)
    assert isinstance(resolved, EthosUOptions)
    for name, value in kwargs.items():
        assert getattr(resolved, name) == (tuple(value) if isinstance(value, list) else value)
    assert resolved.vela_flags() == ["--optimise=Size", "--verbose-performance", "--cop-format", "COP2"]


def test_options_are_frozen() -> None:
    flags = ["--verbose-graph"]
    resolved = options.resolve(U55, {"extra_flags": flags})
    flags.append("--bogus")
    assert isinstance(resolved, EthosUOptions)
    assert resolved.extra_flags == ("--verbose-graph",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolved.macs = 32  # type: ignore[misc]


@pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_describes_options_that_it_takes(recipe: catalog.Recipe) -> None:
    """Each default and each legal value of the description is legal indeed, and help is there."""
    for info in options.describe(recipe):
        assert info.help.endswith(".")
        options.resolve(recipe, {info.name: info.default} if info.default is not None else {})
        for value in info.legal or ():
            try:
                options.resolve(recipe, {info.name: value})
            except OptionError as error:
                # Ethos-U65's default memory mode keeps the arena in DRAM, which not all its systems have.
                assert (error.option, error.value) == ("memory_mode", "Dedicated_Sram_384KB")


@pytest.mark.parametrize("kwargs", [{}, {"macs": 128}])
def test_an_accelerator_that_vela_does_not_know_is_named(kwargs: dict[str, Any]) -> None:
    target = dataclasses.replace(U55.target, name="ethos-u99")
    recipe = dataclasses.replace(U55, name="ETHOSU_U99_INT8", target=target)
    with pytest.raises(OptionError) as caught:
        options.resolve(recipe, kwargs)
    assert str(caught.value) == (
        f"ETHOSU_U99_INT8: macs=128 {'' if kwargs else '(the default) '}is not legal for ethos-u99. Allowed: nothing, "
        "as the installed Vela has no ethos-u99. It compiles for ethos-u55-32, ethos-u55-64, ethos-u55-128, "
        "ethos-u55-256, ethos-u65-256, ethos-u65-512, ethos-u85-128, ethos-u85-256, ethos-u85-512, ethos-u85-1024, "
        "ethos-u85-2048. Install a Vela that has it, or take another recipe."
    )
    assert options.describe(recipe)[0].legal == ()


def test_a_default_that_vela_does_not_know_is_named() -> None:
    recipe = dataclasses.replace(U55, target=dataclasses.replace(U55.target, macs=96))
    with pytest.raises(OptionError) as caught:
        options.resolve(recipe, {})
    assert str(caught.value) == (
        "ETHOSU_U55_INT8: macs=96 (the default) is not legal for ethos-u55. Allowed: 32, 64, 128, 256."
    )
    assert options.resolve(recipe, {"macs": 64}) == options.resolve(U55, {"macs": 64})


def test_texts_of_a_command_line_become_values() -> None:
    texts = {"macs": "64", "per_channel": "false", "extra_flags": "--verbose-graph --timing", "optimise": "Size"}
    kwargs = options.parse(U55, texts)
    assert kwargs == {
        "macs": 64,
        "per_channel": False,
        "extra_flags": ["--verbose-graph", "--timing"],
        "optimise": "Size",
    }
    options.resolve(U55, kwargs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"macs": "many"}, "ETHOSU_U55_INT8: macs='many' is no int."),
        ({"per_channel": "maybe"}, "ETHOSU_U55_INT8: per_channel='maybe' is no bool."),
        ({"mcs": "1"}, "ETHOSU_U55_INT8: mcs='1' is no option of this recipe. Did you mean 'macs'?"),
    ],
)
def test_texts_that_are_no_values_are_refused(text: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        options.parse(U55, text)
    assert str(caught.value).startswith(message)


_INI = """
[System_Config.Board]
core_clock=400e6
axi0_port=Sram
axi1_port=OffChipFlash
Sram_clock_scale=1.0
OffChipFlash_clock_scale=0.125
[Memory_Mode.Shared]
const_mem_area=Axi1
arena_mem_area=Axi0
cache_mem_area=Axi0
[Memory_Mode.Arena In Flash]
arena_mem_area=Axi1
"""


class TestOwnConfigFile:
    @pytest.fixture
    def ini(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "boards"
        folder.mkdir()
        monkeypatch.chdir(tmp_path)
        (folder / "board.ini").write_text(_INI)
        return folder / "board.ini"

    @pytest.mark.parametrize("form", ["absolute", "relative", "path object", "dotted"])
    def test_is_found_as_the_user_spells_it(self, ini: Path, form: str) -> None:
        given: Any = {
            "absolute": str(ini),
            "relative": "boards/board.ini",
            "path object": ini,
            "dotted": "./boards/board.ini",
        }[form]
        kwargs = {"config_ini": given, "system_config": "Board", "memory_mode": "Shared"}
        resolved = options.resolve(U55, kwargs)
        assert isinstance(resolved, EthosUOptions)
        assert resolved.config_ini == os.fspath(given)

    def test_a_path_of_two_parts_is_not_looked_up_among_velas_own(self, ini: Path) -> None:
        """Vela would look for boards/board.ini in its own folder only."""
        assert vela.read_config("boards/board.ini").argument == "./boards/board.ini"
        assert vela.read_config("Arm/vela.ini").argument == "Arm/vela.ini"
        assert vela.read_config("Arm/vela.ini").stock

    def test_without_the_default_sections(self, ini: Path) -> None:
        with pytest.raises(OptionError) as caught:
            options.resolve(U55, {"config_ini": str(ini)})
        assert str(caught.value) == (
            "ETHOSU_U55_INT8: system_config='Ethos_U55_High_End_Embedded' (the default) is not legal for ethos-u55 "
            f"with {ini}. Allowed: Board."
        )

    def test_a_section_with_a_space_can_not_be_handed_over(self, ini: Path) -> None:
        ini.write_text(_INI.replace("Board]", "My Board]"))
        with pytest.raises(OptionError, match="has white space in it.* Rename the section in "):
            options.resolve(U55, {"config_ini": str(ini), "system_config": "My Board", "memory_mode": "Shared"})

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("core_clock=1", "can't be read as an .ini file"),
            (b"\xff\xfe\x00", "can't be read as an .ini file"),
            ("", "Allowed: nothing, as that file has no section that fits"),
            (_INI.replace("400e6", "fast"), "[System_Config.Board] core_clock=fast: allowed is a number of Hz above 0"),
        ],
    )
    def test_that_makes_no_sense_is_refused(self, ini: Path, content: str | bytes, message: str) -> None:
        ini.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(OptionError) as caught:
            options.resolve(U55, {"config_ini": str(ini), "system_config": "Board", "memory_mode": "Shared"})
        assert message in str(caught.value)

    def test_of_another_suffix_is_refused(self, ini: Path) -> None:
        other = ini.rename(ini.with_suffix(".cfg"))
        with pytest.raises(OptionError, match=r"Vela reads only files that end in \.ini"):
            options.resolve(U55, {"config_ini": str(other)})


def test_numpys_scalars_are_taken_for_pythons() -> None:
    given = {"macs": np.int64(256), "optimise": np.str_("Size"), "cures": np.bool_(False)}
    resolved: Any = options.resolve(U55, given)
    values = [resolved.macs, resolved.optimise, resolved.cures]
    assert values == [256, "Size", False] and [type(value) for value in values] == [int, str, bool]
    with pytest.raises(OptionError, match=r"macs=.*True.* is of type bool"):
        options.resolve(U55, {"macs": np.bool_(True)})
    with pytest.raises(OptionError, match="is of type float64"):
        options.resolve(U55, {"macs": np.float64(256)})
