"""Delegates compiled once more: for what their compilers say of them, and to see whether they come out the same."""

from __future__ import annotations

import copy
import logging
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref

from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
from executorch.exir.backend.backend_api import to_backend
from executorch.exir.lowered_backend_module import LoweredBackendModule
from torch.export import ExportedProgram

from arm_recipes.errors import LoweringError
from arm_recipes.tools import vgf
from arm_recipes.tools.border_tables import Tables
from arm_recipes.tools.vela import printed_to_log
from arm_recipes.tools.vela.compiler import WITH_LAYERS, Compiled, VelaFailure, compile_graph
from arm_recipes.tools.vela.estimates import Origin
from arm_recipes.tools.vela.payload import tables as vela_tables

from . import tosa_graphs
from .compile_specs import parse_compile_spec, vela_flags
from .lowered_graphs import WITHOUT_SPACES, LoweredGraph, files_in, look, take, with_new_folder

ARM_BACKENDS = ("TOSABackend", "EthosUBackend", "VgfBackend")


class Recompiled:
    """A delegate of one of `ARM_BACKENDS`, lowered and compiled once more from its own program, which stays as it is.

    Each part is made when it is first asked for, and kept: lowering takes nearly half of the time of an export.
    """

    def __init__(self, module: LoweredBackendModule, lowered: LoweredGraph | None = None) -> None:
        """
        Args:
            module: the delegate.
            lowered: what its own lowering kept, which then need not be done again.
        """
        self._module = ref(module)  # which this must not keep from going
        self._lowered = lowered
        self._spec: ArmCompileSpec = parse_compile_spec(module.compile_specs)

    @property
    def module(self) -> LoweredBackendModule:
        """The delegate."""
        module = self._module()
        assert module is not None, "the delegate is gone"
        return module

    @property
    def graph(self) -> bytes:
        """The TOSA flatbuffer that `payload` is made of. A TOSA delegate's own payload is its flatbuffer."""
        if self.module.backend_id == "TOSABackend":
            return bytes(self.module.processed_bytes)
        if self._lowered is not None:
            return self._lowered.tosa
        return self._with_origins if self.module.backend_id == "EthosUBackend" else self._run_again[0]

    @cached_property
    def origins(self) -> dict[str, Origin]:
        """Where the operators of the graph come from, by the name of the tensor that they make."""
        if self._lowered is not None:
            return tosa_graphs.origins_by_node(self._lowered.tosa, self._lowered.origins)
        return tosa_graphs.origins(self._with_origins)

    @cached_property
    def border(self) -> frozenset[str]:
        """Names of the tensors that are made by transposing an input of the delegate, or what becomes an output."""
        return tosa_graphs.border(self._with_origins if self._lowered is None else self._lowered.tosa)

    @property
    def payload(self) -> bytes:
        """What the delegate's compiler makes of it now."""
        if self.module.backend_id == "EthosUBackend":
            return self.compiled.payload
        return self._run_again[1] if self._lowered is None else self._converted

    @cached_property
    def compiled(self) -> Compiled:
        """What Vela makes of an Ethos-U delegate's `graph`, with its estimates and layers."""
        try:
            return compile_graph(self.graph, [*vela_flags(self._spec), WITH_LAYERS])
        except VelaFailure as failure:
            raise self._failed(failure) from failure

    @property
    def reproduced(self) -> bool:
        """Whether `payload` is the delegate's own."""
        return self.payload == bytes(self.module.processed_bytes)

    def check_reproduced(self, purpose: str, otherwise: str) -> None:
        """
        Args:
            purpose: what it is compiled again for, for the message.
            otherwise: how to do without.

        Raises:
            LoweringError: the delegate came out different.
        """
        self._check(self.payload, purpose, otherwise)

    def write_files(self, folder: Path) -> None:
        """Write what the delegate's compiler has in between: TOSA graphs, Vela's output, .vgf files.

        Raises:
            LoweringError: the delegate came out different, or can't be compiled again.
        """
        with tempfile.TemporaryDirectory(prefix=WITHOUT_SPACES) as work:
            self._check(self._compile_in(work), "intermediate files", "leave the intermediate files out")
            shutil.copytree(work, folder, dirs_exist_ok=True)

    @cached_property
    def _with_origins(self) -> bytes:
        """The TOSA flatbuffer with where each operator comes from, which changes nothing of what Vela makes of it."""
        from executorch.backends.arm.tosa.backend import TOSABackend

        # Upstream: TOSABackend._preprocess, as preprocess takes a debug mode only with a folder to dump to. Holds for
        # executorch 1.5.1; tests/upstream/test_private_names.py::test_debug_info_needs_a_folder fails when it can go.
        spec: Any = TOSABackend.filter_tosa_compile_specs(self._spec)
        spec.dump_debug_info(ArmCompileSpec.DebugMode.TOSA)
        try:
            return bytes(TOSABackend._preprocess(copy.deepcopy(self.module.original_module), spec).processed_bytes)
        except (Exception, SystemExit) as error:
            raise self._failed(error) from error

    @cached_property
    def _converted(self) -> bytes:
        """What becomes of the flatbuffer that the lowering kept, for backends other than Ethos-U."""
        assert self._lowered is not None
        if self.module.backend_id == "TOSABackend":
            return self._lowered.tosa
        # Upstream: VgfBackend._compile_tosa_flatbuffer, as preprocess lowers anew. Holds for executorch 1.5.1;
        # tests/upstream/test_lowered_graphs.py::test_a_graph_is_converted_alone fails when it changes.
        return bytes(_backend(self.module.backend_id)._compile_tosa_flatbuffer(self._lowered.tosa, self._spec))

    @cached_property
    def _run_again(self) -> tuple[bytes, bytes]:
        """The TOSA flatbuffer and the payload of another run of the delegate's backend."""
        with tempfile.TemporaryDirectory(prefix=WITHOUT_SPACES) as work:
            payload = self._compile_in(work)
            (graph,) = Path(work).glob(f"output*_{self._spec.tosa_spec}.tosa")
            return graph.read_bytes(), payload

    def _compile_in(self, folder: str) -> bytes:
        """Run the delegate's backend, which leaves its files in `folder`."""
        specs = [*self.module.compile_specs, files_in(folder)]
        try:
            with printed_to_log(logging.DEBUG):
                program = copy.deepcopy(self.module.original_module)
                return bytes(_backend(self.module.backend_id).preprocess(program, specs).processed_bytes)
        except (Exception, SystemExit) as error:
            raise self._failed(error) from error

    def _check(self, payload: bytes, purpose: str, otherwise: str) -> None:
        own = self.module.processed_bytes
        if payload != own:
            raise LoweringError(
                f"A delegate of {self.module.backend_id}, compiled once more for its {purpose}, came out different "
                f"({len(payload)} bytes instead of {len(own)}): the delegate was changed since, its compiler is "
                f"another, or not deterministic. Export anew, or {otherwise}."
            )

    def _failed(self, error: BaseException) -> LoweringError:
        return LoweringError(
            f"The delegate's program can't be compiled again for {self.module.backend_id}, as it was at export: "
            f"{error}. Was it changed since?"
        )


