"""Arm's Vela compiler: what it knows, how it is run, what it says. No torch here."""

from .config import (
    STOCK_CONFIG,
    ConfigFile,
    Estimate,
    VelaRefusal,
    accelerators,
    flags_set,
    macs,
    memory_modes,
    optimisations,
    parse_estimates,
    printed_to_log,
    read_config,
    try_flags,
)

__all__ = [
    "STOCK_CONFIG",
    "ConfigFile",
    "Estimate",
    "VelaRefusal",
    "accelerators",
    "flags_set",
    "macs",
    "memory_modes",
    "optimisations",
    "parse_estimates",
    "printed_to_log",
    "read_config",
    "try_flags",
]
