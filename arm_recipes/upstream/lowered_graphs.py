"""The TOSA graph of each delegate as a lowering makes it, and where its tensors come from.

Upstream keeps neither: a backend hands the graph to Vela or to the model converter and forgets it. Making it again
takes nearly half of an export's time.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import DelegationSpec, Partitioner, PartitionResult
from executorch.exir.lowered_backend_module import LoweredBackendModule
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.passes.infra.pass_base import PassResult

from arm_recipes.tools.vela.estimates import Origin

from .graphs import module_path, origin_of
from .partitioner import Verdict, watched

# Vela's command line is split at spaces, so the compilers work in a folder without any.
WITHOUT_SPACES = "arm_recipes_"

_FOLDER_KEY = "debug_artifact_path"


@dataclass(frozen=True)
class LoweredGraph:
    """What a delegate's backend made between the delegate's program and its payload.

    Attributes:
        tosa: the TOSA flatbuffer.
        origins: where each node of the graph that it was written from comes from, by the node's name; first of the
            delegate's own graph, then of each branch's.
    """

    tosa: bytes
    origins: Sequence[Mapping[str, Origin]]


class _Watch:
    """Within `keeping`: the folder that backends leave their graphs in, and where these graphs' nodes come from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._thread = threading.get_ident()
        self._lowered: list[Path] = []  # the folder of each delegate, in the order in which they were written
        self._origins: list[list[dict[str, Origin]]] = []
        self._stop: Callable[[], None] | None = None

    def start(self) -> None:
        """See every graph that Arm's pass pipeline makes from now on. Loads the pipeline, so only where it is used."""
        if self._stop is None:
            self._stop = _called_last(self._graph)

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()

    def of(self, folder: Path) -> LoweredGraph:
        """What was made of the delegate that was given `folder`."""
        self._written()
        (graph,) = folder.glob("output*.tosa")
        return LoweredGraph(graph.read_bytes(), self._origins[self._lowered.index(folder)])

    def _graph(self, graph_module: GraphModule, whole: bool) -> None:
        """A graph is about to be written: that of a delegate, or after it one of its branches."""
        if threading.get_ident() != self._thread:
            return
        self._written()
        if whole:  # in the place of one of which nothing was written, as it failed or was not meant for here
            self._origins[len(self._lowered) :] = [[]]
        self._origins[-1].append({node.name: _origin(node) for node in graph_module.graph.nodes})

    def _written(self) -> None:
        folders = {path.parent for path in self.folder.glob("*/output*.tosa")}
        self._lowered += sorted(folders.difference(self._lowered))  # one at most


_WATCH: ContextVar[_Watch | None] = ContextVar("arm_recipes_lowered_graphs", default=None)


@contextmanager
def keeping() -> Iterator[None]:
    """Have the delegates that a `KeepingPartitioner` hands over within the context leave their graphs for `take`."""
    with tempfile.TemporaryDirectory(prefix=WITHOUT_SPACES) as folder:
        watch = _Watch(Path(folder))
        token = _WATCH.set(watch)
        try:
            yield
        finally:
            _WATCH.reset(token)
            watch.stop()


class KeepingPartitioner(Partitioner):
    """Upstream's partitioner, which keeps what it decided, and within `keeping` gives each delegate a folder to
    leave its graph in."""

    def __init__(self, partitioner: Partitioner) -> None:
        super().__init__()
        self._partitioner = partitioner
        self._verdicts: list[Verdict] = []
        self.delegation_spec: DelegationSpec = partitioner.delegation_spec

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        with watched() as verdicts:
            result = self._partitioner.partition(exported_program)
        self._verdicts += [verdict for program in verdicts for verdict in program]
        watch = _WATCH.get()
        if watch is None:
            return result
        watch.start()
        return PartitionResult(
            result.tagged_exported_program,
            {tag: _with_folder(spec, watch.folder) for tag, spec in result.partition_tags.items()},
        )

    def take_verdicts(self) -> list[Verdict]:
        """What was decided since the last time that somebody asked."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def ops_to_not_decompose(
        self, ep: ExportedProgram
    ) -> tuple[list[torch._ops.OpOverload], Callable[[torch.fx.Node], bool] | None]:
        operators, keep = self._partitioner.ops_to_not_decompose(ep)
        return operators, keep

    def transform_for_pre_decomposition(self, exported_program: ExportedProgram) -> ExportedProgram:
        transformed: ExportedProgram = self._partitioner.transform_for_pre_decomposition(exported_program)
        return transformed


def _with_folder(spec: DelegationSpec, folder: Path) -> DelegationSpec:
    return DelegationSpec(spec.backend_id, [*spec.compile_specs, _new_folder(folder)])


def _new_folder(folder: Path) -> CompileSpec:
    return files_in(tempfile.mkdtemp(dir=folder))


def files_in(folder: str) -> CompileSpec:
    """A compile spec that has a delegate's backend leave its files in a folder."""
    return CompileSpec(_FOLDER_KEY, folder.encode())