_recompiled: WeakKeyDictionary[LoweredBackendModule, Recompiled] = WeakKeyDictionary()


def recompiled(module: LoweredBackendModule) -> Recompiled:
    """The delegate compiled once more: one object for each delegate, which goes when the delegate goes."""
    if module not in _recompiled:
        _recompiled[module] = Recompiled(module)
    return _recompiled[module]


def border_tables(module: LoweredBackendModule) -> Tables | None:
    """What the payload of a delegate says that it takes and gives; None for backends other than `ARM_BACKENDS`.

    Raises:
        ToolError: the payload is not of the form that is known here.
    """
    payload = bytes(module.processed_bytes)
    if module.backend_id == "EthosUBackend":
        return vela_tables(payload, _external_data(module))
    if module.backend_id == "VgfBackend":
        return vgf.tables(payload)
    return tosa_graphs.tables(payload) if module.backend_id == "TOSABackend" else None


def _external_data(module: LoweredBackendModule) -> dict[str, bytes]:
    stored = module.named_data_store_output
    if stored is None:
        return {}
    entries = dict(stored.pte_data)
    for named in stored.external_data.values():
        entries.update(named)
    return {key: bytes(stored.buffers[entry.buffer_index]) for key, entry in entries.items()}


def tosa_graph(module: LoweredBackendModule) -> bytes:
    """The TOSA flatbuffer of a delegate of which the export may not be done yet."""
    lowered = look(module)
    return lowered.tosa if lowered is not None else recompiled(module).graph


def program_of(module: LoweredBackendModule) -> ExportedProgram:
    """A copy of the program that a delegate was made of, on the same parameters and buffers."""
    program: ExportedProgram = copy.deepcopy(module).original_module
    return program


_PRINTED = "arm_recipes.vela_printed"


def lowered_again(module: LoweredBackendModule, program: ExportedProgram) -> LoweredBackendModule:
    """A delegate of the same backend and compile specs for another program. What Vela prints is kept with it."""
    with printed_to_log(logging.DEBUG) as printed:
        lowered: LoweredBackendModule = to_backend(module.backend_id, program, with_new_folder(module.compile_specs))
    lowered.meta = {**(lowered.meta or {}), _PRINTED: printed.getvalue()}
    return lowered


def vela_printed(module: LoweredBackendModule) -> str | None:
    """What Vela printed for a delegate of `lowered_again`; None for others."""
    printed: str | None = (module.meta or {}).get(_PRINTED)
    return printed


def keep_lowered(module: LoweredBackendModule) -> None:
    """Let `recompiled` know what the delegate's lowering kept, if it did. Call it within `lowered_graphs.keeping`."""
    lowered = take(module)
    if lowered is not None:
        _recompiled[module] = Recompiled(module, lowered)


def _backend(name: str) -> Any:
    """Upstream's backend. Imported on demand: each brings libraries of its own."""
    if name == "TOSABackend":
        from executorch.backends.arm.tosa.backend import TOSABackend

        return TOSABackend
    if name == "EthosUBackend":
        from executorch.backends.arm.ethosu import EthosUBackend

        return EthosUBackend
    from executorch.backends.arm.vgf import VgfBackend

    return VgfBackend
