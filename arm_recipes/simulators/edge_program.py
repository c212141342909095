"""A lowered program as plain data: a list of operator calls that runs here, or in a process that gets it as text.

An argument is a number, text or None as it stands, a list of arguments, or one of ``{"value": name}`` (of a step or
input), ``{"torch": "int8"}`` (a dtype, layout or memory format), ``{"device": "cpu"}``, ``{"delegate": name}`` and
``{"body": name}`` (of a branch or loop).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from arm_recipes.errors import SimulationError
from arm_recipes.simulators.device_arithmetic import KERNELS
from arm_recipes.simulators.worker.messages import Arrays
from arm_recipes.upstream.graphs import operator_of

if TYPE_CHECKING:
    from arm_recipes.lowering.snapshot import Snapshot

Delegate = Callable[[str, Sequence[Tensor]], Sequence[Tensor]]
Watch = Callable[[str, Any], None]

_BODY = "body of "  # before the name of one among values, which have none with spaces
_TORCH = (torch.dtype, torch.layout, torch.memory_format)


@dataclass(frozen=True)
class Step:
    """One call of an operator, e.g. ``cortex_m.quantized_conv2d.default``; or ``getitem``, ``alloc``, ``delegate``."""

    name: str
    operator: str
    arguments: list[Any]
    keywords: dict[str, Any]


@dataclass(frozen=True)
class Input:
    """What the program takes. `order` is the dimensions from the outermost in memory to the innermost."""

    name: str
    shape: list[int]
    order: list[int]
    dtype: str


@dataclass(frozen=True)
class Program:
    """A lowered program. `outputs` are arguments; `tensors` are parameters, buffers and constants by name; `bodies` are
    those of branches and loops."""

    inputs: list[Input]
    steps: list[Step]
    outputs: list[Any]
    tensors: dict[str, Tensor]
    bodies: dict[str, Program] = field(default_factory=dict)


def program_of(snapshot: Snapshot) -> Program:
    """The program of a kept graph.

    Raises:
        SimulationError: it keeps state between calls, or has a delegate in a branch or loop.
    """
    refuse_state(snapshot.signature)
    signature = snapshot.signature
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    stored |= signature.inputs_to_lifted_tensor_constants
    return _program(snapshot.graph, snapshot.modules, stored, snapshot.tensors)


def _program(graph: torch.fx.Graph, modules: Mapping[str, Any], stored: Mapping[str, str], tensors: Any) -> Program:
    inputs, steps, constants = [], [], {}
    outputs: list[Any] = []
    bodies = {name: _body(module) for name, module in modules.items() if isinstance(module, torch.fx.GraphModule)}
    delegates = modules.keys() - bodies.keys()
    for node in graph.nodes:
        if node.op == "placeholder" and node.name in stored:
            constants[node.name] = tensors[stored[node.name]]
        elif node.op == "placeholder":
            inputs.append(_input(node))
        elif node.op == "call_function":
            arguments, keywords = (_plain(node.args, bodies), _plain(node.kwargs, bodies))
            steps.append(Step(node.name, _operator_name(node.target), arguments, keywords))
        elif node.op == "output":
            outputs = _plain(node.args[0], bodies)
        elif node.op != "get_attr" or node.target not in (*delegates, *bodies):
            raise SimulationError(f"The program holds {node.op} {node.target}, which no simulator runs.")
    return Program(inputs, steps, outputs, constants, bodies)


def _body(module: torch.fx.GraphModule) -> Program:
    names = [str(node.target) for node in module.graph.find_nodes(op="get_attr")]
    modules = {name: getattr(module, name, None) for name in names}
    if any(not isinstance(each, torch.fx.GraphModule) for each in modules.values()):
        raise SimulationError(
            "The program has a delegate in a branch or loop, which no simulator runs. Let all of it be delegated, "
            "or none."
        )
    return _program(module.graph, modules, {}, {})


def refuse_state(signature: Any) -> None:
    """
    Raises:
        SimulationError: the program of this signature keeps state between calls, or writes to its inputs.
    """
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise SimulationError(
            "The program keeps state between calls, or writes to its inputs, so that samples are not independent, and "
            "can't be verified. Let the model take its state as an input and give it as an output."
        )


def run(
    program: Program, inputs: Sequence[Tensor], delegate: Delegate | None = None, watch: Watch | None = None
) -> list[Tensor]:
    """Run in eager mode, delegates by `delegate(name, inputs)`. `watch` is told what each step gives, by name."""
    values: dict[str, Any] = {**program.tensors, **{_BODY + name: body for name, body in program.bodies.items()}}
    values |= {spec.name: _in_order(value, spec) for spec, value in zip(program.inputs, inputs, strict=True)}
    with torch.no_grad():
        for step in program.steps:
            arguments = [_actual(argument, values) for argument in step.arguments]
            keywords = {name: _actual(argument, values) for name, argument in step.keywords.items()}
            if step.operator == "delegate":
                assert delegate is not None
                values[step.name] = delegate(arguments[0], arguments[1:])
            elif step.operator in _CONTROL_FLOW:
                values[step.name] = _CONTROL_FLOW[step.operator](*arguments)
            else:
                values[step.name] = _operator(step.operator)(*arguments, **keywords)
            if watch is not None:
                watch(step.name, values[step.name])
    return [_actual(output, values) for output in program.outputs]


def _branch(condition: Any, chosen: Program, other: Program, operands: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(run(chosen if bool(condition) else other, operands))


def _loop(condition: Program, body: Program, carried: Sequence[Any], others: Sequence[Any] = ()) -> tuple[Any, ...]:
    while bool(run(condition, [*carried, *others])[0]):
        carried = run(body, [*carried, *others])
    return tuple(carried)


_CONTROL_FLOW: dict[str, Callable[..., tuple[Any, ...]]] = {"cond": _branch, "while_loop": _loop}


def to_message(program: Program) -> tuple[dict[str, Any], Arrays]:
    """Text and numbers that `from_message` makes the program of. Without delegates."""
    orders, arrays = packed(program.tensors)
    content = {key: value for key, value in asdict(_without_tensors(program)).items() if key != "tensors"}
    return {**content, "orders": orders}, arrays


def from_message(content: dict[str, Any], arrays: Arrays) -> Program:
    """The program that `to_message` made `content` and `arrays` of."""
    return Program(
        [Input(**fields) for fields in content["inputs"]],
        [Step(**fields) for fields in content["steps"]],
        content["outputs"],
        unpacked(content.get("orders", {}), arrays),
        {name: from_message(body, {}) for name, body in content["bodies"].items()},
    )


def packed(tensors: dict[str, Tensor]) -> tuple[dict[str, list[int]], Arrays]:
    """The tensors as arrays in the order of their memory, and that order."""
    orders = {name: list(tensor.dim_order()) for name, tensor in tensors.items()}
    return orders, {name: physical(tensor, orders[name]) for name, tensor in tensors.items()}


def unpacked(orders: dict[str, list[int]], arrays: Arrays) -> dict[str, Tensor]:
    """The tensors that `packed` made `orders` and `arrays` of."""
    return {name: logical(arrays[name], order) for name, order in orders.items()}


def physical(tensor: Tensor, order: Sequence[int]) -> np.ndarray[Any, Any]:
    """The tensor's numbers in memory order `order`."""
    return tensor.detach().permute(list(order)).contiguous().numpy()


