"""The quantization report: what it reads, and that two specs that differ never read the same."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from executorch.backends.arm.quantizer import get_symmetric_quantization_config
from executorch.export import ExportRecipe
from executorch.export import export as standard_export
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    DerivedQuantizationSpec,
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

from arm_recipes import ArmRecipeError, ArmRecipeType, quantization_report
from arm_recipes.lowering.records import MethodQuantization, Spec
from tests import models

_BASE = QuantizationSpec(
    dtype=torch.int8,
    observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12),
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_affine,
    ch_axis=None,
    is_dynamic=False,
)


def _one(observers: Any) -> Any:
    return observers


def _closure(number: int) -> Callable[[Any], Any]:
    def derive(observers: Any) -> Any:
        return observers, number

    return derive


class _Own(QuantizationSpecBase):
    """A spec of a class that nobody here knows."""

    def __init__(self, bits: int) -> None:
        self.bits = bits


def _specs(first: Node, second: Node) -> list[QuantizationSpecBase]:
    changed = functools.partial(dataclasses.replace, _BASE)
    derived = DerivedQuantizationSpec(
        derived_from=[(first, second), (second, first)], derive_qparams_fn=_one, dtype=torch.int32
    )
    fixed = FixedQParamsQuantizationSpec(dtype=torch.int8, scale=1 / 256, zero_point=-128)
    return [
        _BASE,
        changed(dtype=torch.uint8),
        changed(quant_min=-127),
        changed(quant_min=None),
        changed(quant_max=None),
        changed(quant_min=None, quant_max=None),
        changed(qscheme=torch.per_tensor_symmetric),
        changed(qscheme=torch.per_channel_affine, ch_axis=0),
        changed(qscheme=torch.per_channel_affine, ch_axis=1),
        changed(ch_axis=0),
        changed(qscheme=None),
        changed(is_dynamic=True),
        changed(observer_or_fake_quant_ctr=HistogramObserver),
        changed(observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-16)),
        changed(observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2**-12)),
        changed(observer_or_fake_quant_ctr=lambda: HistogramObserver()),
        changed(observer_or_fake_quant_ctr=lambda: MinMaxObserver()),
        SharedQuantizationSpec(first),
        SharedQuantizationSpec(second),
        SharedQuantizationSpec((first, second)),
        SharedQuantizationSpec((second, first)),
        derived,
        dataclasses.replace(derived, derived_from=[(first, second), first]),
        dataclasses.replace(derived, derive_qparams_fn=_closure(1)),
        dataclasses.replace(derived, derive_qparams_fn=_closure(2)),
        dataclasses.replace(derived, dtype=torch.int16),
        dataclasses.replace(derived, ch_axis=0),
        fixed,
        dataclasses.replace(fixed, scale=1 / 512),
        dataclasses.replace(fixed, zero_point=0),
        _Own(4),
        _Own(8),
    ]


def _captured() -> GraphModule:
    class Chain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(40):
                x = torch.relu(x)
            return x

    module: GraphModule = torch.export.export(Chain(), (torch.ones(2),)).module()
    return module


def test_specs_that_differ_never_read_the_same() -> None:
    model = _captured()
    first, second, *others = [node for node in model.graph.nodes if node.op == "call_function"]
    specs = _specs(first, second)
    for node, spec in zip(others, specs, strict=False):
        node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(output_qspec=spec, _annotated=True)
    method = quantization_report(model).methods["forward"]
    assert len(method.nodes) == len(specs)
    assert len({node.output for node in method.nodes}) == len(specs)
    assert len({spec.text for spec in method.specs}) == len(specs)
    # Nor in JSON.
    plain = [json.dumps([spec.kind, dict(spec.attributes)], sort_keys=True) for spec in method.specs]
    assert len(set(plain)) == len(specs)
    assert method.specs[0].text == "int8, -128..127, per tensor affine, static, HistogramObserver(eps=0.000244140625)"


def test_specs_that_are_equal_are_one() -> None:
    model = _captured()
    nodes = [node for node in model.graph.nodes if node.op == "call_function"]
    for node in nodes:
        node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(output_qspec=dataclasses.replace(_BASE), _annotated=True)
    assert len(quantization_report(model).methods["forward"].specs) == 1


@pytest.fixture(scope="module")
def session() -> Any:
    """Of executorch's own export."""
    model, inputs = models.conv_net()
    return standard_export(model, [inputs], ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8))


