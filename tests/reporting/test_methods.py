"""Reports of programs with several methods."""

from __future__ import annotations

import torch

from arm_recipes import ArmRecipeType, export, quantization_report, report


def test_reports_of_several_methods() -> None:
    """Each method gets its own verdicts, whatever the order in which they were partitioned."""

    class Plain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x)

    class WithFft(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = torch.fft.rfft(torch.sigmoid(x)).real
            return y

    x = (torch.randn(1, 8),)
    session = export({"b": WithFft(), "a": Plain()}, ArmRecipeType.TOSA_INT8, {"a": x, "b": x})
    found = {method.name: method for method in report(session).methods}
    assert [each.operator for each in found["a"].delegated if "quantize" not in each.operator] == ["aten.relu"]
    assert "aten._fft_r2c" in {each.operator for each in found["b"].not_delegated}
    assert "aten._fft_r2c" not in {each.operator for each in found["a"].not_delegated}
    assert set(quantization_report(session).methods) == {"a", "b"}


def test_constant_methods_are_no_methods_of_the_report() -> None:
    model, inputs = torch.nn.ReLU().eval(), (torch.randn(1, 8),)
    session = export(model, ArmRecipeType.TOSA_FP, inputs, constant_methods={"version": 3})
    assert [method.name for method in report(session).methods] == ["forward"]