def logical(array: np.ndarray[Any, Any], order: Sequence[int]) -> Tensor:
    """The reverse: a tensor that lies in memory in `order`."""
    return torch.from_numpy(array).permute(inverse(order))


def declared_inputs(snapshot: Snapshot) -> list[Tensor]:
    """What a program takes, in order, as fake tensors."""
    nodes = {node.name: node for node in snapshot.graph.find_nodes(op="placeholder")}
    return [nodes[str(name)].meta["val"] for name in snapshot.signature.user_inputs]


def declared_outputs(snapshot: Snapshot) -> list[Tensor]:
    """What it gives."""
    outputs: Any = snapshot.graph.output_node().args[0]
    return [node.meta["val"] for node in outputs]


def read_back(data: bytes, declared: Sequence[Tensor], simulator: str) -> list[Tensor]:
    """The tensors of a program's outputs, whose bytes come one after the other.

    Raises:
        SimulationError: there are not as many bytes.
    """
    sizes = [value.numel() * value.element_size() for value in declared]
    if len(data) != sum(sizes):
        raise SimulationError(f"{simulator} left {len(data):,} bytes of outputs of {sum(sizes):,}.")
    values, begin = [], 0
    for value, size in zip(declared, sizes, strict=True):
        order = value.dim_order()
        shape = [int(value.shape[dimension]) for dimension in order]
        dtype = torch.empty(0, dtype=value.dtype).numpy().dtype
        values.append(logical(np.frombuffer(data[begin : begin + size], dtype).reshape(shape).copy(), order))
        begin += size
    return values


