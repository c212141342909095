"""`export_report`: what is in a program that a session made, what it needs at run time, and what it should cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from executorch.exir.lowered_backend_module import get_lowered_submodules
from executorch.exir.schema import ExecutionPlan, KernelCall
from executorch.export import ExportSession, StageType
from torch.fx import GraphModule

from .kept import from_context, partition_verdicts
from .lowering.calibrating import CalibrationSummary, calibration_summary
from .nodes import is_operator, module_path, operator_name
from .partitioning import Verdicts
from .session import vela_estimates
from .vela import Estimate

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Count:
    """An operator, and how often it occurs."""

    operator: str
    count: int


@dataclass(frozen=True)
class Refusal:
    """An operator that is not delegated.

    Attributes:
        operator: e.g. ``aten.topk``.
        count: how often, for this reason.
        reason: the partitioner's; None where it gave none.
        where: the submodules of the user's model that it comes from.
    """

    operator: str
    count: int
    reason: str | None
    where: tuple[str, ...]


@dataclass(frozen=True)
class Delegate:
    """A subgraph that a delegate runs.

    Attributes:
        backend: its name in the .pte.
        operators: how many operators it has.
        payload_bytes: size of what its compiler made, which is part of the .pte.
    """

    backend: str
    operators: int
    payload_bytes: int


@dataclass(frozen=True)
class MethodReport:
    """One method of a program.

    Attributes:
        name: of the method.
        delegates: in the order of their calls.
        delegated: the operators in them.
        not_delegated: all others, for targets that have a delegate.
        kernels: operators that the runtime has to have, and how often each is called.
        planned_memory_bytes: sizes of the arenas that the memory plan needs for activations.
        calibration: what the method was calibrated on, where it was quantized by a recipe of arm_recipes.
    """

    name: str
    delegates: tuple[Delegate, ...]
    delegated: tuple[Count, ...]
    not_delegated: tuple[Refusal, ...]
    kernels: tuple[Count, ...]
    planned_memory_bytes: tuple[int, ...]
    calibration: CalibrationSummary | None


@dataclass(frozen=True)
class ExportReport:
    """A program that a session made.

    Attributes:
        recipe: its name.
        pte_bytes: size of the .pte.
        methods: in the program's order, without those that only return a constant.
        vela_estimates: Vela's estimates, one for each subgraph that it compiled. None was measured on hardware.
    """

    recipe: str
    pte_bytes: int
    methods: tuple[MethodReport, ...]
    vela_estimates: tuple[Estimate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"schema_version": SCHEMA_VERSION, **content}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)


def export_report(session: ExportSession) -> ExportReport:
    """Report on a session that is done.

    For a session from executorch's own `export` there are no reasons for what was refused, and no estimates.
    """
    plans = {plan.name: plan for plan in session.get_executorch_program().execution_plan}
    graphs = lowered_graphs(session)
    calibration = calibration_summary(session)
    verdicts = list(partition_verdicts(session))
    recipe = from_context(session, "export_recipe")
    return ExportReport(
        recipe=str(getattr(recipe, "name", None) or ""),
        pte_bytes=len(session.get_pte_buffer()),
        methods=tuple(
            _method(name, plan, graphs.get(name), _own_verdicts(graphs.get(name), verdicts), calibration.get(name))
            for name, plan in plans.items()
            if name in graphs or not graphs  # the others are constant methods
        ),
        vela_estimates=vela_estimates(session),
    )


def lowered_graphs(session: ExportSession) -> dict[str, GraphModule]:
    """The lowered graph of each method, whose submodules are the delegates."""
    artifacts = session.get_stage_artifacts()
    stages = (StageType.EDGE_PROGRAM_MANAGER_TRANSFORM, StageType.TO_BACKEND, StageType.TO_EDGE_TRANSFORM_AND_LOWER)
    manager = next((artifacts[stage].data for stage in stages if stage in artifacts), None)
    if manager is None:
        return {}
    return {method: manager.exported_program(method).graph_module for method in manager.methods}


def _own_verdicts(graph: GraphModule | None, verdicts: list[Verdicts]) -> Verdicts | None:
    """Take the verdicts that are about `graph` out of those of all methods: its delegates hold what they say."""
    if graph is None:
        return None
    held = {node.name for _, module, _ in get_lowered_submodules(graph) for node in module.original_module.graph.nodes}
    for index, found in enumerate(verdicts):
        if {verdict.node for verdict in found if verdict.delegated} <= held:
            return verdicts.pop(index)
    return None


def _method(
    name: str,
    plan: ExecutionPlan,
    graph: GraphModule | None,
    verdicts: Verdicts | None,
    calibration: CalibrationSummary | None,
) -> MethodReport:
    delegates = []
    inside: Counter[str] = Counter()
    for _, module, _ in get_lowered_submodules(graph) if graph is not None else ():
        operators = [operator_name(node) for node in module.original_module.graph.nodes if is_operator(node)]
        inside.update(operators)
        delegates.append(Delegate(module.backend_id, len(operators), len(module.processed_bytes)))
    return MethodReport(
        name=name,
        delegates=tuple(delegates),
        delegated=_counts(inside),
        not_delegated=_refusals(graph, verdicts, bool(delegates)),
        kernels=_kernels(plan),
        planned_memory_bytes=tuple(plan.non_const_buffer_sizes[1:]),  # the first is reserved
        calibration=calibration,
    )


def _refusals(graph: GraphModule | None, verdicts: Verdicts | None, delegates: bool) -> tuple[Refusal, ...]:
    if verdicts is not None:
        left = [(verdict.operator, verdict.reason, verdict.module) for verdict in verdicts if not verdict.delegated]
    elif graph is not None and delegates:
        left = [(operator_name(node), None, module_path(node)) for node in graph.graph.nodes if is_operator(node)]
    else:
        left = []  # a target without a delegate
    grouped: dict[tuple[str, str | None], list[str]] = {}
    for operator, reason, module in left:
        grouped.setdefault((operator, reason), []).append(module)
    return tuple(
        Refusal(operator, len(modules), reason, tuple(dict.fromkeys(filter(None, modules))))
        for (operator, reason), modules in sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0][0]))
    )


def _kernels(plan: ExecutionPlan) -> tuple[Count, ...]:
    names = [f"{operator.name}.{operator.overload}".rstrip(".") for operator in plan.operators]
    calls = Counter(
        names[instruction.instr_args.op_index]
        for chain in plan.chains
        for instruction in chain.instructions
        if isinstance(instruction.instr_args, KernelCall)
    )
    return _counts(calls)


def _counts(found: Counter[str] | Iterable[str]) -> tuple[Count, ...]:
    counter = Counter(found)
    return tuple(Count(operator, count) for operator, count in sorted(counter.items(), key=lambda it: (-it[1], it[0])))
