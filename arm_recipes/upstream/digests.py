"""SHA-256 digests of tensors and programs: the same for equal contents, in any process."""

from __future__ import annotations

import hashlib

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule


def add_to_digest(digest: hashlib._Hash, tensor: torch.Tensor) -> None:
    """Take in a tensor's dtype, shape and bytes."""
    digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
    digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def program_digest(program: ExportedProgram) -> str:
    """Over the nodes of its graphs, with the shapes and dtypes of their values, and over the parameters, buffers and
    constants that it uses."""
    digest = hashlib.sha256()
    for name, module in program.graph_module.named_modules():
        if not isinstance(module, GraphModule):
            continue
        digest.update(f"graph {name}\n".encode())
        for node in module.graph.nodes:
            value = node.meta.get("val")
            made = f"{value.dtype}{list(value.shape)}" if isinstance(value, torch.Tensor) else ""
            digest.update(f"{node.op} {node.name} {node.target} {node.args} {node.kwargs} {made}\n".encode())
    used = {spec.target for spec in program.graph_signature.input_specs}
    for name, tensor in sorted({**program.state_dict, **program.constants}.items()):
        if name in used and isinstance(tensor, torch.Tensor):
            digest.update(name.encode())
            add_to_digest(digest, tensor)
    return digest.hexdigest()
