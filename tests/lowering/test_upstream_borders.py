"""What executorch's parts and Vela alone make of borders: each test fails when upstream mends it, and a cure can go."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import torch
from executorch.backends.arm.ethosu import EthosUCompileSpec, EthosUPartitioner
from executorch.backends.arm.quantizer import EthosUQuantizer, get_symmetric_quantization_config
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from executorch.exir.lowered_backend_module import get_lowered_submodules
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from tests import bordering_models as networks
from tests.models import Example


def _lowered(example: Example) -> list[tuple[Any, Any, int, int]]:
    """Of each delegate what the program hands to it and takes from it, and how many Vela lists of each."""
    spec = EthosUCompileSpec("ethos-u55-128")
    quantizer = EthosUQuantizer(spec)
    quantizer.set_global(get_symmetric_quantization_config())
    captured = torch.export.export(example.model, example.inputs).module(check_guards=False)
    prepared = prepare_pt2e(captured, quantizer)
    prepared(*example.inputs)
    program = torch.export.export(convert_pt2e(prepared), example.inputs)
    config = EdgeCompileConfig(_check_ir_validity=False)
    edge = to_edge_transform_and_lower(program, partitioner=[EthosUPartitioner(spec)], compile_config=config)
    graph_module = edge.exported_program().graph_module
    found = []
    for _, module, node in get_lowered_submodules(graph_module):
        payload = module.processed_bytes
        counts = [
            struct.unpack_from("<i", payload, payload.index(name.ljust(16, b"\0")) + 32)[0]
            for name in (b"inputs", b"outputs")
        ]
        found.append((node.args[1:], node.meta["val"], *counts))
    return found


def test_vela_loses_an_output() -> None:
    ((_, outputs, _, listed),) = _lowered(networks.map_and_head())
    assert (len(outputs), listed) == (2, 1)


@pytest.mark.no_cover
def test_an_exit_is_declared_float() -> None:
    (_, outputs, _, listed), _ = _lowered(networks.masked_attention())
    assert (len(outputs), listed) == (2, 2)
    assert torch.float32 in {output.dtype for output in outputs}  # and U55 knows no floats


def test_an_input_is_left_out() -> None:
    ((inputs, _, listed, _),) = _lowered(networks.shape_alone())
    assert (len(inputs), listed) == (2, 1)
