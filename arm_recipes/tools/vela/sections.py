"""Sections of a Vela configuration file: what they inherit, and figures that Vela takes without a look.

Vela divides by a clock of 0 only when the program is made, and takes an area that isn't told for some other.
"""

from __future__ import annotations

import configparser
import math
from collections.abc import Callable, Sequence

from .installed import VelaRefusal, vela_module

SYSTEM, MODE = "System_Config.", "Memory_Mode."
_NEEDED = {
    SYSTEM: ("core_clock", "axi0_port", "axi1_port"),
    MODE: ("const_mem_area", "arena_mem_area", "cache_mem_area"),
}


def check_section(parser: configparser.ConfigParser, section: str) -> None:
    """
    Args:
        parser: of the file.
        section: with its prefix, e.g. ``Memory_Mode.Shared_Sram``.

    Raises:
        VelaRefusal: it is not there, inherits in a circle, lacks a key, or has a value that is none.
    """
    found = _inherited(parser, section)
    prefix = next(prefix for prefix in _NEEDED if section.startswith(prefix))
    missing = [key for key in _NEEDED[prefix] if key not in found]
    if missing:
        raise VelaRefusal(f"[{section}] has no {', '.join(missing)}")
    for key, (value, origin) in found.items():
        allowed = _allowed(key, value)
        if allowed:
            raise VelaRefusal(f"[{origin}] {key}={value}: allowed is {allowed}")


def _inherited(parser: configparser.ConfigParser, section: str) -> dict[str, tuple[str, str]]:
    """Values by key, each with the section that has it: a section's own go before those that it inherits."""
    found: dict[str, tuple[str, str]] = {}
    chain: list[str] = []
    while section:
        if section in chain:
            raise VelaRefusal(f"[{chain[0]}] inherits in a circle: {' from '.join([*chain, section])}")
        if not parser.has_section(section):
            raise VelaRefusal(f"[{chain[-1]}] inherits from [{section}], which is not there")
        chain.append(section)
        try:
            own = dict(parser.items(section))
        except configparser.Error as error:
            raise VelaRefusal(f"[{section}] can't be read: {str(error).splitlines()[0]}") from error
        for key, value in own.items():
            found.setdefault(key, (value, section))
        section = own.get("inherit", "")
    return found


def _allowed(key: str, value: str) -> str:
    """What a key may be, where `value` is not that; otherwise nothing."""
    for ends, fits, allowed in _RULES:
        if key.endswith(ends) and not fits(value):
            return allowed()
    return ""


def _number(kind: Callable[[str], float], least: float, *, above: bool = False) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            value = kind(text)
        except ValueError:
            return False
        return math.isfinite(value) and (value > least if above else value >= least)

    return fits


def _one_of(names: Callable[[], Sequence[str]]) -> Callable[[str], bool]:
    return lambda text: text in names()


def _areas() -> Sequence[str]:
    members = vela_module().architecture_features.MemArea.__members__
    return [name for name in members if name not in ("Unknown", "Size")]


def _ports() -> Sequence[str]:
    return [name for name in vela_module().architecture_features.MemPort.__members__ if name != "Unknown"]


# By the ends of keys, which configparser gives in lower case.
_RULES: tuple[tuple[tuple[str, ...], Callable[[str], bool], Callable[[], str]], ...] = (
    (("core_clock",), _number(float, 0, above=True), lambda: "a number of Hz above 0, e.g. 500e6"),
    (("_clock_scale",), _number(float, 0, above=True), lambda: "a number above 0, e.g. 0.125"),
    (("_burst_length", "_ports_used"), _number(int, 1), lambda: "a whole number from 1 on"),
    (
        ("_latency", "_max_reads", "_max_writes", "arena_cache_size"),
        _number(int, 0),
        lambda: "a whole number from 0 on",
    ),
    (("axi0_port", "axi1_port"), _one_of(_areas), lambda: ", ".join(_areas())),
    (("_mem_area",), _one_of(_ports), lambda: ", ".join(_ports())),
)
