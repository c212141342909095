"""Calibration inside the standard session: what the recipe feeds the observers, and a watch over what reaches them."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from executorch.export import ExportSession, QuantizationRecipe, StageType
from torch import Tensor
from torch.fx import GraphModule
from torch.utils.hooks import RemovableHandle

from arm_recipes.errors import CalibrationError
from arm_recipes.samples import CalibrationData, InputSpec
from arm_recipes.upstream.digests import add_to_digest

Samples = Iterable[tuple[Any, ...]]
Show = Callable[[Samples, int | None], Samples]


class CalibrationWarning(UserWarning):
    """A model is calibrated on too little to be accurate."""


@dataclass(frozen=True)
class CalibrationSummary:
    """What one method of a quantized program was calibrated on.

    Attributes:
        source: where the samples came from.
        samples: how many there were.
        digest: SHA-256 over dtype, shape and bytes of every input, in order.
    """

    source: str
    samples: int
    digest: str


_SUMMARY = "arm_recipes.calibration"
_RUN = "arm_recipes.calibration_run"


@dataclass
class _Run:
    """One method's calibration, while it goes on."""

    specs: tuple[InputSpec, ...]
    source: str
    handle: RemovableHandle | None = None
    samples: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class CalibrationWatch:
    """Checks each sample on its way into the prepared model, and that there was one.

    `start` belongs to the post-prepare passes, `finish` to the pre-convert passes, and `samples` is the recipe's
    calibration_inputs_fn where the recipe has data of its own.
    """

    def __init__(
        self,
        recipe: str,
        data: Sequence[CalibrationData | list[tuple[Any, ...]]] = (),
        show: Show = lambda samples, total: samples,
    ) -> None:
        """
        Args:
            recipe: name for messages.
            data: of each method in the session's order, or one for all; empty where the session uses the example
                inputs, or a function that the user put into the recipe.
            show: wraps the samples with a progress bar, given their number where it is known.
        """
        self._recipe = recipe
        self._data = tuple(data)
        self._turn = itertools.cycle(self._data)
        self._show = show
        self._current: CalibrationData | list[tuple[Any, ...]] | None = None
        self._specs: tuple[InputSpec, ...] = ()

    def __repr__(self) -> str:
        return f"<arm_recipes' watch over the calibration of {self._recipe}>"

    def start(self, model: GraphModule) -> GraphModule:
        self._specs = input_specs(model)
        self._current = next(self._turn, None)
        source = self._current.source if isinstance(self._current, CalibrationData) else "example inputs"
        run = _Run(self._specs, source)
        run.handle = model.register_forward_pre_hook(lambda _, inputs: self._check(run, inputs))
        model.meta[_RUN] = run
        return model

    def samples(self) -> Samples:
        """The samples of the method that was prepared last."""
        data = self._current
        assert data is not None
        if not isinstance(data, CalibrationData):
            return self._show(data, len(data))
        # Data that is bound already knows the names of the model's arguments, which a captured program may have lost.
        bound = data.bind(self._specs) if data.specs is None else data
        try:
            total = len(bound)
        except TypeError:
            total = None
        return self._show(bound, total)

    def finish(self, model: GraphModule) -> GraphModule:
        run: _Run = model.meta.pop(_RUN)
        if run.handle is not None:
            run.handle.remove()
        if run.samples == 0:
            raise CalibrationError(
                f"{self._recipe}: the model was calibrated on no sample: calibration_inputs_fn gives nothing, or was "
                "used up by an earlier method. Every output would be zero. Give at least one sample, from a function "
                "that makes a new iterable each time it is called."
            )
        if run.samples == 1 and not self._data:
            warnings.warn(
                f"{self._recipe}: calibrated on one sample only, as the example inputs are all there is. The commonest "
                "cause of bad accuracy: give representative data as `calibration`, e.g. a folder of samples.",
                CalibrationWarning,
                stacklevel=2,
            )
        model.meta[_SUMMARY] = CalibrationSummary(run.source, run.samples, run.digest.hexdigest())
        return model

    def _check(self, run: _Run, inputs: tuple[Any, ...]) -> None:
        where = f"{self._recipe}: calibration sample {run.samples}"
        if len(inputs) != len(run.specs):
            raise CalibrationError(
                f"{where} has {len(inputs)} inputs; the model takes {len(run.specs)}. "
                "A sample is a tuple with one tensor per input: (x,) for a model of one input."
            )
        for index, (value, spec) in enumerate(zip(inputs, run.specs)):
            if not isinstance(value, Tensor):
                continue
            place = f"{where}: input {index} ({spec.name})"
            shape, wanted = tuple(value.shape), spec.shape
            if len(shape) != len(wanted) or any(want not in (None, size) for size, want in zip(shape, wanted)):
                raise CalibrationError(f"{place} has shape {list(shape)}; the model takes {list(wanted)}.")
            if value.dtype != spec.dtype:
                raise CalibrationError(f"{place} has dtype {value.dtype}; the model takes {spec.dtype}.")
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise CalibrationError(f"{place} holds NaN or infinity, which no quantization range can be made of.")
            add_to_digest(run.digest, value)
        run.samples += 1


def watched_by(recipe: QuantizationRecipe, watch: CalibrationWatch, *, feed: bool) -> QuantizationRecipe:
    """The recipe with `watch` in the place of any other, and fed by it if asked. The given recipe stays as it is."""

    def others(passes: Sequence[Any] | None) -> list[Any]:
        return [one for one in passes or () if not isinstance(getattr(one, "__self__", None), CalibrationWatch)]

    return dataclasses.replace(
        recipe,
        post_prepare_passes=[*others(recipe.post_prepare_passes), watch.start],
        pre_convert_passes=[watch.finish, *others(recipe.pre_convert_passes)],
        calibration_inputs_fn=watch.samples if feed else recipe.calibration_inputs_fn,
    )


def input_specs(model: GraphModule) -> tuple[InputSpec, ...]:
    """What a captured module takes, in order. Sizes that are symbolic are None."""
    specs = []
    for node in model.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and isinstance(value, Tensor):
            shape = tuple(size if isinstance(size, int) else None for size in value.shape)
            specs.append(InputSpec(node.name, shape, value.dtype))
        elif node.op == "placeholder":
            specs.append(InputSpec(node.name, (), torch.float32))  # a constant: only counted
    return tuple(specs)


def calibration_summary(session: ExportSession) -> dict[str, CalibrationSummary]:
    """What each method of a session was calibrated on, by method name; empty where nothing was quantized.

    Works for any session of a recipe of arm_recipes, also one from executorch's own `export`.
    """
    artifact = session.get_stage_artifacts().get(StageType.QUANTIZE)
    modules = artifact.data if artifact is not None else {}
    return {
        method: module.meta[_SUMMARY]
        for method, module in modules.items()
        if isinstance(module, GraphModule) and _SUMMARY in module.meta
    }
