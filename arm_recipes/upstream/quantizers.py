"""What upstream's quantizers found against operators."""

from __future__ import annotations

from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
from executorch.backends.cortex_m.quantizer_reporter import QuantizerReport


def rejections(quantizer: CortexMQuantizer) -> dict[str, str]:
    """The quantizer's own reasons against nodes of the model that it annotated last, by the nodes' names."""
    # Upstream: QuantizerReport._PREVIOUS_ANNOTATION_REJECT_REASON, which is none: another part has the node. Holds for
    # executorch 1.5.1; tests/upstream/test_private_names.py::test_one_rejection_is_none fails when it can go.
    reports: list[QuantizerReport] = [
        part.reporter.quantizers[part] for part in quantizer.quantizers if getattr(part, "reporter", None) is not None
    ]
    return {
        name: rejected.rejection_reason
        for report in reports
        for rejected in report.rejected_patterns
        for name in rejected.node_names
        if rejected.rejection_reason != QuantizerReport._PREVIOUS_ANNOTATION_REJECT_REASON
    }
