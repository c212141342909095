"""The stages that `verify` compares: the model in float, the quantized module, and the lowered program simulated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from executorch.export import ExportSession
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from arm_recipes.errors import ArmRecipeError, CalibrationError, SimulationError
from arm_recipes.lowering.integer_io import QuantizedIO, QuantizedTensor, quantized_io
from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.samples import specs_of
from arm_recipes.samples.models import Model, specs_for
from arm_recipes.session.arguments import in_eval_mode
from arm_recipes.simulators.base import Simulator
from arm_recipes.upstream.private import tree_flatten, tree_flatten_with_path, tree_leaves, tree_unflatten
from arm_recipes.upstream.session import example_inputs, given_models, quantized_modules

from .layer_errors import captured
from .metrics import Outputs

FLOAT, QUANTIZED, SIMULATED = "float", "quantized", "simulated"


class Stages:
    """What the session has of the model before it was lowered, ready to run.

    Attributes:
        names: names of the stages there are, without the simulated one.
        specs: the model's inputs.
        output_names: of the model's outputs: keys and attributes where it gives such, else indices. Known once a sample
            was run.
        notes: which stage is missing, and why.
    """

    def __init__(self, session: ExportSession, method: str, program: Snapshot, float_model: Model | None) -> None:
        given = given_models(session)[method]
        quantizes = program.recipe.precision.quantized
        quantized = quantized_modules(session).get(method)
        self._float: Any = float_model
        self._quantized: Any = None
        if quantizes and quantized is not None and quantized is not given:
            self._quantized = quantized
            self._float = given if float_model is None else float_model
        elif quantizes:
            self._quantized = given.module(check_guards=False) if isinstance(given, ExportedProgram) else given
        elif float_model is None:
            self._float = given
        if isinstance(self._float, ExportedProgram):
            self._float = self._float.module(check_guards=False)
        self.notes: tuple[str, ...] = ()
        if self._float is None:
            self.notes = (
                "The session was given a program that was quantized already, so there is no float stage. Give "
                "float_model= to compare with it.",
            )
        self._io = quantized_io(session).get(method, QuantizedIO({}, {}))
        self._example = tuple(example_inputs(session, method)[0])
        names = [str(name) for name in program.signature.user_inputs]
        if len(names) == len(self._example):
            self.specs = specs_of(self._example, names)
        else:
            self.specs = specs_for(given, self._example)
        _, self._structure = tree_flatten(self._example)
        modules = {FLOAT: self._float, QUANTIZED: self._quantized}
        self._modules = {stage: module for stage, module in modules.items() if module is not None}
        self.names = tuple(self._modules)
        self.output_names: tuple[str, ...] = ()

    def in_eval_mode(self) -> contextlib.AbstractContextManager[None]:
        """The float model in eval mode for the time being, as it was exported."""
        return contextlib.nullcontext() if self._float is None else in_eval_mode(self._float)

    def as_integers(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """A sample as the lowered program takes it, with io_dtype in integers."""
        scales = self._io.inputs
        return [scales[index].quantize(value) if index in scales else value for index, value in enumerate(inputs)]

    def as_reals(self, outputs: Sequence[Tensor]) -> Outputs:
        """The lowered program's outputs, with io_dtype from integers."""
        scales = self._io.outputs
        return [scales[index].dequantize(value) if index in scales else value for index, value in enumerate(outputs)]

    def outputs(
        self, inputs: Sequence[Tensor], lowered_inputs: Sequence[Tensor], simulator: Simulator, sample: int
    ) -> dict[str, Outputs]:
        """The outputs of every stage for one sample.

        Args:
            inputs: the sample.
            lowered_inputs: the sample as the lowered program takes it.
            simulator: runs the lowered program.
            sample: its index, for errors.

        Raises:
            CalibrationError: the model itself raised.
            SimulationError: the simulator did.
        """
        outputs = {}
        for stage, module in self._modules.items():
            with _errors_of(stage, sample), torch.no_grad(), _buffers_kept(module):
                # Copies: a model may write to what it is given.
                result = module(*tree_unflatten([value.clone() for value in inputs], self._structure))
                self.output_names = self.output_names or _output_names(result)
                outputs[stage] = _tensors(tree_leaves(result))
        with _errors_of(SIMULATED, sample):
            outputs[SIMULATED] = _tensors(self.as_reals(simulator.run(lowered_inputs)))
        return outputs

    def scales(self) -> list[QuantizedTensor | None]:
        """The scale and zero point of each of the quantized module's outputs, None where it is not quantized."""
        if not isinstance(self._quantized, GraphModule):
            return []
        leaves = tree_leaves(self._quantized.graph.output_node().args[0])
        return [_output_scale(leaf) for leaf in leaves if isinstance(leaf, Node)]  # the others are None or numbers

    def twin(self) -> GraphModule | None:
        """The float model with the layers of `reference`; None where there is none."""
        with self.in_eval_mode():
            return captured(self._float, self._example) if self._float is not None else None


def _tensors(leaves: Iterable[Any]) -> Outputs:
    """A model's outputs without None, numbers and the like, which programs have as they are."""
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _output_names(result: Any) -> tuple[str, ...]:
    paths, _ = tree_flatten_with_path(result)
    named = [
        ".".join(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path)
        for path, leaf in paths
        if isinstance(leaf, Tensor)
    ]
    return tuple(name or str(index) for index, name in enumerate(named))


def _output_scale(node: Node) -> QuantizedTensor | None:
    if node.op != "call_function" or "dequantize_per_tensor" not in str(node.target):
        return None
    return QuantizedTensor.of(node)


@contextlib.contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """The module's buffers as before, afterwards: one that keeps state writes to them, and it may be the caller's."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            if not torch.equal(buffer, value):
                buffer.copy_(value)


@contextlib.contextmanager
def _errors_of(stage: str, sample: int) -> Iterator[None]:
    """Say of an error in the model's own code, or an operator's, where it came up."""
    try:
        yield
    except ArmRecipeError:
        raise
    except Exception as error:
        kind = SimulationError if stage == SIMULATED else CalibrationError
        raise kind(
            f"The {stage} stage raised {type(error).__name__} on sample {sample}: {error}. Is every value of the sample"
            " one that the model takes?"
        ) from error
