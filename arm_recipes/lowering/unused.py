"""What upstream's Cortex-M passes leave behind in a program although nothing needs it."""

from __future__ import annotations

from executorch.exir.pass_base import ExportedProgramPassBase, ExportedProgramPassResult
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind
from torch.fx import Node

from arm_recipes.upstream.private import CLONE_DIM_ORDER, edge_operators
from arm_recipes.upstream.programs import rebuilt

_CONSTANTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)

_CLONES = (edge_operators.aten.clone.default, CLONE_DIM_ORDER)


class DropCopies(ExportedProgramPassBase):
    """Removes copies that change nothing, such as dropout leaves in eval mode. Outputs stay the same."""

    def call(self, exported_program: ExportedProgram) -> ExportedProgramPassResult:
        graph = exported_program.graph
        mutated = _mutated(exported_program.graph_signature)
        for node in list(graph.nodes):
            if node.target in _CLONES and _changes_nothing(node, mutated):
                node.replace_all_uses_with(node.all_input_nodes[0])
                graph.erase_node(node)
        exported_program.graph_module.recompile()
        return ExportedProgramPassResult(exported_program, modified=True)


class DropUnusedConstants(ExportedProgramPassBase):
    """Removes constants that no operator reads.

    Outputs stay the same. The dicts of the program's tensors are made anew: earlier stages' programs share the old.
    """

    def call(self, exported_program: ExportedProgram) -> ExportedProgramPassResult:
        graph = exported_program.graph
        mutated = _mutated(exported_program.graph_signature)
        unread = {node.name for node in graph.find_nodes(op="placeholder") if not node.users} - mutated
        specs = [
            spec
            for spec in exported_program.graph_signature.input_specs
            if not (spec.kind in _CONSTANTS and spec.arg.name in unread)
        ]
        kept = {spec.arg.name for spec in specs}
        for node in graph.find_nodes(op="placeholder"):
            if node.name not in kept:
                graph.erase_node(node)
        exported_program.graph_module.recompile()

        targets = {spec.target for spec in specs}
        return ExportedProgramPassResult(
            rebuilt(
                exported_program,
                state_dict={name: value for name, value in exported_program.state_dict.items() if name in targets},
                constants={name: value for name, value in exported_program.constants.items() if name in targets},
                signature=ExportGraphSignature(specs, exported_program.graph_signature.output_specs),
            ),
            modified=True,
        )


def _mutated(signature: ExportGraphSignature) -> set[str]:
    """Names of the placeholders whose tensors the program writes to."""
    targets = {*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()}
    return {spec.arg.name for spec in signature.input_specs if {spec.target, spec.arg.name} & targets}


def _changes_nothing(clone: Node, mutated: set[str]) -> bool:
    """Whether what reads `clone` could read what it copies."""
    source = clone.all_input_nodes[0]
    if source.name in mutated or any(user.op == "output" for user in clone.users):
        return False
    before, after = source.meta["val"], clone.meta["val"]
    return bool(before.dtype == after.dtype and before.stride() == after.stride())
