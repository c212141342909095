"""Files made of a session: the .pte, a bundle with test inputs, an ETRecord, and what the compilers had in between.

All are written whole or not at all: to a temporary name in the same folder, which then takes the place of the real one.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from executorch.devtools import BundledProgram
from executorch.devtools.backend_debug import get_delegation_info
from executorch.devtools.bundled_program.config import MethodTestCase, MethodTestSuite
from executorch.devtools.bundled_program.serialize import serialize_from_bundled_program_to_flatbuffer
from executorch.exir.lowered_backend_module import LoweredBackendModule, get_lowered_submodules
from executorch.export import ExportSession

from arm_recipes.files import replacing, write_whole
from arm_recipes.lowering.integer_io import QuantizedIO, QuantizedTensor, quantized_io
from arm_recipes.upstream.delegates import ARM_BACKENDS, recompiled
from arm_recipes.upstream.partitioner import Verdicts
from arm_recipes.upstream.private import tree_leaves
from arm_recipes.upstream.session import exported_programs, from_context, lowered_graphs, partition_verdicts


def write_pte(session: ExportSession, path: Path) -> None:
    """Write the program."""
    write_whole(path, session.get_pte_buffer())


def write_bundle(session: ExportSession, path: Path) -> None:
    """Write the program with its example inputs, and the outputs that are expected of them: those of the quantized
    module where there is one, as of the exported program; as integers where the program takes and gives those."""
    inputs = from_context(session, "example_inputs")
    integers = quantized_io(session)
    suites = []
    for method, program in exported_programs(session).items():
        module = program.module(check_guards=False)
        io = integers.get(method, QuantizedIO({}, {}))
        cases = []
        for sample in inputs[method]:
            with torch.no_grad():
                outputs = tree_leaves(module(*sample))
            cases.append(
                MethodTestCase(
                    inputs=_as_integers(io.inputs, list(sample)),
                    expected_outputs=_as_integers(io.outputs, outputs),
                )
            )
        suites.append(MethodTestSuite(method_name=method, test_cases=cases))
    bundled = BundledProgram(session.get_executorch_program_manager(), suites)
    write_whole(path, serialize_from_bundled_program_to_flatbuffer(bundled))


def _as_integers(tensors: Mapping[int, QuantizedTensor], values: list[Any]) -> list[Any]:
    """The values as a program with integer inputs and outputs takes and gives them."""
    return [tensors[index].quantize(value) if index in tensors else value for index, value in enumerate(values)]


def write_etrecord(session: ExportSession, path: Path) -> None:
    """Write the ETRecord of a session that was asked to keep one (generate_etrecord=True)."""
    with replacing(path) as file:
        session.get_etrecord().save(file)


def write_intermediates(session: ExportSession, folder: Path) -> None:
    """Write what a program went through, for a look at it or to report a bug with.

    - ``METHOD.pt2``: the exported program before lowering, quantized where it is.
    - ``METHOD.delegation.txt``: the operators inside and outside of delegates, and why the partitioner refused some.
    - ``METHOD.0/``, ``METHOD.1/`` ...: one folder per delegate, with its payload, and what its compiler writes when it
      is asked for its files: TOSA graphs, Vela's output, .vgf files.

    Asking for these while the program is lowered would change the .pte, of which the folder's path would become a part,
    and the delegates would overwrite each other's. So each delegate is compiled once more here.

    Raises:
        LoweringError: a delegate came out differently.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        made = Path(beside) / "intermediates"
        made.mkdir()
        for method, program in exported_programs(session).items():
            saved = io.BytesIO()  # torch's own writing of files ends the process where a disk is full
            torch.export.save(program, saved, pickle_protocol=5)
            (made / f"{method}.pt2").write_bytes(saved.getbuffer())
        verdicts = partition_verdicts(session)
        # Counted before the last stage, which puts nodes of its own into the graph.
        delegation = from_context(session, "delegation_info_by_method") or {}
        for method, graph in lowered_graphs(session).items():
            text = _delegation(delegation.get(method) or get_delegation_info(graph), verdicts)
            (made / f"{method}.delegation.txt").write_text(text, encoding="utf-8")
            for index, (_, module, _) in enumerate(get_lowered_submodules(graph)):
                _write_delegate(module, made / f"{method}.{index}")
        _take_place(made, folder)


def _write_delegate(module: LoweredBackendModule, folder: Path) -> None:
    folder.mkdir()
    (folder / "payload.bin").write_bytes(module.processed_bytes)
    if module.backend_id in ARM_BACKENDS:
        recompiled(module).write_files(folder)


def _delegation(info: Any, verdicts: tuple[Verdicts, ...]) -> str:
    table = info.get_operator_delegation_dataframe().to_string(index=False)
    lines = [info.get_summary().strip(), "", table, ""]
    refused = [each for program in verdicts for each in program if not each.delegated]
    lines += [f"{each.node} ({each.operator}): {each.reason or 'no reason given'}" for each in refused]
    return "\n".join(lines) + "\n"


def _take_place(made: Path, folder: Path) -> None:
    """Put what is in the folder `made` into `folder`, whose other files stay."""
    if not folder.exists():
        made.rename(folder)
        return
    for path in sorted(made.rglob("*")):
        place = folder / path.relative_to(made)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            path.replace(place)