def with_new_folder(specs: Sequence[CompileSpec]) -> list[CompileSpec]:
    """The compile specs for lowering a delegate once more in the place of one that was lowered within `keeping`."""
    watch = _WATCH.get()
    kept = without_folder(specs)
    return kept if watch is None or len(kept) == len(specs) else [*kept, _new_folder(watch.folder)]


def without_folder(specs: Sequence[CompileSpec]) -> list[CompileSpec]:
    """The compile specs as they are without `keeping`."""
    return [spec for spec in specs if spec.key != _FOLDER_KEY]


def look(module: LoweredBackendModule) -> LoweredGraph | None:
    """What was made of a delegate that was lowered within `keeping`; None of others. Call it within `keeping`."""
    folder = next((spec.value for spec in module.compile_specs if spec.key == _FOLDER_KEY), None)
    watch = _WATCH.get()
    if folder is None or watch is None or Path(folder.decode()).parent != watch.folder:
        return None
    return watch.of(Path(folder.decode()))


def take(module: LoweredBackendModule) -> LoweredGraph | None:
    """The same, and takes the folder out of the delegate's compile specs, which go into the .pte."""
    lowered = look(module)
    if lowered is not None:
        # Upstream: LoweredBackendModule._compile_specs, as the property can't be set. Holds for executorch 1.5.1;
        # tests/upstream/test_lowered_graphs.py::test_the_bytes_are_those_without_it fails when it changes.
        module._compile_specs = without_folder(module.compile_specs)
    return lowered


def _origin(node: torch.fx.Node) -> Origin:
    sources = list(node.meta.get("from_node", ()))
    targets: list[str] = []
    while sources:
        source = sources.pop()
        targets.append(str(source.target))
        sources.extend(source.from_node)
    captured = [target.removesuffix(".default") for target in targets if target.startswith("aten.")]
    return Origin(module_path(node), captured[-1] if captured else "", origin_of(node))


def _called_last(look: Callable[[GraphModule, bool], None]) -> Callable[[], None]:
    """Have `look` called with each graph at the end of Arm's pass pipeline, and whether it is a delegate's own and not
    that of a branch in it, until what is returned is called."""
    from executorch.backends.arm._passes import arm_pass_manager
    from executorch.backends.arm._passes.arm_pass import ArmPass
    from executorch.backends.arm._passes.ensure_unique_output_nodes_pass import EnsureUniqueOutputNodesPass

    class Look(ArmPass):
        _passes_required_after: set[type] = set()
        exported_program: ExportedProgram | None = None  # the pipeline sets it for a delegate's own graph

        def call(self, graph_module: GraphModule) -> PassResult:
            look(graph_module, self.exported_program is not None)
            return PassResult(graph_module, False)

    own = Look()
    arm_pass_manager.register_pass_insertions_after(EnsureUniqueOutputNodesPass, [own])

    def stop() -> None:
        # Upstream: _registered_pass_insertions, as the public clear_registered_pass_insertions takes away those of
        # others too. Holds for executorch 1.5.1; tests/upstream/test_lowered_graphs.py fails when it changes.
        registered: Any = arm_pass_manager._registered_pass_insertions[EnsureUniqueOutputNodesPass]
        registered.after_passes.remove(own)

    return stop
