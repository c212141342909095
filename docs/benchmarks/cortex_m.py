"""What the options of the Cortex-M recipes cost, measured on programs made here and now: a table for the docs.

    python docs/benchmarks/cortex_m.py            print it
    python docs/benchmarks/cortex_m.py --write    put it into docs/cortex_m.md

Sizes are exact; no device and no simulator is involved. The networks are those of tests/, with random weights.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cortex_m.md"
BEGIN, END = "<!-- begin: docs/benchmarks/cortex_m.py -->", "<!-- end: docs/benchmarks/cortex_m.py -->"

sys.path.insert(0, str(ROOT))

from executorch.export import ExportRecipe, export  # noqa: E402

from arm_recipes import ArmRecipeType  # noqa: E402
from tests import models, tiny_models  # noqa: E402

NETWORKS = {
    "ds_cnn": tiny_models.ds_cnn,
    "resnet8": tiny_models.resnet8,
    "mobilenet_v1_025": tiny_models.mobilenet_v1_025,
    "deep_autoencoder": tiny_models.deep_autoencoder,
    "MobileNetV2": models.mobilenet_v2,
    "MobileNetV3-small": tiny_models.mobilenet_v3_small,
}
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"drop_unused_constants": True},
    {"io_layout": "channels_last"},
    {"io_layout": "channels_last", "drop_unused_constants": True},
)
ISAS = ("MVE", "DSP", "SCALAR")


def measure(example: models.Example, **options: Any) -> tuple[int, int, int, int]:
    """Export for Cortex-M55: bytes of the arena and of the .pte, calls of cortex_m kernels and of others."""
    recipe = ExportRecipe.get_recipe(ArmRecipeType.CORTEX_M55_INT8, **options)
    session = export(example.model, [example.inputs], recipe)
    plan = session.get_executorch_program().execution_plan[0]
    calls = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
    names = [plan.operators[call.op_index].name for call in calls if hasattr(call, "op_index")]
    fast = sum(name.startswith("cortex_m::") for name in names)
    return sum(plan.non_const_buffer_sizes), len(session.get_pte_buffer()), fast, len(names) - fast


def spell(options: dict[str, Any]) -> str:
    return "`" + ", ".join(f"{name}={value!r}" for name, value in options.items()) + "`" if options else "(defaults)"


def table() -> Iterator[str]:
    yield "| network | options | arena bytes | cortex_m / other kernels | .pte bytes | of the default's |"
    yield "|---|---|---:|---:|---:|---:|"
    for name, make in NETWORKS.items():
        example = make()
        default = 0
        for options in OPTIONS:
            arena, size, fast, slow = measure(example, **options)
            default = default or size
            share = f"{size / default - 1:+.1%}" if options else ""
            yield f"| {name} | {spell(options)} | {arena:,} | {fast} / {slow} | {size:,} | {share} |"
    for isa in ISAS:
        arena, size, fast, slow = measure(tiny_models.ds_cnn(), isa=isa)
        yield f"| ds_cnn | {spell({'isa': isa})} | {arena:,} | {fast} / {slow} | {size:,} | |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the options of the Cortex-M recipes cost.")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    lines = []
    for line in table():
        print(line, flush=True)
        lines.append(line)
    if arguments.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


if __name__ == "__main__":
    main()
