"""Each private name of executorch and torch that we need means what we take it for, and nothing public has it yet."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import pytest
import torch
from executorch import exir
from executorch.backends.arm import util
from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
from executorch.backends.arm.ethosu import EthosUCompileSpec
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from executorch.backends.arm.tosa.partitioner import TOSAPartitioner
from executorch.backends.arm.util import _factory
from executorch.backends.cortex_m.quantizer_reporter import QuantizerReport
from executorch.exir.backend.utils import WhyNoPartitionReporter
from executorch.exir.dialects import edge
from executorch.exir.program import EdgeProgramManager, ExecutorchProgramManager
from executorch.export import ExportSession
from tosa.TosaBasicBlock import TosaBasicBlock

from arm_recipes.upstream.compile_specs import ethos_u_target, settle_pass_pipeline, spec_list, without_vela
from arm_recipes.upstream.private import CLONE_DIM_ORDER, edge_operators


def _public(thing: Any) -> list[str]:
    return [name for name in dir(thing) if not name.startswith("_")]


def test_nothing_public_has_them() -> None:
    homes = (torch, torch.fx, torch.library, torch.export, exir, edge)
    private = ("OpOverload", "FakeTensor", "FakeTensorMode", "EdgeOpOverload")
    for name in (*private, "tree_flatten", "tree_leaves", "tree_map_only"):
        assert [home.__name__ for home in homes if name in getattr(home, "__all__", ())] == [], name
    assert importlib.util.find_spec("torch.utils.pytree") is None
    assert "edge" not in _public(exir)
    assert not {"clone_dim_order", "to_dim_order_copy"} & set(_public(edge_operators.dim_order_ops))
    assert str(CLONE_DIM_ORDER._op) == "dim_order_ops._clone_dim_order.default"


def test_the_factory_is_private() -> None:
    for name in ("create_partitioner", "create_quantizer", "parse_compile_spec"):
        assert hasattr(_factory, name)
        assert not hasattr(util, name)


def test_the_pass_pipeline_comes_late() -> None:
    left, settled = EthosUCompileSpec("ethos-u55-128"), EthosUCompileSpec("ethos-u55-128")
    settle_pass_pipeline(settled)
    keys = [{spec.key for spec in spec_list(each)} for each in (left, settled)]
    assert keys[1] - keys[0] == {"transform_pipeline_config"}


def test_a_compile_spec_s_keys() -> None:
    specs = spec_list(EthosUCompileSpec("ethos-u65-512"))
    assert ethos_u_target(specs) == "ethos-u65-512"
    assert {spec.key for spec in specs} - {key for key, _ in without_vela(specs)} == {"compile_flags", "target"}
    assert "to_list" not in _public(EthosUCompileSpec)


def test_debug_info_needs_a_folder() -> None:
    spec = TosaCompileSpec("TOSA-1.0+INT").dump_debug_info(ArmCompileSpec.DebugMode.TOSA)
    with pytest.raises(ValueError, match="in conjunction with dump_intermediate_artifacts_to"):
        spec_list(spec)


def test_outputs_are_the_fifth_field() -> None:
    assert f"self._tab.Offset({4 + 2 * 4})" in inspect.getsource(TosaBasicBlock.OutputsLength)


def test_edge_operators_wrap_others() -> None:
    operator = edge_operators.aten.add.Tensor
    assert operator._op is torch.ops.aten.add.Tensor
    assert [name for name in _public(operator) if getattr(operator, name) is operator._op] == []


def test_schemas_are_private() -> None:
    operator = torch.ops.aten.add.Tensor
    assert [argument.name for argument in operator._schema.arguments] == ["self", "other", "alpha"]
    assert [name for name in _public(operator) if isinstance(getattr(operator, name), torch._C.FunctionSchema)] == []


def test_constant_methods_are_given_once() -> None:
    assert "set(self._config_methods.keys())" in inspect.getsource(EdgeProgramManager.config_methods.fget)
    assert [name for name in _public(EdgeProgramManager) if "config_method" in name] == ["config_methods"]


def test_the_emitter_s_output_is_private() -> None:
    source = inspect.getsource(ExecutorchProgramManager.__init__)
    for name in ("_emitter_output", "_data_serializer", "_named_data"):
        assert f"self.{name}" in source
        assert name.removeprefix("_") not in _public(ExecutorchProgramManager)


def test_one_rejection_is_none() -> None:
    name = "_PREVIOUS_ANNOTATION_REJECT_REASON"
    assert f"== self.{name}" in inspect.getsource(QuantizerReport)
    assert getattr(QuantizerReport, name) == "Tried annotating already quantized node."


def test_the_partitioner_keeps_its_reasons() -> None:
    source = inspect.getsource(TOSAPartitioner.partition)
    assert source.index("reporter = WhyNoPartitionReporter()") < source.index("partition_tags = ")
    assert "self._rejected_nodes" in inspect.getsource(WhyNoPartitionReporter.__init__)
    assert "rejected_nodes" not in _public(WhyNoPartitionReporter)


def test_a_session_s_getters_read_its_artifacts() -> None:
    reads = [
        ExportSession.get_stage_artifacts,
        ExportSession.get_exported_program,
        ExportSession.get_edge_program_manager,
        ExportSession.get_executorch_program_manager,
    ]
    assert all("self._stage_to_artifacts" in inspect.getsource(getter) for getter in reads)
    assert "artifacts" not in _public(ExportSession)


def test_the_session_s_model_is_private() -> None:
    assert "self._model = " in inspect.getsource(ExportSession.__init__)
    assert "model" not in _public(ExportSession)
