"""`report`: what is in a program that a session made, what it needs at run time, and what it should cost."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from executorch.exir.lowered_backend_module import LoweredBackendModule, get_lowered_submodules
from executorch.exir.schema import ExecutionPlan, Program
from executorch.export import ExportSession
from torch.fx import Graph, GraphModule, Node

from arm_recipes.checking.result import MethodCheck
from arm_recipes.checking.run import kept_check, recorded
from arm_recipes.errors import ArmRecipeError
from arm_recipes.gates import check_limits
from arm_recipes.lowering.calibration import calibration_summary
from arm_recipes.lowering.changes import changes
from arm_recipes.lowering.losses import quantization_checks
from arm_recipes.lowering.records import CalibrationSummary, Change, QuantizationCheck
from arm_recipes.lowering.snapshot import Snapshot, snapshots
from arm_recipes.recipes import options as declarations
from arm_recipes.recipes.catalog import BY_NAME, Recipe
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.recipes.options import Options
from arm_recipes.session.export import vela_estimates
from arm_recipes.tools import versions
from arm_recipes.tools.vela.estimates import Estimate, Layer, estimate_of, layers_of
from arm_recipes.tools.vela.payload import blocks
from arm_recipes.upstream.cached_session import entry_of, taken_from_cache
from arm_recipes.upstream.delegates import recompiled
from arm_recipes.upstream.digests import program_digest
from arm_recipes.upstream.graphs import calls as every_call
from arm_recipes.upstream.graphs import captured_operator, is_operator, module_path, operator_name, quantizes, where
from arm_recipes.upstream.partitioner import Verdicts
from arm_recipes.upstream.session import exported_programs, kept_outcome, lowered_graphs, partition_verdicts

from .advice import advice
from .kernel_calls import calls_of, conversions
from .limits import Limits, delegation_of
from .memory_pools import pools
from .result import BorderStep, Count, Crossing, Delegate, ExportReport, MethodReport, PteParts, Refusal

# Of an entry of a cache, by whether Ethos-U's layers are in it.
_PART = {False: "report.json", True: "report-layers.json"}


def report(
    session: ExportSession,
    *,
    layers: bool = True,
    max_sram: float | None = None,
    max_flash: float | None = None,
    min_delegation: float | None = None,
    min_sqnr: float | None = None,
    require_full_delegation: bool = False,
) -> ExportReport:
    """Report on a session that is done, of a recipe of arm_recipes; also one from executorch's own `export`, for which
    the reasons are missing why operators were refused.

    Args:
        session: done with its export.
        layers: for Ethos-U, have Vela estimate each layer, for which each delegate is lowered and compiled once more:
            nearly half of the time of an export. For sessions from executorch's own `export` Vela's totals come from
            there as well.
        max_sram: a gate: the most RAM in KiB that a firmware may need at the least. For Ethos-U Vela's peak of SRAM,
            the planned activations outside of delegates and the method allocator's pool; for Cortex-M the planned
            activations and both pools.
        max_flash: a gate: the largest .pte, in KiB.
        min_delegation: a gate: the least share of operators that are delegated (for Cortex-M: of kernels of CMSIS-NN),
            in percent. Quantize, dequantize and layout steps don't count.
        min_sqnr: a gate: the least SQNR in dB of each quantized output against the float model's, on the samples of the
            calibration on which the recipe compared them: one, or a few where one is bad.
        require_full_delegation: a gate: all of them are.

    Raises:
        ModelError: the session is not of a recipe of arm_recipes, or not done.
        ArmRecipeError: a gate has no meaning for the recipe.
        LoweringError: a delegate, compiled once more, came out different.
    """
    check_limits(max_sram=max_sram, max_flash=max_flash, min_delegation=min_delegation, min_sqnr=min_sqnr)
    if not isinstance(session, ExportSession):
        raise ArmRecipeError(
            f"report of {type(session).__name__}: give what arm_recipes.export or executorch's own export returned."
        )
    made = _from_cache(session, layers) or _made(session, layers)
    limits = Limits(BY_NAME[made.recipe], made.methods, made.vela_estimates, made.delegation, made.pte_bytes)
    gates = limits.gates(max_sram, max_flash, min_delegation, require_full_delegation, min_sqnr)
    return dataclasses.replace(made, gates=tuple(gates))


def _from_cache(session: ExportSession, layers: bool) -> ExportReport | None:
    """The report on a program that is from a cache, if it is there too."""
    if not taken_from_cache(session):
        return None
    entry = entry_of(session)
    kept = entry.read(_PART[layers]) if entry is not None else None
    return ExportReport.from_json(kept.decode()) if kept is not None else None


def _made(session: ExportSession, layers: bool) -> ExportReport:
    """The report without gates, kept where the session's program is in a cache."""
    programs = snapshots(session)
    row, options = next((each.recipe, each.options) for each in programs.values())
    program = session.get_executorch_program()
    pte = bytes(session.get_pte_buffer())
    estimates: tuple[Estimate, ...] = vela_estimates(session)
    estimated: tuple[Layer, ...] = ()
    border: dict[str, list[BorderStep]] = {}
    if layers and row.family.facts.has_estimates:
        estimates, estimated, border = _estimated(program, lowered_graphs(session))
    methods = tuple(_methods(session, programs, border))
    made = ExportReport(
        recipe=row.name,
        target=row.compiles_for(options.macs if isinstance(options, EthosUOptions) else None),
        options=_spelled(row, options),
        versions=versions.installed(),
        pte_bytes=len(pte),
        pte_sha256=hashlib.sha256(pte).hexdigest(),
        parts=_parts(program, len(pte)),
        delegation=delegation_of(row, methods),
        methods=methods,
        vela_estimates=estimates,
        layers=estimated,
        advice=advice(row, methods, estimates, estimated, options),
        gates=(),
    )
    entry = entry_of(session)
    # Of a check that the caller made since, on other samples, the cache knows nothing.
    if entry is not None and kept_outcome(session) == kept_check(session):
        entry.write(_PART[layers], made.to_json().encode())
    return made


