"""Float: batch norms of neither 3 nor 4 dimensions, as behind a Linear or a Conv3d, are lowered as ones of 3."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from arm_recipes.upstream.graphs import where

from .changes import note
from .records import Change

_aten = torch.ops.aten


def flatten_batch_norms(method: str, program: ExportedProgram) -> ExportedProgram:
    """One of aten_transform_passes: such a batch norm gets [N, C, everything else], and its result its shape again."""
    # Upstream: FuseBatchNorm2dPass. Holds for executorch 1.5.1;
    # tests/lowering/test_batch_norms.py::test_upstream_can_t_lower_it fails when it can go.
    for node in program.graph.find_nodes(op="call_function", target=_aten.batch_norm.default):
        source, shape = node.args[0], list(node.meta["val"].shape)
        if len(shape) in (3, 4):
            continue
        with program.graph.inserting_before(node):
            flat = _reshaped(source, [*shape[:2], node.meta["val"][0, 0].numel()], node)
        node.replace_input_with(source, flat)
        readers = list(node.users)
        node.meta["val"] = flat.meta["val"]
        with program.graph.inserting_after(node):
            result = _reshaped(node, shape, node)
        for reader in readers:
            reader.replace_input_with(node, result)
        what = f"of {len(shape)} dimensions, is lowered as one of 3"
        note(
            program, Change("batch-norm", where(node), what, "executorch puts a convolution of 2 dimensions before it")
        )
    program.graph_module.recompile()
    return program


def _reshaped(source: Node, shape: list[int], layer: Node) -> Node:
    reshaped = source.graph.call_function(_aten.reshape.default, (source, shape))
    kept = ("nn_module_stack", "stack_trace", "source_fn_stack", "from_node")
    reshaped.meta = {key: layer.meta[key] for key in kept if key in layer.meta}
    reshaped.meta["val"] = source.meta["val"].reshape(shape)
    return reshaped
