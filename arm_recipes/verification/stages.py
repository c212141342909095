"""The stages that `verify` compares: the model in float, the quantized module, and the lowered program simulated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from executorch.export import ExportSession
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from arm_recipes.errors import ArmRecipeError, CalibrationError, ModelError, SimulationError
from arm_recipes.lowering.integer_io import QuantizedIO, QuantizedTensor, quantized_io
from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.samples import InputSpec, specs_of
from arm_recipes.samples.inputs import dtype_text
from arm_recipes.samples.models import Model, specs_for
from arm_recipes.session.arguments import buffers_kept, in_eval_mode
from arm_recipes.simulators.base import Simulator
from arm_recipes.simulators.program_file import ProgramFile
from arm_recipes.upstream.private import tree_flatten, tree_flatten_with_path, tree_leaves, tree_unflatten
from arm_recipes.upstream.session import example_inputs, given_models, quantized_modules

from .layer_errors import captured
from .metrics import Outputs

FLOAT, QUANTIZED, SIMULATED = "float", "quantized", "simulated"


class Stages:
    """The model before it was lowered, ready to run.

    Attributes:
        names: names of the stages there are, without the simulated one.
        specs: the model's inputs.
        output_names: of the model's outputs: keys and attributes where it gives such, else indices. Known once a sample
            was run.
        notes: which stage is missing, and why.
    """

    def __init__(
        self,
        models: tuple[Any, Any],
        example: tuple[Any, ...],
        specs: tuple[InputSpec, ...],
        *,
        scales: QuantizedIO,
        notes: tuple[str, ...],
    ) -> None:
        """
        Args:
            models: the model in float, and the quantized module; None for one that isn't there.
            example: inputs that the models are called with.
            specs: of the inputs, flat.
            scales: of the program's inputs and outputs that are integers where the models' are not.
            notes: which stage is missing, and why.
        """
        self._float, self._quantized = models
        if isinstance(self._float, ExportedProgram):
            self._float = self._float.module(check_guards=False)
        self._io, self._example = scales, example
        self.specs, self.notes = specs, notes
        _, self._structure = tree_flatten(example)
        modules = {FLOAT: self._float, QUANTIZED: self._quantized}
        self._modules = {stage: module for stage, module in modules.items() if module is not None}
        self.names = tuple(self._modules)
        self.output_names: tuple[str, ...] = ()

    @classmethod
    def of_session(cls, session: ExportSession, method: str, program: Snapshot, float_model: Model | None) -> Stages:
        """Those that a session has of one method, and the `float_model` where a caller gives it."""
        given = given_models(session)[method]
        quantized = quantized_modules(session).get(method)
        models: tuple[Any, Any] = (float_model, None)
        if not program.recipe.precision.quantized:
            models = (given if float_model is None else float_model, None)
        elif quantized is not None and quantized is not given:
            models = (given if float_model is None else float_model, quantized)
        else:
            models = (float_model, given.module(check_guards=False) if isinstance(given, ExportedProgram) else given)
        notes: tuple[str, ...] = ()
        if models[0] is None:
            notes = (
                "The session was given a program that was quantized already, so there is no float stage. Give "
                "float_model= to compare with it.",
            )
        example = tuple(example_inputs(session, method)[0])
        names = [str(name) for name in program.signature.user_inputs]
        specs = specs_of(example, names) if len(names) == len(example) else specs_for(given, example)
        return cls(models, example, specs, scales=quantized_io(session).get(method, QuantizedIO({}, {})), notes=notes)

    @classmethod
    def of_file(cls, program: ProgramFile, float_model: Model | None, inputs: Any) -> Stages:
        """Those of a .pte: the `float_model`, called with such `inputs`, where a caller gives it.

        Raises:
            ModelError: the program takes other inputs than the model.
        """
        notes = () if float_model is not None else ("There is nothing to compare with: give float_model= for that.",)
        # What stands for real numbers is given as such.
        taken = tuple(
            value.to(torch.float32) if index in program.scales.inputs else value
            for index, value in enumerate(program.example)
        )
        example = taken if inputs is None else (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        specs = specs_of(taken) if float_model is None else specs_for(float_model, example)
        given, wanted = ([f"{dtype_text(each.dtype)} {list(each.shape)}" for each in those] for those in (specs, taken))
        if given != wanted:
            raise ModelError(
                f"{program!r} takes {', '.join(wanted)}, and the model {', '.join(given)}. Give the model that the "
                "program was made of."
            )
        return cls((float_model, None), example, specs, scales=program.scales, notes=notes)

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
            with _errors_of(stage, sample), torch.no_grad(), buffers_kept(module):
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