def _spelled(row: Recipe, options: Options) -> dict[str, Any]:
    """The options' values. Calibration data is told by what it was, in each method."""
    values = {name: getattr(options, name) for name in declarations.declared(row) if name != "calibration"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


# methods


def _methods(
    session: ExportSession, programs: Mapping[str, Snapshot], transposes: Mapping[str, Sequence[BorderStep]]
) -> Iterator[MethodReport]:
    program = session.get_executorch_program()
    graphs = lowered_graphs(session)
    calibration = calibration_summary(session)
    changed = changes(session)
    compared = quantization_checks(session)
    checked = recorded(session)
    exported = exported_programs(session)
    verdicts = list(partition_verdicts(session))
    for plan in program.execution_plan:
        if plan.name in graphs:  # the others are constant methods
            yield _method(
                plan,
                program,
                graphs[plan.name],
                programs[plan.name],
                _own_verdicts(graphs[plan.name], verdicts),
                _Before(
                    program_digest(exported[plan.name]) if plan.name in exported else "",
                    calibration.get(plan.name),
                    changed.get(plan.name, ()),
                    compared.get(plan.name),
                    checked.get(plan.name),
                ),
                transposes.get(plan.name, []),
            )


class _Before(NamedTuple):
    """What a method's report has of the stages before the lowering; see `MethodReport`."""

    graph: str
    calibration: CalibrationSummary | None
    changes: tuple[Change, ...]
    quantization: QuantizationCheck | None
    check: MethodCheck | None


def _method(
    plan: ExecutionPlan,
    program: Program,
    graph: GraphModule,
    lowered: Snapshot,
    verdicts: Verdicts | None,
    before: _Before,
    transposes: Sequence[BorderStep],
) -> MethodReport:
    modules = _delegates(graph)
    inside = Counter(
        operator_name(node)
        for module in modules
        for node in every_call(module.original_module.graph_module)
        if is_operator(node)
    )
    calls = tuple(calls_of(plan, lowered.graph))
    return MethodReport(
        name=plan.name,
        **before._asdict(),
        delegates=tuple(map(_delegate, modules)),
        delegated=_counts(inside),
        not_delegated=_refusals(graph, verdicts) if lowered.recipe.family.facts.delegates else (),
        between=tuple(where(node) for node in _between(lowered.graph)),
        kernels=_counts(Counter(call.operator for call in calls)),
        calls=calls,
        border=(*conversions(calls), *transposes),
        planned_bytes=tuple(plan.non_const_buffer_sizes[1:]),  # the first is reserved
        pools=pools(program, plan),
        borders=lowered.borders,
    )


def _delegates(graph: GraphModule) -> list[LoweredBackendModule]:
    return [module for _, module, _ in get_lowered_submodules(graph)]


def _own_verdicts(graph: GraphModule, verdicts: list[Verdicts]) -> Verdicts | None:
    """Take the verdicts that are about `graph` out of those of all methods: its delegates hold what they say."""
    held = {node.name for module in _delegates(graph) for node in module.original_module.graph.nodes}
    for index, found in enumerate(verdicts):
        if {verdict.node for verdict in found if verdict.delegated} <= held:
            return verdicts.pop(index)
    return None


def _delegate(module: LoweredBackendModule) -> Delegate:
    held = blocks(module.processed_bytes) if module.backend_id == "EthosUBackend" else {}
    lowered = module.original_module
    placeholders = {node.name: node for node in lowered.graph.find_nodes(op="placeholder")}
    inputs = [placeholders[name] for name in lowered.graph_signature.user_inputs]
    return Delegate(
        backend=module.backend_id,
        operators=sum(map(is_operator, lowered.graph.nodes)),
        payload_bytes=len(module.processed_bytes),
        weight_bytes=len(held["weight_data"]) if held else None,
        command_bytes=len(held["cmd_data"]) if held else None,
        scratch_bytes=int.from_bytes(held["scratch_size"], "little") if held else None,
        inputs=tuple(map(_crossing, inputs)),
        outputs=tuple(map(_crossing, lowered.graph.output_node().args[0])),
    )


def _crossing(node: Node) -> Crossing:
    value = node.meta["val"]
    shape = tuple(value.shape)
    return Crossing(node.name, shape, str(value.dtype).removeprefix("torch."), value.numel() * value.element_size())


def _refusals(graph: GraphModule, verdicts: Verdicts | None) -> tuple[Refusal, ...]:
    # Verdicts are on the graph's own operators: no partitioner looks at the bodies of control flow.
    outside = [node for node in every_call(graph) if verdicts is None or node.graph is not graph.graph]
    left = [
        (verdict.operator, verdict.reason, verdict.module, verdict.captured)
        for verdict in verdicts or ()
        if not verdict.delegated
    ]
    left += [
        (operator_name(node), None, module_path(node), captured_operator(node)) for node in outside if is_operator(node)
    ]
    grouped: dict[tuple[str, str | None], list[tuple[str, str]]] = {}
    for operator, reason, *origin in left:
        grouped.setdefault((operator, reason), []).append((origin[0], origin[1]))
    return tuple(
        Refusal(
            operator,
            len(origins),
            reason,
            tuple(dict.fromkeys(module for module, _ in origins if module)),
            tuple(dict.fromkeys(captured for _, captured in origins)),
        )
        for (operator, reason), origins in sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0][0]))
    )


