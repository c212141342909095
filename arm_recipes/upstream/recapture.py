"""How torch.export captures a model that it captured before: the quantized module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from executorch.export.stages import PipelineArtifact, TorchExportStage
from torch.fx import GraphModule

from .graphs import quantizes

# Upstream: the session's stage has Dynamo go through the code of a graph that Dynamo made (strict). Holds for
# executorch 1.5.1;
# tests/upstream/test_savings.py::test_upstream_captures_by_dynamo_what_dynamo_captured fails when it can go.
run: Callable[[Any, PipelineArtifact], None] = TorchExportStage.run


def run_without_dynamo(stage: Any, artifact: PipelineArtifact) -> None:
    """Upstream's function, which runs a graph to trace it (strict=False) where that gives the same program."""
    shapes = artifact.get_context("dynamic_shapes", {}) or {}
    flat = all(_is_flat(model) and not shapes.get(method) for method, model in artifact.data.items())
    if not stage.strict or not flat:
        run(stage, artifact)
        return
    stage.strict = False
    try:
        run(stage, artifact.copy_with_new_data({method: _used(model) for method, model in artifact.data.items()}))
    finally:
        stage.strict = True
        for model in artifact.data.values():
            model.graph.owning_module = model


def _is_flat(model: Any) -> bool:
    """Whether it is a quantized graph that calls operators only, on its inputs, its parameters and its buffers."""
    if not isinstance(model, GraphModule) or not any(quantizes(node) for node in model.graph.nodes):
        return False
    tensors = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return all(
        node.target in tensors if node.op == "get_attr" else node.op != "call_module" for node in model.graph.nodes
    )


def _used(model: GraphModule) -> GraphModule:
    """The same graph with its tensors alone, in the order in which Dynamo would come upon them."""
    return GraphModule(model, model.graph)
