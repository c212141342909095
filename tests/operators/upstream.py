"""The operators that executorch's own tables name for Arm's targets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from executorch.backends.arm.operator_support import tosa_profile_supported_op_lists as profiles
from executorch.backends.arm.operator_support.tosa_supported_operators import get_registered_tosa_support_checks
from executorch.backends.arm.quantizer import quantization_annotator
from executorch.backends.arm.tosa.specification import TosaSpecification
from executorch.backends.cortex_m.quantizer.quantizer_support import CORTEX_M_QUANTIZER_SUPPORT_DICT

from arm_recipes.upstream.graphs import operator_of

# Of which there is no row, and why.
WITHOUT_A_ROW = {
    "aten._unsafe_view": "made of a matmul by decompositions, and a view by then",
    "aten.div.Scalar": "captured with a number as aten.div.Tensor",
    "aten.sub.Scalar": "captured with a number as aten.sub.Tensor",
    "aten.sym_size.int": "a size that is known at run time only, which every recipe refuses",
}


def named() -> set[str]:
    """Names as `plain` writes them: of the partitioner's tables, of the quantizers', and of Cortex-M's patterns."""
    return {name for target in _targets() if (name := plain(str(operator_of(target) or ""))).startswith("aten.")}


def plain(name: str) -> str:
    """Without ``.default``; and ``aten.relu`` for ``aten.relu_``, which writes to its input, ``aten.select.int`` for
    ``aten.select_copy.int``, which is what lowering makes of a view."""
    return re.sub(r"(?<=[a-z0-9])(_|_copy)(?=\.|$)", "", name.removesuffix(".default"), count=1)


def _targets() -> Iterator[Any]:
    yield from profiles.TOSA_PRO_INT_SupportList | profiles.TOSA_PRO_FP_SupportList
    for specification in TosaSpecification.all_versions_and_profiles():
        for check in get_registered_tosa_support_checks(specification):
            yield from check.targets
    for table in vars(quantization_annotator).values():
        if isinstance(table, (list, tuple, set)):
            yield from _operators(table)
    for pattern in CORTEX_M_QUANTIZER_SUPPORT_DICT:
        yield from pattern


def _operators(table: Iterable[Any]) -> Iterator[Any]:
    return (each for each in table if operator_of(each) is not None)
