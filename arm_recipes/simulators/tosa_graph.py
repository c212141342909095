"""The TOSA graph of a delegate: the one its compiler was handed, where its operators come from, and its tensors."""

from __future__ import annotations

import contextlib
import copy
import io
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers.number_types
from executorch.exir.lowered_backend_module import LoweredBackendModule
from tosa.Op import Op

from arm_recipes.errors import SimulationError
from arm_recipes.upstream import delegates


@dataclass(frozen=True)
class Produced:
    """A tensor of a TOSA graph that an operator other than CONST gives."""

    name: str
    computes: bool


def tosa_graph(module: LoweredBackendModule) -> tuple[bytes, bool]:
    """The TOSA flatbuffer that a delegate was made of.

    Upstream's backend is run again on the delegate's own program, and leaves the flatbuffer in a folder: for Ethos-U
    and VGF the payload is what Vela and model-converter made of it. A TOSA delegate's payload is its flatbuffer.

    Returns:
        The flatbuffer, and whether this run gave the payload's very bytes.

    Raises:
        SimulationError: the delegate is not of one of Arm's backends, or can't be compiled again.
    """
    graph, payload = _compiled_again(module)
    if module.backend_id == "TOSABackend":
        graph = module.processed_bytes
    return graph, payload == module.processed_bytes


def tensor_origins(module: LoweredBackendModule) -> dict[str, tuple[str, ...]]:
    """Where the tensors of a delegate's TOSA graph come from: names of nodes, by the tensor's name."""
    _, specs = _backend(module.backend_id)
    origins = delegates.tosa_graph(module, specs._from_list(module.compile_specs)).origins
    return {tensor: origin.nodes for tensor, origin in origins.items()}


def with_all_outputs(graph: bytes) -> tuple[bytes, list[str], list[Produced]]:
    """The graph with every tensor that an operator gives as a further output.

    Returns:
        The flatbuffer, the names of its outputs (the graph's own come first), and the tensors in the order in which
        they are computed.
    """
    block = next(delegates.basic_blocks(graph))
    names = [block.Outputs(index).decode() for index in range(block.OutputsLength())]
    produced = []
    for operator in map(block.Operators, range(block.OperatorsLength())):
        if operator.Op() not in (Op.CONST, Op.CONST_SHAPE) and operator.OutputsLength():
            produced.append(Produced(operator.Outputs(0).decode(), operator.Op() not in delegates.MOVES))
    names += [tensor.name for tensor in produced if tensor.name not in names]
    return _with_outputs(graph, block, names), names, produced


def _with_outputs(graph: bytes, block: Any, names: list[str]) -> bytes:
    """A flatbuffer's vector can't grow in place: a new one goes behind the end, and the field points to it.

    The schema's field after name, operators, tensors and inputs is the outputs.
    """
    field = block._tab.Pos + flatbuffers.number_types.UOffsetTFlags.py_type(block._tab.Offset(4 + 2 * 4))
    buffer = bytearray(graph)
    buffer += bytes(-len(buffer) % 4)
    vector = len(buffer)
    buffer += struct.pack("<I", len(names)) + bytes(4 * len(names))
    for index, name in enumerate(names):
        slot = vector + 4 + 4 * index
        struct.pack_into("<I", buffer, slot, len(buffer) - slot)
        text = name.encode()
        buffer += struct.pack("<I", len(text)) + text + b"\0"
        buffer += bytes(-len(buffer) % 4)
    struct.pack_into("<I", buffer, field, vector - field)
    return bytes(buffer)


def _compiled_again(module: LoweredBackendModule) -> tuple[bytes, bytes]:
    """The TOSA flatbuffer and the payload of another run of the delegate's backend, which works on a copy."""
    backend, specs = _backend(module.backend_id)
    spec = specs._from_list(module.compile_specs)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):  # Vela prints
        spec.dump_intermediate_artifacts_to(folder)
        try:
            payload = backend.preprocess(copy.deepcopy(module.original_module), spec._to_list()).processed_bytes
        except (Exception, SystemExit) as error:
            raise SimulationError(
                f"The delegate's program can't be compiled again for {module.backend_id}, as it was at export: {error}."
                " Was it changed since?"
            ) from error
        (written,) = Path(folder).glob(f"output*_{spec.tosa_spec}.tosa")
        return written.read_bytes(), payload


def _backend(name: str) -> tuple[Any, Any]:
    """Upstream's backend and the class of its compile spec. Imported on demand: each brings libraries of its own."""
    if name == "TOSABackend":
        from executorch.backends.arm.tosa.backend import TOSABackend
        from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec

        return TOSABackend, TosaCompileSpec
    if name == "EthosUBackend":
        from executorch.backends.arm.ethosu import EthosUBackend, EthosUCompileSpec

        return EthosUBackend, EthosUCompileSpec
    if name == "VgfBackend":
        from executorch.backends.arm.vgf import VgfBackend, VgfCompileSpec

        return VgfBackend, VgfCompileSpec
    raise SimulationError(
        f"The program has a delegate of {name}, which no simulator here runs. Allowed: TOSABackend, EthosUBackend, "
        "VgfBackend. Export without that backend to verify the Arm part."
    )
