"""Options that depend on others, with options of the test's own in the place of Ethos-U's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from arm_recipes.errors import OptionError
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.recipes.options import INTEGER, TEXT, Options, option, ordered

pytestmark = pytest.mark.ethos_u

U55 = catalog.BY_NAME["ETHOSU_U55_INT8"]

_KITS: dict[str, dict[str, Any]] = {
    "small": {"macs": 32, "system_config": "Ethos_U55_Deep_Embedded", "memory_mode": "Sram_Only"},
    "flags": {"extra_flags": ["--verbose-graph"]},
    "wrong": {"macs": 31},
}


@ordered
@dataclass(frozen=True, kw_only=True)
class KitOptions(EthosUOptions):
    """Ethos-U's options, with a preset and with one that depends on what was resolved before."""

    kit: str | None = option(
        TEXT,
        "A kit.",
        default=None,
        legal=lambda recipe, seen: (None, *_KITS),
        nullable=True,
        sets=("macs", "system_config", "memory_mode", "extra_flags"),
        preset=lambda recipe, kit: _KITS[kit],
        retargets=True,
    )
    rounds: int = option(INTEGER, "Rounds.", default=lambda recipe, seen: len(seen["kit"] or ""), after=("kit",))


@pytest.fixture(autouse=True)
def own_options(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = dataclasses.replace(catalog.Family.ETHOS_U.facts, options=f"{__name__}.KitOptions")
    monkeypatch.setattr(catalog.Family.ETHOS_U, "facts", facts)


def _resolved(kwargs: Mapping[str, Any]) -> KitOptions:
    resolved = options.resolve(U55, kwargs)
    assert isinstance(resolved, KitOptions)
    return resolved


def test_what_is_given_comes_before_the_preset_and_that_before_the_target() -> None:
    assert (_resolved({}).macs, _resolved({}).memory_mode) == (128, "Shared_Sram")
    preset = _resolved({"kit": "small"})
    assert (preset.macs, preset.system_config, preset.memory_mode) == (32, "Ethos_U55_Deep_Embedded", "Sram_Only")
    explicit = _resolved({"kit": "small", "macs": 64, "memory_mode": "Shared_Sram"})
    assert (explicit.macs, explicit.system_config, explicit.memory_mode) == (
        64,
        "Ethos_U55_Deep_Embedded",
        "Shared_Sram",
    )


def test_none_is_not_given() -> None:
    assert _resolved({"kit": "small", "memory_mode": None}).memory_mode == "Sram_Only"
    assert _resolved({"kit": None}) == _resolved({})


def test_what_a_preset_leaves_out_is_the_targets_and_what_it_gives_is_frozen() -> None:
    resolved = _resolved({"kit": "flags"})
    assert (resolved.macs, resolved.extra_flags) == (128, ("--verbose-graph",))


def test_an_illegal_value_of_a_preset_is_refused_as_the_presets() -> None:
    with pytest.raises(OptionError) as caught:
        _resolved({"kit": "wrong"})
    assert str(caught.value) == (
        "ETHOSU_U55_INT8: macs=31 (set by kit='wrong') is not legal for ethos-u55. Allowed: 32, 64, 128, 256."
    )


def test_a_default_sees_what_it_depends_on() -> None:
    assert (_resolved({}).rounds, _resolved({"kit": "small"}).rounds) == (0, 5)


def test_a_description_is_beside_the_other_defaults() -> None:
    infos = {info.name: info for info in options.describe(U55)}
    assert list(infos)[:2] == ["kit", "rounds"]
    assert (infos["kit"].default, infos["macs"].default, infos["rounds"].default) == (None, 128, 0)


def test_only_what_is_declared_so_can_be_retargeted() -> None:
    assert options.retargetable(U55) == (
        "kit",
        "macs",
        "config_ini",
        "system_config",
        "memory_mode",
        "optimise",
        "arena_cache_size",
        "extra_flags",
    )


def test_a_new_option_is_refused_by_retarget_unless_it_is_declared_so() -> None:
    from arm_recipes.sweeping.retarget import configuration_of

    assert configuration_of(U55, {"kit": "small"}).macs == 32
    with pytest.raises(OptionError) as caught:
        configuration_of(U55, {"rounds": 2})
    assert str(caught.value) == (
        "ETHOSU_U55_INT8: rounds=2 changes the lowering, and so can't be given here. Allowed: kit, macs, config_ini, "
        "system_config, memory_mode, optimise, arena_cache_size, extra_flags. Export with it, and go on from that "
        "session."
    )


def test_the_order_is_checked_when_a_class_is_made() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Forward(Options):
        first: int = option(INTEGER, "First.", default=lambda recipe, seen: seen["second"], after=("second",))
        second: int = option(INTEGER, "Second.", default=0)

    with pytest.raises(AssertionError, match="Forward: first depends on second, which is not resolved before it"):
        ordered(Forward)

    @dataclass(frozen=True, kw_only=True)
    class Late(Options):
        first: int = option(INTEGER, "First.", default=0)
        second: int = option(INTEGER, "Second.", default=0, sets=("first",))

    with pytest.raises(AssertionError, match="Late: second sets first, which is not resolved after it"):
        ordered(Late)

    @dataclass(frozen=True, kw_only=True)
    class Twice(Options):
        first: int = option(INTEGER, "First.", default=0, sets=("third",))
        second: int = option(INTEGER, "Second.", default=0, sets=("third",))
        third: int = option(INTEGER, "Third.", default=0)

    with pytest.raises(AssertionError, match="Twice: first and second both set third"):
        ordered(Twice)


def test_an_option_sees_nothing_that_it_does_not_say_it_depends_on() -> None:
    declaration = KitOptions.__dataclass_fields__["rounds"].metadata["option"]
    assert declaration.seen({"kit": "small", "macs": 32}) == {"kit": "small"}
