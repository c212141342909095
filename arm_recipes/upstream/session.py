"""What `export` adds to a session beside the artifacts that the session itself has, and how to get at both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from executorch.exir.lowered_backend_module import get_lowered_submodules
from executorch.export import ExportSession, StageType
from torch.export import ExportedProgram
from torch.fx import GraphModule

from arm_recipes.tools.vela import printed_summaries

from .delegates import vela_printed
from .partitioner import Verdicts

_GIVEN = "arm_recipes.given"
_VERDICTS = "arm_recipes.partition_verdicts"
_OUTCOME = "arm_recipes.check"
_VELA_PRINTED = "arm_recipes.vela_printed"


def keep(session: ExportSession, given: Mapping[str, Any], verdicts: list[Verdicts], vela_printed: str) -> None:
    """Keep the models that a session was given, the partitioner's verdicts, and what Vela printed."""
    for artifact in session.get_stage_artifacts().values():
        artifact.add_context(_GIVEN, dict(given))
        artifact.add_context(_VERDICTS, tuple(verdicts))
        artifact.add_context(_VELA_PRINTED, vela_printed)


def keep_outcome(session: ExportSession, outcome: object) -> None:
    """Keep what the check of the session's program came to."""
    for artifact in session.get_stage_artifacts().values():
        artifact.add_context(_OUTCOME, outcome)


def kept_outcome(session: ExportSession) -> Any:
    """What was kept so; None where nothing was."""
    return from_context(session, _OUTCOME)


def from_context(session: ExportSession, key: str) -> Any:
    """An entry of the context that all artifacts of a session share; None where there is none."""
    artifacts = list(session.get_stage_artifacts().values())
    return artifacts[-1].get_context(key) if artifacts else None


def example_inputs(session: ExportSession, method: str) -> Sequence[tuple[Any, ...]]:
    """The calls that a session was given as examples of a method, or that came with its program."""
    examples: Sequence[tuple[Any, ...]] = (from_context(session, "example_inputs") or {}).get(method) or ()
    programs = exported_programs(session)
    if not examples and method in programs and programs[method].example_inputs:
        return [programs[method].example_inputs[0]]
    return examples


def partition_verdicts(session: ExportSession) -> tuple[Verdicts, ...]:
    """What the partitioner decided about each program of a session from `arm_recipes.export`, in the order in which it
    did. None for sessions from executorch's own `export`."""
    return from_context(session, _VERDICTS) or ()


def vela_summaries(session: ExportSession) -> tuple[dict[str, str], ...]:
    """Vela's summary of each subgraph of a session from `arm_recipes.export`, in the order in which it compiled them.
    None for targets without Vela, and for sessions from executorch's own `export`.

    Raises:
        ToolError: Vela printed something of another form than is known here.
    """
    printed = from_context(session, _VELA_PRINTED)
    if printed is None:
        return ()
    compiled = [
        module
        for graph in lowered_graphs(session).values()
        # In the order in which they were made, which their names have at the end.
        for _, module, _ in sorted(get_lowered_submodules(graph), key=lambda named: (len(named[0]), named[0]))
        if module.backend_id == "EthosUBackend"
    ]
    summaries = list(printed_summaries(printed, len(compiled)))
    for index, module in enumerate(compiled):
        again = vela_printed(module)
        if again is not None:
            summaries[index] = printed_summaries(again, 1)[-1]
    return tuple(summaries)


# Upstream: lowering takes a delegate's constants out of a dict that the program shares with those it was made from.
# Holds for executorch 1.5; tests/checking/test_right.py::test_upstream_takes_constants_out fails when it can go.
_constants: WeakKeyDictionary[ExportedProgram, dict[str, Any]] = WeakKeyDictionary()


def note_constants(program: ExportedProgram) -> None:
    """Remember what a program has that is to be lowered, for `exported_programs`."""
    _constants[program] = dict(program.constants)


def exported_programs(session: ExportSession) -> dict[str, ExportedProgram]:
    """The program of each method before it was lowered, quantized where it is: exported by the session, or given to it
    as it is."""
    artifacts = session.get_stage_artifacts()
    if StageType.TORCH_EXPORT in artifacts:
        programs = dict(artifacts[StageType.TORCH_EXPORT].data)
        for program in programs.values():
            for name, value in _constants.get(program, {}).items():
                program.constants.setdefault(name, value)
        return programs
    return {method: model for method, model in given_models(session).items() if isinstance(model, ExportedProgram)}


def quantized_modules(session: ExportSession) -> dict[str, GraphModule]:
    """The module of each method that the session quantized; none of float recipes, or of programs given as they are."""
    artifact = session.get_stage_artifacts().get(StageType.QUANTIZE)
    modules = artifact.data if artifact is not None else {}
    return {method: module for method, module in modules.items() if isinstance(module, GraphModule)}


def given_models(session: ExportSession) -> Mapping[str, Any]:
    """The model of each method as the session was given it: a module or an ExportedProgram."""
    # Upstream: ExportSession._model, where the stage that exports is left out. Holds for executorch 1.5.1;
    # tests/upstream/test_private_names.py::test_the_session_s_model_is_private fails when it can go.
    models: Mapping[str, Any] = from_context(session, _GIVEN) or session._model
    return models


def lowered_graphs(session: ExportSession) -> dict[str, GraphModule]:
    """The lowered graph of each method, whose submodules are the delegates."""
    artifacts = session.get_stage_artifacts()
    stages = (StageType.EDGE_PROGRAM_MANAGER_TRANSFORM, StageType.TO_BACKEND, StageType.TO_EDGE_TRANSFORM_AND_LOWER)
    manager = next((artifacts[stage].data for stage in stages if stage in artifacts), None)
    if manager is None:
        return {}
    return {method: manager.exported_program(method).graph_module for method in manager.methods}