def _between(graph: Graph) -> Iterator[Node]:
    """Operators that need what a delegate gives, and give what a delegate needs, but for conversions."""
    delegates = [node for node in graph.nodes if node.op == "call_function" and "call_delegate" in str(node.target)]
    after: set[Node] = set()
    for node in graph.nodes:
        if any(each in after or each in delegates for each in node.all_input_nodes):
            after.add(node)
    before: set[Node] = set()
    for node in reversed(graph.nodes):
        if any(each in before or each in delegates for each in node.users):
            before.add(node)
    between = after & before
    yield from (node for node in graph.nodes if node in between and is_operator(node) and not quantizes(node))


def _counts(found: Counter[str]) -> tuple[Count, ...]:
    return tuple(Count(operator, count) for operator, count in sorted(found.items(), key=lambda it: (-it[1], it[0])))


# what Vela made


def _estimated(
    program: Program, graphs: Mapping[str, GraphModule]
) -> tuple[tuple[Estimate, ...], tuple[Layer, ...], dict[str, list[BorderStep]]]:
    """Vela's estimates, its layers, and the transposes at the border of delegates by method."""
    estimates: list[Estimate] = []
    tables, origins = [], []
    borders = []
    for method, module in (
        (plan.name, module)
        for plan in program.execution_plan
        if plan.name in graphs
        for module in _delegates(graphs[plan.name])
    ):
        delegate = recompiled(module)
        delegate.check_reproduced("layers", "give layers=False")
        estimates.append(estimate_of(delegate.compiled.summary))
        tables.append(delegate.compiled.layers)
        origins.append(delegate.origins)
        borders.append((method, delegate.border))
    layers = layers_of(tables, origins)
    steps: dict[str, list[BorderStep]] = {}
    for index, (method, names) in enumerate(borders):
        own = [layer for layer in layers if layer.subgraph == index]
        steps.setdefault(method, []).extend(_transposes(own, names))
    return tuple(estimates), layers, steps


def _transposes(layers: Sequence[Layer], border: frozenset[str]) -> Iterator[BorderStep]:
    cycles = 0
    for layer in layers:
        if layer.operator != "Transpose":
            cycles = 0
            continue
        cycles += layer.cycles
        if layer.name in border and cycles:
            yield BorderStep("transpose", "NPU", layer.operator, layer.name, None, cycles)
        if layer.name:  # else it is a step on the way to the next
            cycles = 0


def _parts(program: Program, pte_bytes: int) -> PteParts:
    held = {delegate.data for delegate in program.backend_delegate_data}
    streams = [blocks(data) for data in held if data.startswith(b"vela_bin_stream")]
    constants = sum(len(buffer.storage) for buffer in program.constant_buffer)
    commands = sum(len(each["cmd_data"]) for each in streams)
    weights = sum(len(each["weight_data"]) for each in streams)
    payloads = sum(map(len, held))
    return PteParts(
        weight_bytes=weights + constants,
        command_bytes=commands,
        payload_bytes=payloads - weights - commands,
        rest_bytes=pte_bytes - payloads - constants,
    )
