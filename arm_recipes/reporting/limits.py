"""What the limits that `report` takes are held against. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arm_recipes.errors import ArmRecipeError
from arm_recipes.gates import Gate
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.tools.vela.estimates import Estimate

from .result import MethodReport


def delegation_of(row: Recipe, methods: Sequence[MethodReport]) -> float:
    """See `ExportReport.delegation`."""
    inside = outside = 0
    for method in methods:
        if not row.family.facts.delegates:
            for kernel in method.kernels:
                if "quantize_per_" not in kernel.operator and "_clone_dim_order" not in kernel.operator:
                    own = kernel.operator.startswith("cortex_m::")
                    inside, outside = inside + own * kernel.count, outside + (not own) * kernel.count
        else:
            inside += sum(each.count for each in method.delegated if "quantize_per_" not in each.operator)
            outside += sum(each.count for each in method.not_delegated if "quantize_per_" not in each.operator)
    return 100.0 * inside / (inside + outside) if inside + outside else 100.0


class Limits:
    """Figures of a report that limits can be held against."""

    def __init__(
        self,
        row: Recipe,
        methods: Sequence[MethodReport],
        estimates: Sequence[Estimate],
        delegation: float,
        pte_bytes: int,
    ) -> None:
        self._row = row
        self._methods = methods
        self._estimates = estimates
        self._delegation = delegation
        self._pte_bytes = pte_bytes

    def gates(
        self,
        max_sram: float | None,
        max_flash: float | None,
        min_delegation: float | None,
        require_full_delegation: bool,
        min_sqnr: float | None,
    ) -> Iterator[Gate]:
        """Those that were asked for, as `report` takes them."""
        if max_sram is not None:
            yield self.max_sram(max_sram)
        if max_flash is not None:
            yield self.max_flash(max_flash)
        if min_delegation is not None:
            yield self.min_delegation(min_delegation)
        if require_full_delegation:
            yield self.require_full_delegation()
        if min_sqnr is not None:
            yield self.min_sqnr(min_sqnr)

    def max_sram(self, limit: float) -> Gate:
        if not self._row.family.facts.has_firmware:
            raise ArmRecipeError(
                f"max_sram={limit:g}: {self._row.name} is for no firmware whose memory could be told. Allowed: recipes "
                "for Ethos-U and Cortex-M. Leave it out."
            )
        # One method is loaded at a time, in the same memory.
        needed = max(
            sum(method.planned_bytes)
            + (method.pools.method_bytes if method.pools else 0)
            + (method.pools.temp_bytes if method.pools and not self._row.family.facts.delegates else 0)
            for method in self._methods
        )
        what = "planned activations and the method allocator's pool"
        if not self._row.family.facts.delegates:
            what = "planned activations and the allocators' pools"
        elif any(method.delegates for method in self._methods):
            if not self._estimates:
                raise ArmRecipeError(
                    f"max_sram={limit:g}: nothing is known of Vela's peak of SRAM, as the session is from executorch's "
                    "own export. Give layers=True, or export with arm_recipes.export."
                )
            needed += int(max(each.memory_kib.get("SRAM", 0.0) for each in self._estimates) * 1024)
            what = f"Vela's peak of SRAM, {what}"
        return Gate.at_most("max_sram", f"RAM in KiB ({what})", limit, needed / 1024)

    def max_flash(self, limit: float) -> Gate:
        return Gate.at_most("max_flash", "size of the .pte in KiB", limit, self._pte_bytes / 1024)

    def min_delegation(self, limit: float) -> Gate:
        return self._delegated("min_delegation", limit)

    def require_full_delegation(self) -> Gate:
        return self._delegated("require_full_delegation", 100.0)

    def min_sqnr(self, limit: float) -> Gate:
        figures = [
            figure for method in self._methods if method.quantization for figure in method.quantization.output_sqnr_db
        ]
        if not figures:
            raise ArmRecipeError(
                f"min_sqnr={limit:g}: no quantized output was compared with the float model's. Allowed: quantized "
                "recipes, for a model that the recipe itself quantized. Leave it out, or give verify a float_model."
            )
        return Gate.at_least("min_sqnr", "SQNR in dB of quantized outputs against float", limit, min(figures))

    def _delegated(self, name: str, limit: float) -> Gate:
        return Gate.at_least(name, f"{self._row.family.facts.counted} in percent", limit, self._delegation)