def _spec(method: MethodQuantization, node: str, argument: str) -> Spec:
    found = next(each for each in method.nodes if each.name == node)
    name = next(each.spec for each in found.inputs if each.argument == argument)
    return next(spec for spec in method.specs if spec.name == name)


def test_a_standard_session_keeps_observers_and_patterns(session: Any) -> None:
    report = quantization_report(session)
    method = report.methods["forward"]
    weight = _spec(method, "conv2d", "weight")
    assert weight.text.startswith("int8, -127..127, per channel symmetric, axis 0, static, PerChannel")
    bias = _spec(method, "conv2d", "bias")
    assert bias.kind == "DerivedQuantizationSpec"
    assert bias.attributes["derived_from"][0] == "x -> conv2d"
    assert ("conv2d", "relu") in method.patterns
    assert json.loads(report.to_json())["schema_version"] == 1
    text = str(report)
    for spec in method.specs:
        assert f"  {spec.name:4} " in text
    assert max(map(len, report.text(80).splitlines())) <= 80


class _Refuses(Quantizer):
    """Stands for a quantizer without a reporter."""

    def annotate(self, model: GraphModule) -> GraphModule:
        config = get_symmetric_quantization_config()
        for node in model.graph.nodes:
            if str(node.target) == "aten.linear.default":
                activation = config.get_input_act_qspec()
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
                    input_qspec_map={node.args[0]: activation, node.args[1]: config.get_weight_qspec()},
                    output_qspec=activation,
                    _annotated=True,
                )
        return model

    def validate(self, model: GraphModule) -> None:
        pass


def test_a_prepared_and_a_converted_module() -> None:
    model, inputs = models.conv_net()
    prepared = prepare_pt2e(torch.export.export(model, inputs).module(), _Refuses())
    method = quantization_report(prepared).methods["forward"]
    assert [node.operator for node in method.nodes] == ["aten.linear"]
    assert method.patterns == ()
    weight = _spec(method, "linear", "weight")
    prepared(*inputs)
    converted = convert_pt2e(prepared)
    after = quantization_report(converted).methods["forward"]
    spec = _spec(after, "linear", "weight")
    assert (weight.kind, spec.kind) == ("QuantizationSpec", "converted")
    assert spec.attributes["dtype"] == weight.attributes["dtype"]
    assert spec.attributes["quant_min"] == weight.attributes["quant_min"]
    assert isinstance(_spec(after, "linear", "input").attributes["scale"], float)


def test_refused_patterns_come_with_the_reason() -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.fft.rfft(x).real  # stays float
            return torch.relu(x[:1]) + torch.squeeze(torch.topk(x, 1).values)

    recipe = ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8)
    session = standard_export(Net(), [(torch.randn(2, 3),)], recipe)
    refused = quantization_report(session).methods["forward"].refused
    assert ("getitem", "squeeze") in [each.nodes for each in refused]
    assert {each.reason for each in refused} == {"All inputs and outputs to these nodes are non-quantized."}


def test_what_is_not_quantized_is_refused() -> None:
    model, inputs = models.conv_net()
    session = standard_export(model, [inputs], ExportRecipe.get_recipe(ArmRecipeType.TOSA_FP))
    with pytest.raises(ArmRecipeError, match="nothing is quantized"):
        quantization_report(session)
    with pytest.raises(ArmRecipeError, match="allowed are a session and a GraphModule"):
        quantization_report(model)
