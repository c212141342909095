"""`retarget`: the program of a session for another configuration of its NPU, without lowering again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executorch.backends.arm.ethosu import EthosUBackend, EthosUCompileSpec
from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.exir.schema import BackendDelegateDataReference, BackendDelegateInlineData, DataLocation, Program
from executorch.export import ExportSession, StageType

from arm_recipes.errors import ArmRecipeError, LoweringError, OptionError
from arm_recipes.lowering.ethos_u import compile_spec
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.tools.vela.compiler import VelaFailure, compile_graph
from arm_recipes.tools.vela.estimates import Estimate, estimate_of
from arm_recipes.tools.vela.payload import tables
from arm_recipes.upstream.compile_specs import ethos_u_target, spec_list, vela_flags, without_vela
from arm_recipes.upstream.delegates import recompiled
from arm_recipes.upstream.digests import program_digest
from arm_recipes.upstream.programs import EmittedProgram
from arm_recipes.upstream.session import from_context, lowered_graphs


@dataclass(frozen=True)
class RetargetedProgram:
    """A program that `retarget` made.

    Attributes:
        recipe: name of the recipe that a fresh export would take, e.g. ``ETHOSU_U55_INT8``.
        options: the Vela configuration, defaults spelled out.
        vela_estimates: Vela's estimates, one for each subgraph. None was measured on hardware.
    """

    recipe: str
    options: dict[str, Any]
    vela_estimates: tuple[Estimate, ...]
    _pte: bytes = dataclasses.field(repr=False)

    def get_pte_buffer(self) -> bytes:
        """The .pte, as a session gives it."""
        return self._pte

    def save_to_pte(self, output_name: str) -> None:
        """Write the .pte, whole or not at all; ``.pte`` is added to a name without it, as a session does."""
        from arm_recipes.files import write_whole

        write_whole(Path(output_name if output_name.endswith(".pte") else f"{output_name}.pte"), self._pte)


def retarget(session: ExportSession, recipe: ArmRecipeType | None = None, **configuration: Any) -> RetargetedProgram:
    """Compile the program of a session for another configuration, from the TOSA graphs that it was lowered to.

    The bytes are those of a fresh export with these options, and the session's own lowering options. The session stays
    as it is. The first call for a session makes its TOSA graphs again; further calls take little more than Vela does.

    Args:
        session: what `export` returned, executorch's or that of arm_recipes, for an Ethos-U recipe.
        recipe: another recipe of the same precision that lowers alike: Ethos-U55's for a program that was lowered for
            U65, and the other way round. The session's own if not given.
        **configuration: the recipe's options that only Vela reads: macs, config_ini, system_config, memory_mode,
            optimise, arena_cache_size, extra_flags. What is not given is the recipe's default, whatever the session was
            made with.

    Raises:
        OptionError: an option is not legal, or would change the lowering.
        ArmRecipeError: the session has no Ethos-U program, or `recipe` lowers differently.
        LoweringError: Vela can't compile the program for this configuration.
    """
    lowered = LoweredProgram(session)
    row = lowered.recipe if recipe is None else _row(recipe)
    return lowered.compiled(row, configuration_of(row, configuration))


def configuration_of(recipe: Recipe, given: Mapping[str, Any]) -> EthosUOptions:
    """Resolve options of which none may change the lowering.

    Raises:
        OptionError: one does, or is not legal.
    """
    names = options.retargetable(recipe)
    for name, value in given.items():
        if name not in names and name in options.declared(recipe):
            raise OptionError(
                recipe.name,
                name,
                value,
                "changes the lowering, and so can't be given here",
                allowed=names,
                hint="Export with it, and go on from that session.",
            )
    resolved = options.resolve(recipe, given)
    assert isinstance(resolved, EthosUOptions)
    return resolved


class LoweredProgram:
    """What a session lowered, ready to be compiled for any configuration that lowers alike.

    Attributes:
        recipe: the catalog row of the session's NPU.
        graphs: the TOSA graph of each delegate, in the order in which the .pte holds the delegates.
        origins: where the operators of each come from, by the name of the tensor that they make.
    """

    def __init__(self, session: ExportSession) -> None:
        """
        Raises:
            ArmRecipeError: the session is not done, or has no Ethos-U delegate, or delegates of other kinds.
        """
        if StageType.TO_EXECUTORCH not in session.get_stage_artifacts():
            raise ArmRecipeError("The session has no program yet. Call session.export() first.")
        self._emitted = EmittedProgram(session)
        if self._emitted.serialized(self._emitted.program) != session.get_pte_buffer():
            raise LoweringError(
                "The session's program, serialised once more, differs from its .pte; it was made in a way that "
                "retarget does not know. Export anew for each configuration."
            )
        modules = _delegates(session, self._emitted.program)
        self.recipe = _recipe_of(session, modules[0])
        self._modules = modules
        self.graphs = tuple(recompiled(module).graph for module in modules)
        self.origins = tuple(recompiled(module).origins for module in modules)

    def digest(self) -> str:
        """SHA-256 over the delegates' programs: the same for every configuration that they can be compiled for."""
        digest = hashlib.sha256()
        for module in self._modules:
            digest.update(program_digest(module.original_module).encode())
        return digest.hexdigest()

    def spec(self, recipe: Recipe, configuration: EthosUOptions) -> EthosUCompileSpec:
        """The compile spec of a configuration.

        Raises:
            ArmRecipeError: the program was not lowered for it.
        """
        spec = compile_spec(recipe, configuration)
        if any(without_vela(module.compile_specs) != without_vela(spec_list(spec)) for module in self._modules):
            raise ArmRecipeError(
                f"recipe={recipe.name}: the session's program ({self.recipe.name}) was lowered differently. Allowed: "
                "recipes of the same precision and TOSA profile; U55 and U65 share one, U85 has its own. Export anew."
            )
        return spec

    def compiled(self, recipe: Recipe, configuration: EthosUOptions) -> RetargetedProgram:
        """The program for a configuration.

        Raises:
            ArmRecipeError: the program was not lowered for it.
            LoweringError: Vela can't compile it.
        """
        if recipe.precision is not self.recipe.precision:
            raise ArmRecipeError(
                f"recipe={recipe.name}: the session's program is quantized as {self.recipe.name}. Export anew."
            )
        spec = self.spec(recipe, configuration)
        payloads: list[bytes] = []
        estimates: list[Estimate] = []
        for graph, module in zip(self.graphs, self._modules, strict=True):
            try:
                result = compile_graph(graph, vela_flags(spec))
            except VelaFailure as failure:
                raise LoweringError(
                    f"{recipe.name}: Vela can't compile the program for {_spelled(configuration)}: {failure}. Take "
                    "another configuration."
                ) from failure
            if _border(result.payload) != _border(bytes(module.processed_bytes)):
                raise LoweringError(
                    f"{recipe.name}: for {_spelled(configuration)} Vela's tables of a delegate's inputs and outputs "
                    "are not those of the session's, with which the program agrees. Export anew for this configuration."
                )
            payloads.append(result.payload)
            estimates.append(estimate_of(result.summary))
        return RetargetedProgram(
            recipe=recipe.name,
            options={name: getattr(configuration, name) for name in options.retargetable(recipe)},
            vela_estimates=tuple(estimates),
            _pte=self.assembled(spec, payloads),
        )

    def assembled(self, spec: EthosUCompileSpec, payloads: Sequence[bytes]) -> bytes:
        """The .pte with other payloads in the place of the session's.

        Args:
            spec: the compile spec that they were compiled with.
            payloads: one for each of `graphs`.
        """
        specs = spec_list(spec)
        held: dict[bytes, int] = {}  # as the emitter does, equal payloads are held once
        following = iter(payloads)
        plans = []
        for plan in self._emitted.program.execution_plan:
            delegates = []
            for delegate in plan.delegates:
                index = held.setdefault(next(following), len(held))
                processed = BackendDelegateDataReference(location=DataLocation.INLINE, index=index)
                delegates.append(dataclasses.replace(delegate, processed=processed, compile_specs=specs))
            plans.append(dataclasses.replace(plan, delegates=delegates))
        data = [BackendDelegateInlineData(data=payload) for payload in held]
        return self._emitted.serialized(
            dataclasses.replace(self._emitted.program, execution_plan=plans, backend_delegate_data=data)
        )


