"""Programs put together anew: exported ones from changed parts, and emitted ones serialised once more."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir._serialize._serialize import serialize_for_executorch
from executorch.exir.schema import Program
from executorch.export import ExportSession
from torch import Tensor
from torch.export import ExportedProgram, ModuleCallEntry
from torch.export.graph_signature import ExportGraphSignature

from arm_recipes.errors import ModelError

from .private import tree_flatten
from .session import from_context


def rebuilt(
    program: ExportedProgram,
    *,
    state_dict: Mapping[str, Tensor],
    constants: Mapping[str, Any] | None = None,
    signature: ExportGraphSignature | None = None,
    module_call_graph: Sequence[ModuleCallEntry] | None = None,
) -> ExportedProgram:
    """The program with other tensors, on the same graph, whose nodes are shared.

    Args:
        program: stays as it is.
        state_dict: parameters and buffers.
        constants: the program's own if None.
        signature: the program's own if None.
        module_call_graph: the program's own if None.
    """
    return ExportedProgram(
        root=program.graph_module,
        graph=program.graph,
        graph_signature=program.graph_signature if signature is None else signature,
        state_dict=dict(state_dict),
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph if module_call_graph is None else list(module_call_graph),
        example_inputs=program.example_inputs,
        constants=program.constants if constants is None else dict(constants),
        verifiers=[program.verifier],
    )


def read_pte(data: bytes, path: str) -> Program:
    """The program in a .pte, with its constants.

    Raises:
        ModelError: it is none.
    """
    # Upstream: deserialize_pte_binary, of which executorch has nothing public. Holds for executorch 1.5.1;
    # tests/simulators/test_planned_program.py::test_a_file_is_a_function fails when it is gone.
    try:
        program: Program = deserialize_pte_binary(data).program
    except Exception as error:  # of several types, as the file is
        raise ModelError(f"{path!r} is no .pte that can be read: {type(error).__name__}: {error}.") from error
    return program


def without_inputs(program: ExportedProgram, names: Collection[str]) -> ExportedProgram:
    """A delegate's program that is called without these of its inputs, whose placeholders its graph has no more."""
    specs = program.graph_signature.input_specs
    signature = ExportGraphSignature(
        [spec for spec in specs if spec.arg.name not in names], program.graph_signature.output_specs
    )
    _, in_spec = tree_flatten((tuple(0 for _ in signature.user_inputs), {}))
    entries = [
        dataclasses.replace(entry, signature=dataclasses.replace(entry.signature, in_spec=in_spec))
        if entry.fqn == "" and entry.signature is not None
        else entry
        for entry in program.module_call_graph
    ]
    return rebuilt(program, state_dict=program.state_dict, signature=signature, module_call_graph=entries)


class EmittedProgram:
    """The program that a session emitted, with what goes into its .pte beside it.

    Attributes:
        program: the flatbuffer's content, delegates' payloads inline.
    """

    def __init__(self, session: ExportSession) -> None:
        # Upstream: ExecutorchProgramManager._emitter_output has the constants, and no public property gives them. Holds
        # for executorch 1.5.1; tests/sweeping/test_retarget.py compares bytes with fresh exports, and
        # tests/upstream/test_private_names.py::test_the_emitter_s_output_is_private fails when it can go.
        manager = session.get_executorch_program_manager()
        self._output = manager._emitter_output
        self._serializer = manager._data_serializer
        self._named_data = manager._named_data
        self._config = from_context(session, "export_recipe").executorch_backend_config
        self.program: Program = self._output.program

    def serialized(self, program: Program) -> bytes:
        """The .pte with `program` in the place of its own."""
        output = dataclasses.replace(self._output, program=program)
        pte, _ = serialize_for_executorch(output, self._config, self._serializer, self._named_data)
        return bytes(pte)