def inverse(order: Sequence[int]) -> list[int]:
    """The permutation that undoes `order`."""
    return sorted(range(len(order)), key=lambda dimension: order[dimension])


def _without_tensors(program: Program) -> Program:
    return Program(program.inputs, program.steps, program.outputs, {}, program.bodies)


def _input(node: torch.fx.Node) -> Input:
    value = node.meta["val"]
    if not isinstance(value, Tensor):
        raise SimulationError(
            f"Input {node.name} is no tensor, which no simulator takes. Leave it to the model's default."
        )
    dtype = str(value.dtype).removeprefix("torch.")
    return Input(node.name, [int(size) for size in value.shape], list(value.dim_order()), dtype)


def _in_order(value: Tensor, spec: Input) -> Tensor:
    return value.permute(spec.order).contiguous().permute(inverse(spec.order))


def _operator_name(target: Any) -> str:
    name = getattr(target, "__name__", "")
    if target is operator.getitem or name in ("executorch_call_delegate", "alloc", *_CONTROL_FLOW):
        return {"executorch_call_delegate": "delegate"}.get(name, name)
    return str(operator_of(target) or target)


def _operator(name: str) -> Callable[..., Any]:
    if name == "getitem":
        return operator.getitem
    if name == "alloc":
        return _alloc
    if name in KERNELS:
        return KERNELS[name]
    namespace, packet, overload = name.split(".")
    operator_overload: Callable[..., Any] = getattr(getattr(getattr(torch.ops, namespace), packet), overload)
    return operator_overload


def _alloc(spec: Any) -> Any:
    """Scratch memory, of (shape, dtype) or of several such."""
    if isinstance(spec[1], torch.dtype):
        return torch.empty(spec[0], dtype=spec[1])
    return [_alloc(tensor) for tensor in spec]


def _plain(argument: Any, bodies: Mapping[str, Program]) -> Any:
    if isinstance(argument, torch.fx.Node):
        if argument.op == "get_attr":
            return {"body" if argument.target in bodies else "delegate": argument.target}
        return {"value": argument.name}
    if isinstance(argument, (list, tuple)):
        return [_plain(element, bodies) for element in argument]
    if isinstance(argument, dict):
        return {name: _plain(value, bodies) for name, value in argument.items()}
    if isinstance(argument, _TORCH):
        return {"torch": str(argument).removeprefix("torch.")}
    if isinstance(argument, torch.device):
        return {"device": str(argument)}
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return argument
    raise SimulationError(f"The program has an argument of type {type(argument).__name__}, which no simulator takes.")


def _actual(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, list):
        return [_actual(element, values) for element in argument]
    if not isinstance(argument, dict):
        return argument
    ((kind, name),) = argument.items()
    if kind in ("value", "body"):
        return values[name if kind == "value" else _BODY + name]
    if kind == "torch":
        return getattr(torch, name)
    return torch.device(name) if kind == "device" else name
