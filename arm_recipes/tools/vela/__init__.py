"""Arm's Vela compiler: what it knows, how it is run, what it says. No torch here."""

from .arguments import flags_set, try_flags
from .compiler import printed_to_log
from .config import STOCK_CONFIG, ConfigFile, MemoryModes, accelerators, macs, optimisations, read_config
from .estimates import Estimate, estimate_of, printed_summaries
from .installed import VelaRefusal, temporary_without_spaces

__all__ = [
    "STOCK_CONFIG",
    "ConfigFile",
    "Estimate",
    "MemoryModes",
    "VelaRefusal",
    "accelerators",
    "estimate_of",
    "flags_set",
    "macs",
    "optimisations",
    "printed_summaries",
    "printed_to_log",
    "read_config",
    "temporary_without_spaces",
    "try_flags",
]
