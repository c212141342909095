"""What a kernel does on the device with tensors that lie in memory as a program declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arm_recipes.errors import SimulationError
from arm_recipes.lowering.device_kernels import (
    NHWC,
    Look,
    Order,
    Placed,
    Walk,
    broadcasts_wrong,
    demand_of,
    most_dimensions,
    on_device,
    portable_kernels,
    reads_first_alone,
)

from .device_arithmetic import transposed_goes_wrong


@dataclass(frozen=True)
class Call:
    """A call of a kernel.

    Attributes:
        name: of the kernel, with its overload, e.g. ``aten::cat.out``.
        reads: the tensors that it is given, each with the name of its argument, e.g. ``tensors[1]``.
        results: those that it writes to.
        numbers: its further arguments, by name: e.g. ``stride``.
    """

    name: str
    reads: Sequence[tuple[str, Placed]]
    results: Sequence[Placed]
    numbers: Mapping[str, Any]

    @property
    def walk(self) -> Walk:
        """How it goes through memory.

        Raises:
            SimulationError: it fails on the device, or it isn't known what it does there.
        """
        kernel = self.name.partition(".")[0].replace("::", ".")
        demand, reads = demand_of(kernel), [place for _, place in self.reads]
        self._refuse_dimensions(kernel, reads)
        if broadcasts_wrong(kernel, [place.sizes for place in reads]):
            sizes = " and ".join(str(list(place.sizes)) for place in reads)
            raise SimulationError(
                f"{self.name} has tensors of sizes {sizes}, which CMSIS-NN reads in a wrong order, beyond their ends: "
                "what it gives on the device is not known here."
            )
        known = on_device(kernel, [place.sizes for place in reads])
        if known is not None:
            self._refuse_orders(known[0], reads)
        if reads_first_alone(kernel):
            reads = reads[:1]
        wanted = demand.wanted(reads) if reads else ()
        wrong = next((place for place, order in zip(reads, wanted, strict=True) if order is not None), None)
        if wrong is None and demand.gives(reads, self.results):
            return Walk.BY_STRIDES
        walk = known[1] if known is not None else Walk.UNKNOWN
        if walk is Walk.UNKNOWN:
            raise SimulationError(
                f"{self.name} takes {demand.text}, and would be handed {self._named(wrong or self.results[0])}: what "
                "the device makes of that is not known here, fails or wrong values. In the model's code, "
                "x = x.contiguous() before that operator may help."
            )
        return walk

    @property
    def note(self) -> str:
        """What is to be said of it: that it may give wrong values, as on the device. Raises as `walk` does."""
        walk = self.walk
        if self.name.startswith("cortex_m::quantized_transpose_conv2d.") and transposed_goes_wrong(
            self.reads[0][1].sizes[1], self.numbers["stride"], self.numbers["padding"]
        ):
            return (
                f"{self.name} has a padding of {self.numbers['padding'][0]}, no multiple of its stride of "
                f"{self.numbers['stride'][0]}, which the CMSIS-NN of executorch 1.5 computes wrong: here as on the "
                "device. A later CMSIS-NN gives other values."
            )
        if walk is Walk.BY_STRIDES:
            return ""
        unlike = (place for _, place in self.reads if not place.in_sequence)
        tensor = self._named(next(unlike, self.results[0]))
        return f"{self.name} is handed {tensor}, and {walk.value}: its values may be wrong, here as on the device."

    def _refuse_dimensions(self, kernel: str, reads: Sequence[Placed]) -> None:
        most = most_dimensions(kernel)
        if most is not None and reads and len(reads[0].sizes) > most:
            self._fail(f"{self._named(reads[0])}: it takes {most} dimensions")

    def _refuse_orders(self, look: Look, reads: Sequence[Placed]) -> None:
        if look is Look.AS_ASKED:
            asked = self.numbers.get("dim_order")
            reads = [*reads[:1], Placed(reads[0].sizes, reads[0].order if asked is None else tuple(asked))]
        refused = look.refused(reads, self.results)
        if refused is not None:
            self._fail(f"{self._named(refused)}: it takes {look.text}")

    def _fail(self, why: str) -> None:
        raise SimulationError(f"{self.name} fails on the device with 0x12 (InvalidArgument) at {why}.")

    def _named(self, tensor: Placed) -> str:
        """The first of its tensors that is this one, in words."""
        argument = next((f"argument {name!r}" for name, place in self.reads if place is tensor), "its result")
        if argument == "its result" and all(place is not tensor for place in self.results):
            argument = "argument 'dim_order'"
        return f"{argument}, of sizes {list(tensor.sizes)} in memory order {list(tensor.order)}"


def memory_order(walk: Walk, rank: int) -> Order | None:
    """The order in which a kernel takes a tensor to lie that it doesn't look at; None for the declared one."""
    if walk is Walk.AS_CHANNELS_LAST and rank == len(NHWC):
        return NHWC
    return None if walk is Walk.BY_STRIDES else tuple(range(rank))


def refuse_missing(name: str) -> None:
    """
    Raises:
        SimulationError: a kernel that executorch's portable library, the one for bare metal, doesn't have.
    """
    if name.startswith(("aten::", "dim_order_ops::")) and name not in portable_kernels():
        raise SimulationError(
            f"executorch's portable library has no kernel {name}: on the device the method isn't loaded, with 0x14 "
            "(OperatorMissing). In the model's code, put operators in its place that there are kernels for."
        )
