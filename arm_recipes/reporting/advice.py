"""What a report advises: what costs much in a program, and what can be done. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.recipes.operators import instead_of
from arm_recipes.recipes.options import Options
from arm_recipes.tools.vela.estimates import Estimate, Layer

from .result import Advice, MethodReport

# Of the multiply-accumulates that the NPU could do: less is worth a word.
_LOW_UTILISATION = 0.1

# Vela's print-out has two decimals.
_KIB_OF_ROUNDING = 0.01


def advice(
    row: Recipe,
    methods: Sequence[MethodReport],
    estimates: Sequence[Estimate],
    layers: Sequence[Layer],
    options: Options,
) -> tuple[Advice, ...]:
    """What costs most of what can be told, that with the most cycles at stake first.

    Args:
        row: of the catalog.
        methods: of the program.
        estimates: Vela's, one for each subgraph; empty where there are none.
        layers: of those subgraphs; empty where they were not asked for.
        options: of the recipe.
    """
    found = [*_of_layers(methods, estimates, layers, options), *_of_methods(methods), *_of_operators(row, methods)]
    return tuple(sorted(found, key=lambda one: -(one.cycles or 0)))


def _of_layers(
    methods: Sequence[MethodReport], estimates: Sequence[Estimate], layers: Sequence[Layer], options: Options
) -> Iterator[Advice]:
    total = sum(each.cycles for each in estimates)
    if not layers or not total or not isinstance(options, EthosUOptions):
        return
    transposes = [layer for layer in layers if layer.operator == "Transpose" and layer.cycles]
    if transposes:
        cycles = sum(layer.cycles for layer in transposes)
        at_border = sum(step.cycles or 0 for method in methods for step in method.border if step.kind == "transpose")
        told = f", {at_border / total:.1%} at the border of delegates" if at_border else ""
        hint = " io_layout='channels_last' saves those of rank-4 inputs." if at_border and not options.io_layout else ""
        yield Advice(
            "transposes",
            f"Layout transposes, {len(transposes)} of them: {cycles / total:.1%} of the cycles{told}.{hint}",
            _parts_of_model(transposes),
            cycles,
        )
    low = [layer for layer in layers if layer.macs and layer.cycles and layer.utilisation < _LOW_UTILISATION]
    low = [layer for layer in low if layer.operator != "Transpose"]
    if low:
        cycles = sum(layer.cycles for layer in low)
        bounds = Counter(layer.bound for layer in low)
        by = ", ".join(f"{times} by {bound}" for bound, times in bounds.most_common())
        yield Advice(
            "utilisation",
            f"Layers that use less than {_LOW_UTILISATION:.0%} of the MACs, {len(low)} of them: {cycles / total:.1%} "
            f"of the cycles (bound {by}). An NPU of fewer MACs may be as fast there.",
            _parts_of_model(low),
            cycles,
        )
    peak = max(each.memory_kib.get("SRAM", 0.0) for each in estimates)
    delegates = [delegate for method in methods for delegate in method.delegates]
    # Otherwise the arena is elsewhere, and SRAM but a cache of it.
    if any(abs(each.scratch_bytes / 1024 - peak) < _KIB_OF_ROUNDING for each in delegates if each.scratch_bytes):
        most = max(layer.staging_bytes for layer in layers)
        at_peak = [layer for layer in layers if layer.staging_bytes == most]
        below = max((layer.staging_bytes for layer in layers if layer.staging_bytes < most), default=0) / 1024
        hint = "" if options.optimise == "Size" else " optimise='Size' schedules for less."
        yield Advice(
            "peak_sram",
            f"Peak SRAM is {peak:,.1f} KiB ({options.memory_mode}). Layers that reach it: {len(at_peak)} of "
            f"{len(layers)}; all others need at most {below:,.1f} KiB.{hint}",
            _parts_of_model(at_peak),
            None,
        )


def _of_methods(methods: Sequence[MethodReport]) -> Iterator[Advice]:
    between = [each for method in methods for each in method.between]
    if between:
        yield Advice(
            "between_delegates",
            f"Operators between two delegates: {len(between)}. Data leaves the delegate and comes back. Replace "
            "them by what the delegate takes; the report says why they were refused.",
            tuple(dict.fromkeys(between)),
            None,
        )
    for method in methods:
        if method.delegates or not method.calls:
            continue
        needs = [call.input_bytes + call.output_bytes + call.scratch_bytes for call in method.calls]
        most = max(needs)
        heavy = [call for call, needed in zip(method.calls, needs, strict=True) if needed == most]
        yield Advice(
            "peak_memory",
            f"Of the {sum(method.planned_bytes):,} bytes planned for activations, {most:,} are what one kernel "
            "needs for its inputs, outputs and scratch. No plan can do with less.",
            tuple(dict.fromkeys(call.module or call.operator for call in heavy)),
            None,
        )


def _of_operators(row: Recipe, methods: Sequence[MethodReport]) -> Iterator[Advice]:
    """Of what the target leaves to the CPU that for which it takes something else."""
    told: dict[str, list[str]] = {}
    for method in methods:
        left = [(captured, each.where) for each in method.not_delegated for captured in each.captured]
        if not row.family.facts.delegates:
            portable = (call for call in method.calls if not call.operator.startswith("cortex_m::"))
            left += [(call.captured, (call.module,) if call.module else ()) for call in portable]
        for operator, places in left:
            for instead in instead_of(row, operator):
                told.setdefault(instead, []).extend(places)
    for instead, found in told.items():
        yield Advice("instead", f"{instead}.", tuple(dict.fromkeys(found)), None)


def _parts_of_model(layers: Sequence[Layer]) -> tuple[str, ...]:
    cycles: Counter[str] = Counter()
    for layer in layers:
        cycles[layer.where] += layer.cycles
    return tuple(name for name, _ in cycles.most_common())
