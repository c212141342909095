"""What stayed on float portable kernels although CMSIS-NN was promised, and why.

Nothing else tells: the program is right, but several times as big and as slow.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import torch
from executorch.backends.arm.common.annotation_meta import ArmAnnotationInfo
from executorch.backends.cortex_m.passes.passes_utils import is_channels_last
from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from torch import Tensor
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import Quantizer

from arm_recipes.errors import LoweringError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.operators import instead_of
from arm_recipes.upstream.graphs import calls, kernel_name, where
from arm_recipes.upstream.private import EdgeOpOverload
from arm_recipes.upstream.quantizers import rejections

# In node.meta["custom"], the one part of a node's meta that reaches the lowered program from the captured one.
_VERDICT = "arm_recipes_verdict"

# Convolutions, linear and pooling of the edge dialect, and the matrix products that linear and LSTM decompose into.
_COMPUTE = re.compile(r"convolution|linear|.*pool[123]d.*|(add|b|badd)?b?mm")

_NEEDS_CHANNELS_LAST = (torch.ops.aten.conv2d.default, torch.ops.aten.conv_transpose2d.input)


class QuantizerVerdicts(Quantizer):
    """Annotates nothing. Notes on each operator what `quantizer`, which has just annotated, found against it."""

    def __init__(self, recipe: Recipe, quantizer: CortexMQuantizer) -> None:
        super().__init__()
        self._recipe = recipe
        self._quantizer = quantizer

    def annotate(self, model: GraphModule) -> GraphModule:
        reasons = rejections(self._quantizer)
        for node in calls(model):
            refusal = None if _quantized(node) else _refusal(self._recipe, node, reasons.get(node.name))
            verdict = {"where": where(node), "refusal": refusal}
            node.meta["custom"] = {**node.meta.get("custom", {}), _VERDICT: verdict}
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to validate: nothing was annotated."""


class PortableCheck:
    """An edge manager callable that asks for no passes. Looks for what the passes before it left to float kernels.

    Raises:
        LoweringError: a convolution, linear or pooling is a float portable kernel. (UserWarning where that's allowed.)
    """

    def __init__(self, recipe: Recipe, allowed: bool) -> None:
        self._recipe = recipe
        self._allowed = allowed

    def __call__(self, edge_program_manager: EdgeProgramManager) -> list[PassType]:
        for method in sorted(edge_program_manager.methods):
            graph_module = edge_program_manager.exported_program(method).graph_module
            # One operator of the model may have become several.
            found = dict(_explain(node) for node in calls(graph_module) if _is_float_compute(node))
            if found:
                self._report(method, found)
        return []

    def _report(self, method: str, found: dict[str, str]) -> None:
        listed = "; ".join(f"{place}: {reason}" for place, reason in found.items())
        what = (
            f"{self._recipe.name}: method {method!r} has {len(found)} operator(s) on float portable kernels instead of "
            f"CMSIS-NN's. {listed}."
        )
        if not self._allowed:
            raise LoweringError(
                f"{what} Change the model there, or accept bigger, slower float kernels with "
                "allow_portable_fallback=True."
            )
        warnings.warn(what, stacklevel=2)


def _refusal(recipe: Recipe, node: Node, reason: str | None) -> str:
    value = node.meta.get("val")
    if node.target in _NEEDS_CHANNELS_LAST and _wrong_layout(value):
        return _WRONG_LAYOUT
    if node.target in _NEEDS_CHANNELS_LAST and isinstance(value, Tensor) and value.dim() == 3:
        return "not supported without a batch dimension (give it one, of size 1)"
    if reason is not None:
        return f"not supported, as executorch's Cortex-M quantizer refuses this use of it ({reason.rstrip('.')!r})"
    instead = "; ".join(instead_of(recipe, str(node.target)))
    unsupported = f"not supported, as executorch's Cortex-M quantizer has no pattern for {node.target}"
    return f"{unsupported} ({instead})" if instead else unsupported


_WRONG_LAYOUT = (
    "supported, but wrong in layout, as its tensors were not channels_last when it was to be quantized (its input was "
    "perhaps reshaped; x = x.contiguous(memory_format=torch.channels_last) before it helps)"
)


def _explain(node: Node) -> tuple[str, str]:
    """Where in the user's model `node` comes from, and why it is what it is."""
    verdict = node.meta.get("custom", {}).get(_VERDICT)
    if verdict is not None and verdict["refusal"] is not None:
        return verdict["where"], verdict["refusal"]
    place = verdict["where"] if verdict is not None else where(node)
    if _quantized(node):
        missing = [side for side in ("input", "output") if not node.meta.get(f"{side}_qparams")]
        lost = f"its {' and '.join(missing)} lost the scale" if missing else "no pass replaced it"
        return place, f"quantized, but left a float kernel by executorch's Cortex-M passes, as {lost}"
    value = _value(node)
    if _wrong_layout(value):
        layout = tuple(value.dim_order())
        return place, (
            f"not quantized, probably for its layout, {layout} instead of channels_last (the recipe sets it where it "
            "is given the nn.Module)"
        )
    return place, "not quantized"


def _is_float_compute(node: Node) -> bool:
    if not isinstance(node.target, EdgeOpOverload) or node.target.namespace != "aten":
        return False
    value = _value(node)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return _COMPUTE.fullmatch(kernel_name(node.target)[1]) is not None


def _wrong_layout(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4 and not is_channels_last(value)


def _value(node: Node) -> Any:
    value = node.meta.get("val")
    return value[0] if isinstance(value, (tuple, list)) else value


def _quantized(node: Node) -> bool:
    return bool(node.meta.get("custom", {}).get(ArmAnnotationInfo.CUSTOM_META_KEY, {}).get("quantized"))