def _border(payload: bytes) -> list[list[tuple[int, int]]]:
    """Elements and their bytes of each input and output in Vela's tables."""
    own = tables(payload)
    return [
        [(entry.elements, entry.element_bytes) for entry in entries if entry] for entries in (own.inputs, own.outputs)
    ]


def _spelled(configuration: EthosUOptions) -> str:
    return ", ".join(
        f"{name}={getattr(configuration, name)!r}" for name in ("macs", "system_config", "memory_mode", "optimise")
    )


def _row(recipe: object) -> Recipe:
    if not isinstance(recipe, ArmRecipeType):
        raise ArmRecipeError(f"recipe={recipe!r} is no ArmRecipeType. Give e.g. ArmRecipeType.ETHOSU_U65_INT8.")
    row = catalog.BY_NAME[recipe.name]
    if not options.retargetable(row):
        raise ArmRecipeError(f"recipe={row.name} is not for Ethos-U. Only Ethos-U programs can be retargeted.")
    return row


def _recipe_of(session: ExportSession, module: LoweredBackendModule) -> Recipe:
    """The session's recipe where it is one of the catalog's Ethos-U recipes, else the INT8 recipe of its NPU."""
    name = getattr(from_context(session, "export_recipe"), "name", None)
    own = next((row for row in catalog.RECIPES if row.value == name and options.retargetable(row)), None)
    target = ethos_u_target(module.compile_specs).rpartition("-")[0]
    return own or next(row for row in catalog.RECIPES if row.target.name == target)


def _delegates(session: ExportSession, program: Program) -> list[LoweredBackendModule]:
    """The lowered module of each delegate of the program, in the program's order."""
    by_payload: dict[bytes, list[LoweredBackendModule]] = {}
    for graph in lowered_graphs(session).values():
        for module in graph.modules():  # those in branches of control flow too
            if isinstance(module, LoweredBackendModule):
                by_payload.setdefault(module.processed_bytes, []).append(module)
    found = []
    for plan in program.execution_plan:
        for delegate in plan.delegates:
            if delegate.id != EthosUBackend.__name__:
                raise ArmRecipeError(f"The program has a delegate of {delegate.id}. Allowed: programs for Ethos-U.")
            modules = by_payload.get(program.backend_delegate_data[delegate.processed.index].data)
            if not modules:
                raise LoweringError("A delegate of the program is not in the session's graphs. Export anew.")
            # Delegates of equal payload may be of graphs that differ, in names at least.
            found.append(modules.pop(0) if len(modules) > 1 else modules[0])
    if not found:
        raise ArmRecipeError("The program has no Ethos-U delegate, so that there is nothing to retarget.")
    return found
