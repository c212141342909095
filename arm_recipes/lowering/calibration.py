"""Calibration inside the standard session: what the recipe feeds the observers, and a watch over what reaches them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from executorch.export import ExportSession, QuantizationRecipe
from torch import Tensor
from torch.fx import GraphModule
from torch.utils.hooks import RemovableHandle

from arm_recipes.errors import CalibrationError
from arm_recipes.samples import CalibrationData, InputSpec
from arm_recipes.samples.inputs import check
from arm_recipes.upstream.digests import add_to_digest
from arm_recipes.upstream.graphs import nested
from arm_recipes.upstream.private import tree_leaves
from arm_recipes.upstream.session import quantized_modules

from .records import CalibrationSummary

Samples = Iterable[tuple[Any, ...]]
Show = Callable[[Samples, int | None], Samples]


class CalibrationWarning(UserWarning):
    """A model is calibrated on too little to be accurate."""


_SUMMARY = "arm_recipes.calibration"
_RUN = "arm_recipes.calibration_run"


@dataclass
class _Run:
    """One method's calibration, while it goes on.

    Attributes:
        specs: the inputs of the captured module.
        data: what the recipe has for this method; None for the session's own samples.
        nested: brings the tensors of a sample into the lists and dicts that the captured module takes.
        checked: the data whose samples are fed as they are, and checked against these specs.
        handle: removes the hook.
        samples: number of samples that reached the module.
        digest: over those.
    """

    specs: tuple[InputSpec, ...]
    data: CalibrationData | list[tuple[Any, ...]] | None
    nested: Callable[[Sequence[Any]], tuple[Any, ...]]
    checked: CalibrationData | None = None
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
        self._run: _Run | None = None

    def __repr__(self) -> str:
        return f"<arm_recipes' watch over the calibration of {self._recipe}>"

    def start(self, model: GraphModule) -> GraphModule:
        run = self._run = _Run(input_specs(model), next(self._turn, None), functools.partial(nested, model))
        run.handle = model.register_forward_pre_hook(lambda _, inputs: self._check(run, tuple(tree_leaves(inputs))))
        model.meta[_RUN] = run
        return model

    def samples(self) -> Samples:
        """The samples of the method that was prepared last."""
        assert self._run is not None and self._run.data is not None
        data, specs = self._run.data, self._run.specs
        if not isinstance(data, CalibrationData):
            return self._show(data, len(data))
        # Data that is bound already knows the names of the model's arguments, which a captured program may have lost.
        bound = data.bind(specs) if data.specs is None else data
        known = bound.specs or ()
        if len(known) == len(specs) and all(own.takes(spec) for own, spec in zip(specs, known, strict=True)):
            self._run.checked = bound
        try:
            total = len(bound)
        except TypeError:
            total = None
        return map(self._run.nested, self._show(bound, total))

    def finish(self, model: GraphModule) -> GraphModule:
        run: _Run = model.meta.pop(_RUN)
        self._run = None
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
        source = run.data.source if isinstance(run.data, CalibrationData) else "example inputs"
        model.meta[_SUMMARY] = CalibrationSummary(source, run.samples, run.digest.hexdigest())
        return model

    def _check(self, run: _Run, inputs: tuple[Any, ...]) -> None:
        digest = run.checked.digest_through(run.samples, inputs) if run.checked is not None else None
        if digest is not None:
            run.digest = digest
        else:
            run.checked = None
            check(inputs, run.specs, f"{self._recipe}: calibration sample {run.samples}")
            for value in inputs:
                if isinstance(value, Tensor):
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
    modules = quantized_modules(session)
    return {method: module.meta[_SUMMARY] for method, module in modules.items() if _SUMMARY in module.meta}
