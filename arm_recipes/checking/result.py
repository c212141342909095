"""What the check says: frozen results, as objects, as JSON, as text. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from arm_recipes.documents.blocks import Column, Document, Paragraph, Table, table
from arm_recipes.documents.results import Result


@dataclass(frozen=True)
class WrongLayer:
    """A layer, or an output, whose simulated value is not what the model makes of the layer's own inputs.

    Attributes:
        layer: operator and module of the model, e.g. ``aten.conv2d of stem.0``; of an output that is another than the
            layer that it should be, ``output 1, aten.linear of head``.
        operator: the operator, e.g. ``aten.conv2d``.
        module: path of the module, e.g. ``stem.0``; empty where it is not known.
        steps: largest difference, in steps of the layer's integers; of a layer in float in units of what its dtype can
            tell apart (`checking.bounds`); 0 where the shapes differ.
        elements: number of values that differ.
        of: number of values; 0 where the program's value has another shape.
        sample: index of the sample, from 0.
        among: layers before it that have no value of their own in the program: one of them may be the cause.
        cause: what is known of the cause, in a sentence; empty for nothing.
    """

    layer: str
    operator: str
    module: str
    steps: float
    elements: int
    of: int
    sample: int
    among: tuple[str, ...] = ()
    cause: str = ""


@dataclass(frozen=True)
class MethodCheck:
    """The check of one method's program.

    Attributes:
        method: name of the method.
        checked: whether it was checked.
        why_not: why it was not, as ``checked: no, because ...`` goes on; empty where it was.
        simulator: what the program ran on.
        samples: number of samples.
        layers: number of layers of the quantized module, or of the exported program where nothing is quantized.
        compared: of those, the layers whose own value was found in the program and held against theirs.
        grouped: the layers that the lowering fused or decomposed, and that were compared as one with those that read
            them.
        exact: compared layers that are equal in every value of every sample.
        one_step: those that are a step off somewhere.
        more: those that are further off: by two steps where `checking.bounds` allows it, else wrong.
        largest: largest difference of a layer that is not wrong, in steps.
        wrong: the layers that are wrong, in the model's order.
        note: what to know besides, such as that the time was up before the last sample; empty for nothing.
        seconds: what it took; None where that is left out.
    """

    method: str
    checked: bool
    why_not: str = ""
    simulator: str = ""
    samples: int = 0
    layers: int = 0
    compared: int = 0
    grouped: int = 0
    exact: int = 0
    one_step: int = 0
    more: int = 0
    largest: float = 0.0
    wrong: tuple[WrongLayer, ...] = ()
    note: str = ""
    seconds: float | None = None

    @property
    def right(self) -> bool:
        """Whether nothing wrong was found; also where nothing was looked at."""
        return not self.wrong

    def __str__(self) -> str:
        """In one line."""
        if not self.checked:
            return f"checked: no, because {self.why_not}"
        samples = "1 sample" if self.samples == 1 else f"{self.samples} samples"
        share = f"{self.compared} of {self.layers} layers compared on {samples}"
        if self.grouped:
            share += f", and {self.grouped} with the layers that read them"
        note = f" {self.note}" if self.note else ""
        if self.wrong:
            names = "; ".join(_told(wrong) for wrong in self.wrong[:3])
            rest = f" and {len(self.wrong) - 3} more" if len(self.wrong) > 3 else ""
            return f"checked: WRONG in {names}{rest} ({share}).{note}"
        off = [f"{self.exact} exact", f"{self.one_step} to one step"]
        off += [f"{self.more} to {self.largest:.3g}"] if self.more else []
        return f"checked: right, {share}: {', '.join(off)}.{note}"


def _told(wrong: WrongLayer) -> str:
    among = f", or what was fused into it ({', '.join(wrong.among)})" if wrong.among else ""
    how = f"{wrong.steps:.4g} steps in {wrong.elements:,} of {wrong.of:,} values" if wrong.of else "another shape"
    return f"{wrong.layer}{among}: {how}"


def failure(recipe: str, check: MethodCheck) -> str:
    """The message of the error for a program that is wrong: the first layer that is, what is known of the cause, and
    what can be done.

    Args:
        recipe: name of the recipe.
        check: has a layer in `wrong`.
    """
    first = check.wrong[0]
    among = f", or what was fused into it ({', '.join(first.among)})" if first.among else ""
    others = f" {len(check.wrong) - 1} more are wrong, the next is {check.wrong[1].layer}." if check.wrong[1:] else ""
    cause = first.cause or "The cause is not known: please report it with the model."
    how = (
        f"on sample {first.sample} {first.elements:,} of its {first.of:,} values are off, by up to {first.steps:.4g} "
        f"steps, computed from the same inputs on the {check.simulator}"
        if first.of
        else f"on the {check.simulator} it has another shape"
    )
    return (
        f"{recipe}: the program of method {check.method!r} does not compute what the model does. First wrong is "
        f"{first.layer}{among}: {how}.{others} {cause} "
        "No file was written; check=False exports it all the same."
    )


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
    """Whether each method's lowered program computes what its model does, layer by layer. ``print`` shows it.

    Attributes:
        recipe: name of the recipe.
        target: name of the recipe's target.
        methods: the check of each method, in the order of their names.
    """

    kind: ClassVar[str] = "arm_recipes check"
    schema_version: ClassVar[int] = 1
    derived_types: ClassVar[Mapping[str, Any]] = {"right": bool, "checked": bool}

    recipe: str
    target: str
    methods: tuple[MethodCheck, ...]

    @property
    def right(self) -> bool:
        """Whether nothing wrong was found."""
        return all(method.right for method in self.methods)

    @property
    def checked(self) -> bool:
        """Whether every method was checked."""
        return all(method.checked for method in self.methods)

    def derived(self) -> Mapping[str, Any]:
        return {"right": self.right, "checked": self.checked}

    def document(self) -> Document:
        blocks = [
            Paragraph(f"{self.recipe}, method {method.method}, {method}", "plain" if method.right else "bad")
            for method in self.methods
        ]
        wrong = list(self._wrong())
        tables = (_figures(self.methods), *((wrong_table(wrong),) if wrong else ()))
        return Document(f"Check of {self.recipe}", (*blocks, *tables))

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        """A row for each method, with the first layer that is wrong."""
        columns = (
            "method",
            "checked",
            "why_not",
            "samples",
            "layers",
            "compared",
            "grouped",
            "exact",
            "one_step",
            "more",
        )
        return (*columns, "wrong"), [
            {**{name: getattr(each, name) for name in columns}, "wrong": each.wrong[0].layer if each.wrong else ""}
            for each in self.methods
        ]

    def _wrong(self) -> Iterator[WrongLayer]:
        for method in self.methods:
            yield from method.wrong


def _figures(methods: Sequence[MethodCheck]) -> Table:
    names = ("layers", "compared", "grouped", "exact", "one_step", "more", "samples")
    return table(
        ("method", *(Column(name.replace("_", " "), "whole") for name in names)),
        ((method.method, *(getattr(method, name) for name in names)) for method in methods),
        "Layers, and how far those that were compared are off",
    )


def wrong_table(wrong: Sequence[WrongLayer]) -> Table:
    """The layers as a table."""
    columns = ("layer", Column("off by up to", "brief"), Column("differ", "whole"), Column("of", "whole"), "cause")
    return table(
        columns,
        ((each.layer, each.steps, each.elements, each.of, each.cause) for each in wrong),
        "Layers that are wrong",
    )
