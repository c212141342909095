"""What keeping the lowered program for `verify` costs an export of MobileNetV2: time and memory.

    PYTHONPATH=. python docs/benchmarks/keeping.py

Prints the table of docs/verify.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import statistics
import time
import tracemalloc

from executorch.export import ExportRecipe, StageType, export

from arm_recipes import ArmRecipeType
from arm_recipes.lowering.snapshot import TakeSnapshot
from tests.models import mobilenet_v2

RECIPES = ["TOSA_FP", "ETHOSU_U55_INT8", "CORTEX_M55_INT8"]
REPEATS = 20


def main() -> None:
    print("| recipe | export, s | keeping, ms | of the export | memory, KiB |")
    print("|---|---:|---:|---:|---:|")
    for name in RECIPES:
        recipe = ExportRecipe.get_recipe(ArmRecipeType[name])
        lowering = recipe.lowering_recipe
        assert lowering is not None and lowering.edge_manager_transform_passes is not None
        (keep,) = [one for one in lowering.edge_manager_transform_passes if isinstance(one, TakeSnapshot)]
        recipe.pipeline_stages = [
            StageType.SOURCE_TRANSFORM,
            StageType.QUANTIZE,
            StageType.TORCH_EXPORT,
            StageType.TO_EDGE_TRANSFORM_AND_LOWER,
            StageType.EDGE_PROGRAM_MANAGER_TRANSFORM,
        ]
        others = [one for one in lowering.edge_manager_transform_passes if one is not keep]
        recipe.lowering_recipe = dataclasses.replace(lowering, edge_manager_transform_passes=others)
        example = mobilenet_v2()
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            session = export(example.model, [example.inputs], recipe)
        seconds = time.perf_counter() - start
        manager = session.get_stage_artifacts()[StageType.EDGE_PROGRAM_MANAGER_TRANSFORM].data
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            keep(manager)
            times.append(time.perf_counter() - start)
        tracemalloc.start()
        keep(manager)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        median = statistics.median(times)
        print(f"| {name} | {seconds:.1f} | {median * 1e3:.2f} | {median / seconds:.3%} | {size / 1024:.0f} |")


if __name__ == "__main__":
    main()
