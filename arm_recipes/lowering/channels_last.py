"""Memory layout: CMSIS-NN's convolutions and poolings read NHWC, everybody's models and inputs are NCHW.

executorch's Cortex-M quantizer accepts only convolutions whose tensors are torch.channels_last. The passes here bring
the captured graph there, in copies: the caller's modules and tensors keep their strides. "Layout" means that of
rank-4 tensors; others have but one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from executorch.backends.cortex_m.passes.passes_utils import is_channels_last
from executorch.exir.pass_manager import PassType
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import Argument
from torch.utils.hooks import RemovableHandle

from arm_recipes.errors import ModelError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.upstream.private import FakeTensor, FakeTensorMode, tree_map_only

from .checks import dynamic_dimensions, refuse_dynamic

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_AXES = {"contiguous": "NCHW", "channels_last": "NHWC"}

_NHWC_READERS = (
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv_transpose2d.input,
    torch.ops.aten.avg_pool2d.default,
    torch.ops.aten.adaptive_avg_pool2d.default,
    torch.ops.aten.max_pool2d.default,
)


def in_layout(inputs: Any, io_layout: str) -> Any:
    """Return `inputs`, a tree, with its rank-4 tensors in `io_layout`; those that are not are copied."""
    # A tensor with one channel counts as both, with the strides of one. Unlike .contiguous(), .to() sets them.
    memory_format = MEMORY_FORMATS[io_layout]
    return tree_map_only(Tensor, lambda x: x.to(memory_format=memory_format) if x.dim() == 4 else x, inputs)


def lay_out_for_quantizer(io_layout: str) -> Callable[[GraphModule], GraphModule]:
    """Make the pass that puts the captured graph's weights and activations into channels_last.

    Where the program takes and gives NCHW, a clone of each rank-4 float input brings it into channels_last, and one of
    each rank-4 output brings it back. In any case a clone brings there what comes to a convolution or pooling in
    another layout from within the model, reshaped for instance. A clone is quantized as any other operator is, so that
    on the device it copies int8.
    """

    def lay_out(captured: GraphModule) -> GraphModule:
        _own_weights(captured)
        placeholders = captured.graph.find_nodes(op="placeholder")
        inputs = [in_layout(placeholder.meta["val"], io_layout) for placeholder in placeholders]
        if io_layout == "contiguous":
            for placeholder in filter(_is_rank4_float, placeholders):
                # In the graph's order, which that of `placeholder.users` need not be.
                users = [node for node in captured.graph.nodes if node in placeholder.users]
                users = [user for user in users if user.op == "call_function"]
                _clone(placeholder, users, "channels_last")
        _Relayout(captured).run(*inputs)
        while (node := next(_out_of_layout(captured), None)) is not None:
            _clone(node.all_input_nodes[0], [node], "channels_last")
            _Relayout(captured).run(*inputs)
        if io_layout == "contiguous":
            output = captured.graph.output_node()
            for node in output.all_input_nodes:
                if not _contiguous(node):
                    _clone(node, [output], "contiguous")
            _Relayout(captured).run(*inputs)
        captured.recompile()
        return captured

    return lay_out


def calibrate_in_layout(
    io_layout: str,
) -> tuple[Callable[[GraphModule], GraphModule], Callable[[GraphModule], GraphModule]]:
    """Make the passes for before and after calibration that hand the prepared model its inputs in `io_layout`.

    Float convolutions round differently in each layout, which would show in the scales.
    """
    hooks: dict[GraphModule, RemovableHandle] = {}

    def convert(_: nn.Module, args: tuple[Any, ...]) -> Any:
        return in_layout(args, io_layout)

    def begin(prepared: GraphModule) -> GraphModule:
        hooks[prepared] = prepared.register_forward_pre_hook(convert)
        return prepared

    def end(prepared: GraphModule) -> GraphModule:
        hooks.pop(prepared).remove()
        return prepared

    return begin, end


def declare_inputs(recipe: Recipe, io_layout: str) -> Callable[[str, ExportedProgram], ExportedProgram]:
    """Make the pass that captures a quantized program again where its inputs are not in `io_layout`.

    The session captures with the example inputs, NCHW as a rule. A program that then declares NCHW over kernels made
    for NHWC computes garbage from what it is fed.

    Raises:
        ModelError (the pass does): shapes are dynamic.
    """

    def declare(method: str, program: ExportedProgram) -> ExportedProgram:
        refuse_dynamic(recipe, method, dynamic_dimensions(program))  # capturing again would fix them in silence
        inputs = _rank4_inputs(program)
        if all(in_layout(node.meta["val"], io_layout).stride() == node.meta["val"].stride() for node in inputs):
            return program
        args, kwargs = in_layout(program.example_inputs, io_layout)
        return torch.export.export(program.module(check_guards=False), args, kwargs, strict=True)

    return declare


class InputCheck:
    """An edge transform callable that asks for no passes. Refuses a program whose inputs the recipe can't promise.

    What the session captures passes; ready-made ExportedPrograms may not.
    """

    def __init__(self, recipe: Recipe, io_layout: str) -> None:
        self._recipe = recipe
        self._io_layout = io_layout

    def __call__(self, method: str, program: ExportedProgram) -> list[PassType]:
        for node in _rank4_inputs(program):
            if not node.meta["val"].is_contiguous(memory_format=MEMORY_FORMATS[self._io_layout]):
                other = next(name for name in MEMORY_FORMATS if name != self._io_layout)
                raise ModelError(
                    f"{self._recipe.name}: input {node.name!r} of method {method!r} is not {self._io_layout} "
                    f"({_AXES[self._io_layout]}), as io_layout={self._io_layout!r} promises; its strides are "
                    f"{tuple(node.meta['val'].stride())}. Layouts are changed only while an nn.Module is captured: "
                    f"give the nn.Module, or io_layout={other!r} if the program is meant to take {_AXES[other]}."
                )
        return []


def _rank4_inputs(program: ExportedProgram) -> Iterator[Node]:
    names = program.graph_signature.user_inputs
    for node in program.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if node.name in names and isinstance(value, Tensor) and value.dim() == 4:
            yield node


def _is_rank4_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dim() == 4 and value.is_floating_point()


def _own_weights(graph_module: GraphModule) -> None:
    """Give the captured graph tensors of its own where it has the caller's, the rank-4 ones in channels_last.

    Calibration may write to buffers. And that a parameter requires a gradient would stand in the .pte.
    """
    own: dict[Tensor, Tensor] = {}
    for module in graph_module.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter not in own:
                own[parameter] = nn.Parameter(in_layout(parameter.detach(), "channels_last"), requires_grad=False)
            setattr(module, name, own[parameter])
        for name, buffer in list(module.named_buffers(recurse=False, remove_duplicate=False)):
            if buffer not in own:
                own[buffer] = in_layout(buffer, "channels_last").clone()
            setattr(module, name, own[buffer])


def _out_of_layout(graph_module: GraphModule) -> Iterator[Node]:
    for node in graph_module.graph.nodes:
        if node.target in _NHWC_READERS and not _reads_channels_last(node):
            yield node


def _reads_channels_last(node: Node) -> bool:
    source = node.args[0]
    value = source.meta.get("val") if isinstance(source, Node) else None
    return not isinstance(value, Tensor) or value.dim() != 4 or is_channels_last(value)


def _contiguous(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or value.dim() != 4 or value.is_contiguous()


def _clone(source: Node, users: list[Node], layout: str) -> None:
    """Let `users`, in the order of the graph, read a clone of `source` in `layout`."""
    if not users:
        return
    graph = source.graph
    with graph.inserting_before(users[0]):
        memory_format: dict[str, Argument] = {"memory_format": MEMORY_FORMATS[layout]}
        clone = graph.call_function(torch.ops.aten.clone.default, (source,), memory_format)
    clone.meta["nn_module_stack"] = users[0].meta.get("nn_module_stack", {})
    for user in users:
        user.replace_input_with(source, clone)


class _Relayout(Interpreter):
    """Works out every node's fake value anew; run it with those of the placeholders."""

    def __init__(self, graph_module: GraphModule) -> None:
        super().__init__(graph_module)
        modes = (
            node.meta["val"].fake_mode
            for node in graph_module.graph.nodes
            if isinstance(node.meta.get("val"), FakeTensor)
        )
        self._mode: FakeTensorMode = next(modes)

    def run(self, *args: Any) -> Any:  # type: ignore[override]
        with self._mode, torch.no_grad():
            return super().run(*args, enable_io_processing=False)

    def run_node(self, n: Node) -> Any:
        if n.target is torch.ops.aten.view.default and not self.env[n.all_input_nodes[0]].is_contiguous():
            n.target = torch.ops.aten.reshape.default  # it copies where the layout allows no view
        result = super().run_node(n)
        if n.op == "get_attr" and isinstance(result, Tensor):
            result = self._mode.from_tensor(result, static_shapes=True)
        if n.op != "output":
            n.meta["val"] = result
        return result
