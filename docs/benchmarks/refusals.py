"""How long `get_recipe` takes to refuse bad options, once imports are done.

python docs/benchmarks/refusals.py
"""

from __future__ import annotations

import time
from typing import Any

from executorch.export import ExportRecipe

from arm_recipes import ArmRecipeType, OptionError

_BAD: list[tuple[str, dict[str, Any]]] = [
    ("ETHOSU_U85_INT8", {"mac": 64}),
    ("ETHOSU_U85_INT8", {"macs": True}),
    ("ETHOSU_U85_INT8", {"macs": "128"}),
    ("ETHOSU_U85_INT8", {"macs": 999}),
    ("ETHOSU_U85_INT8", {"macs": 64}),
    ("ETHOSU_U55_INT8", {"system_config": "Nope"}),
    ("ETHOSU_U55_INT8", {"memory_mode": "Nope"}),
    ("ETHOSU_U55_INT8", {"system_config": 5}),
    ("ETHOSU_U55_INT8", {"system_config": "Ethos_U85_SYS_DRAM_Mid"}),
    ("ETHOSU_U55_INT8", {"memory_mode": "Dedicated_Sram"}),
    ("ETHOSU_U55_INT8", {"config_ini": "/nope.ini"}),
    ("ETHOSU_U55_INT8", {"config_ini": "my board/vela.ini"}),
    ("ETHOSU_U55_INT8", {"extra_flags": "--x"}),
    ("ETHOSU_U55_INT8", {"extra_flags": [1]}),
    ("ETHOSU_U55_INT8", {"extra_flags": 7}),
    ("ETHOSU_U55_INT8", {"extra_flags": ["--accelerator-config=ethos-u85-256"]}),
    ("ETHOSU_U55_INT8", {"extra_flags": ["--output-dir=elsewhere"]}),
    ("ETHOSU_U55_INT8", {"extra_flags": ["--bogus"]}),
    ("CORTEX_M4_INT8", {"isa": "MVE"}),
]


def main() -> None:
    for name in {name for name, _ in _BAD}:  # the first call of each imports the rest
        ExportRecipe.get_recipe(ArmRecipeType[name])
    for name, kwargs in _BAD:
        start = time.perf_counter()
        try:
            ExportRecipe.get_recipe(ArmRecipeType[name], **kwargs)
        except OptionError:
            print(f"{(time.perf_counter() - start) * 1e3:6.1f} ms  {name} {kwargs}")
        else:
            print(f"   NOT REFUSED  {name} {kwargs}")


if __name__ == "__main__":
    main()
