"""What a sweep found: a row per configuration, which of them to choose, and its files. No torch here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from arm_recipes.documents.blocks import Document
from arm_recipes.documents.results import Result
from arm_recipes.errors import ArmRecipeError, ToolError
from arm_recipes.tools.vela.estimates import Layer, estimated_by

from .document import document

if TYPE_CHECKING:
    import pandas

    from .retarget import RetargetedProgram


@dataclass(frozen=True)
class Figures:
    """Vela's estimates for one configuration, except for `pte_bytes`, which is exact. None was measured on hardware.

    Of several subgraphs (and methods) cycles, milliseconds, MACs, weights, DRAM and flash are added up, as if each ran
    once; of SRAM it is the largest, as they run one after the other in the same memory. Peak DRAM is so at most that.

    Attributes:
        cycles: NPU cycles of an inference (Vela's estimate).
        milliseconds: time of an inference in ms, which is `cycles` at `clock_mhz`.
        clock_mhz: clock of the system configuration, in MHz.
        npu_cycles: cycles in which the NPU computes.
        sram_access_cycles: cycles in which SRAM is read or written. All kinds of cycles overlap.
        dram_access_cycles: cycles in which DRAM is read or written.
        on_chip_flash_access_cycles: cycles in which on-chip flash is read.
        off_chip_flash_access_cycles: cycles in which off-chip flash is read.
        sram_kib: peak use of SRAM, in KiB.
        dram_kib: peak use of DRAM, in KiB.
        on_chip_flash_kib: use of on-chip flash, in KiB.
        off_chip_flash_kib: use of off-chip flash, in KiB.
        encoded_weight_bytes: bytes of the weights as Vela compressed them.
        network_macs: multiply-accumulates of an inference.
        utilisation: share of the multiply-accumulates that the NPU could do in `cycles`, 0 to 1.
        subgraphs: number of delegated subgraphs.
        pte_bytes: bytes of the .pte.
    """

    cycles: int
    milliseconds: float
    clock_mhz: float
    npu_cycles: int
    sram_access_cycles: int
    dram_access_cycles: int
    on_chip_flash_access_cycles: int
    off_chip_flash_access_cycles: int
    sram_kib: float
    dram_kib: float
    on_chip_flash_kib: float
    off_chip_flash_kib: float
    encoded_weight_bytes: int
    network_macs: int
    utilisation: float
    subgraphs: int
    pte_bytes: int

    @property
    def flash_kib(self) -> float:
        """Flash of both kinds, in KiB."""
        return self.on_chip_flash_kib + self.off_chip_flash_kib


@dataclass(frozen=True)
class Point:
    """A configuration, and what became of it.

    Attributes:
        recipe: name of the recipe, e.g. ``ETHOSU_U55_INT8``.
        macs: multiply-accumulates per cycle of the NPU.
        system_config: name of the section of the vela.ini.
        memory_mode: name of the section of the vela.ini.
        optimise: goal of Vela, ``Size`` or ``Performance``.
        figures: estimates; None where it failed.
        error: reason why it failed; None where it did not.
        pareto: whether no other point of the sweep is faster with as little SRAM, or needs less SRAM as fast.
        layers: layers of the compiled network, in Vela's order; of several subgraphs one after the other.
    """

    recipe: str
    macs: int
    system_config: str
    memory_mode: str
    optimise: str
    figures: Figures | None = None
    error: str | None = None
    pareto: bool = False
    layers: tuple[Layer, ...] = dataclasses.field(default=(), repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """The recipe's options that make this configuration."""
        return {axis: getattr(self, axis) for axis in AXES}

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from other points of the same sweep."""
        return (self.recipe, *self.options.values())


AXES = ("macs", "system_config", "memory_mode", "optimise")


@dataclass(frozen=True)
class Skipped:
    """Combinations that are not legal.

    Attributes:
        recipe: name of the recipe.
        reason: words of the options or of Vela.
        count: number of combinations that have this reason.
    """

    recipe: str
    reason: str
    count: int


@dataclass(frozen=True)
class SweepResult(Result):
    """What a sweep found.

    Attributes:
        points: configurations in the order of recipes and options.
        skipped: combinations that were left out, by reason.
        interrupted: whether Ctrl-C ended it before all points were done; `points` has those that were.
        vela: version of Vela.
        graphs: digest of the TOSA graphs that Vela was given, by lowering.
        settings: settings that were the same for all points.
        programs: functions that make the program of a point, by recipe; empty for a result that was read from a file.
    """

    kind: ClassVar[str] = "arm_recipes sweep"
    schema_version: ClassVar[int] = 1
    left_out: ClassVar[frozenset[str]] = frozenset({"programs"})
    derived_types: ClassVar[Mapping[str, Any]] = {"estimated_by": str, "layer_columns": tuple[str, ...]}

    points: tuple[Point, ...]
    skipped: tuple[Skipped, ...] = ()
    interrupted: bool = False
    vela: str = ""
    graphs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    programs: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def done(self) -> tuple[Point, ...]:
        """The points that did not fail."""
        return tuple(point for point in self.points if point.figures is not None)

    @property
    def failed(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.figures is None)

    @property
    def pareto(self) -> tuple[Point, ...]:
        """The front of latency against peak SRAM, fastest first."""
        return tuple(sorted((point for point in self.points if point.pareto), key=_by_latency))

    def best(
        self,
        *,
        max_sram: float | None = None,
        max_flash: float | None = None,
        max_latency_ms: float | None = None,
    ) -> Point | None:
        """The fastest point that fits, by Vela's estimates; of equally fast ones that with the least SRAM, then the
        smallest .pte. With `max_latency_ms`, the one with the least SRAM of those that are fast enough.

        Args:
            max_sram: most peak SRAM, in KiB.
            max_flash: most flash of both kinds, in KiB.
            max_latency_ms: most time of an inference, in milliseconds.

        Returns:
            None where no point fits.
        """
        fitting = [
            point
            for point in self.done
            if point.figures is not None
            and (max_sram is None or point.figures.sram_kib <= max_sram)
            and (max_flash is None or point.figures.flash_kib <= max_flash)
            and (max_latency_ms is None or point.figures.milliseconds <= max_latency_ms)
        ]
        return min(fitting, key=_by_latency if max_latency_ms is None else _by_sram, default=None)

    def program(self, point: Point) -> RetargetedProgram:
        """Make the program of a point, which is that of a fresh export.

        Raises:
            ArmRecipeError: the result was read from a file, or the point is not one of it.
            LoweringError: the point failed.
        """
        if point.key not in {each.key for each in self.points}:
            raise ArmRecipeError(f"{point.recipe} {point.options}: not a point of this sweep.")
        if point.recipe not in self.programs:
            raise ArmRecipeError(
                "This result has no lowered program to make the point's of: it was read from a file, or lowering failed"
                ". Call sweep once more, with resume=FILE, or export with the point's recipe and options."
            )
        made: RetargetedProgram = self.programs[point.recipe](point.options)
        return made

    def derived(self) -> Mapping[str, Any]:
        return {"estimated_by": estimated_by(self.vela), "layer_columns": _LAYER_COLUMNS}

    def document(self) -> Document:
        return document(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON. Layers, of which there are many, are rows of `layer_columns`."""
        content = super().to_dict()
        for point in content["points"]:
            point["layers"] = [list(layer.values()) for layer in point["layers"]]
        return content

    def to_json(self) -> str:
        """JSON with a line per point, of which there may be many."""
        content = self.to_dict()
        points = content.pop("points")
        lines = ",\n".join(json.dumps(point, separators=(",", ":"), allow_nan=False) for point in points)
        return f'{json.dumps(content, indent=2)[:-2]},\n  "points": [\n{lines}\n]}}'

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SweepResult:
        """Make it of what `to_dict` gave. Raises as `Result.from_dict` does."""
        if isinstance(content, Mapping) and content.get("layer_columns") == _LAYER_COLUMNS:
            content = {**content, "points": [_with_named_layers(point) for point in content.get("points", ())]}
        return super().from_dict(content)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        schema = super().schema()
        layer = schema["$defs"]["Layer"]
        columns = [layer["properties"][name] for name in _LAYER_COLUMNS]
        schema["$defs"]["Layer"] = {
            "title": "Layer",
            "description": "the values of layer_columns",
            "type": "array",
            "prefixItems": columns,
            "items": False,
            "minItems": len(columns),
        }
        schema["$defs"][cls.__name__]["properties"]["layer_columns"] = {"const": _LAYER_COLUMNS}
        return schema

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        """The points. Figures of failed ones are empty."""
        before = [field.name for field in dataclasses.fields(Point) if field.name not in ("figures", "error", "layers")]
        columns = [*before, *(field.name for field in dataclasses.fields(Figures)), "error"]
        return columns, [
            {name: getattr(point, name) for name in (*before, "error")}
            | (dataclasses.asdict(point.figures) if point.figures else {})
            for point in self.points
        ]

    def to_dataframe(self) -> pandas.DataFrame:
        """A pandas DataFrame with a row per point.

        Raises:
            ToolError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ToolError(
                f"to_dataframe needs pandas, which can't be imported here ({error}). "
                "Install it with: pip install pandas"
            ) from error
        columns, rows = self.rows()
        return pandas.DataFrame(rows, columns=columns)


def _by_latency(point: Point) -> tuple[float, ...]:
    assert point.figures is not None
    return (point.figures.milliseconds, point.figures.sram_kib, point.figures.pte_bytes)


def _by_sram(point: Point) -> tuple[float, ...]:
    assert point.figures is not None
    return (point.figures.sram_kib, point.figures.milliseconds, point.figures.pte_bytes)


_LAYER_COLUMNS = [field.name for field in dataclasses.fields(Layer)]


def _with_named_layers(point: Any) -> Any:
    """A point as `to_dict` gives it, its layers with the names of their values again."""
    if not isinstance(point, Mapping) or not isinstance(point.get("layers"), list):
        return point
    layers = [dict(zip(_LAYER_COLUMNS, row, strict=False)) if isinstance(row, list) else row for row in point["layers"]]
    return {**point, "layers": layers}


def figures_of(summaries: Sequence[Mapping[str, str]], macs: int, pte_bytes: int) -> Figures:
    """The figures of a point.

    Args:
        summaries: Vela's summary of each subgraph, by the column names of its CSV file.
        macs: multiply-accumulates per cycle of the NPU.
        pte_bytes: size of the .pte.
    """

    def total(column: str) -> float:
        return sum(float(summary[column]) for summary in summaries)

    cycles, network_macs = total("cycles_total"), total("nn_macs")
    clock = float(summaries[0]["core_clock"])
    return Figures(
        cycles=int(cycles),
        milliseconds=cycles / clock * 1e3,
        clock_mhz=clock / 1e6,
        npu_cycles=int(total("cycles_npu")),
        sram_access_cycles=int(total("cycles_sram_access")),
        dram_access_cycles=int(total("cycles_dram_access")),
        on_chip_flash_access_cycles=int(total("cycles_on_chip_flash_access")),
        off_chip_flash_access_cycles=int(total("cycles_off_chip_flash_access")),
        sram_kib=max(float(summary["sram_memory_used"]) for summary in summaries),
        dram_kib=total("dram_memory_used"),
        on_chip_flash_kib=total("on_chip_flash_memory_used"),
        off_chip_flash_kib=total("off_chip_flash_memory_used"),
        encoded_weight_bytes=int(total("total_npu_encoded_weights")),
        network_macs=int(network_macs),
        utilisation=network_macs / (cycles * macs) if cycles else 0.0,
        subgraphs=len(summaries),
        pte_bytes=pte_bytes,
    )


def with_pareto(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points, those marked that are on the front of latency against peak SRAM."""
    points = tuple(points)
    places = [(each.figures.milliseconds, each.figures.sram_kib) for each in points if each.figures is not None]
    front = set()
    least = float("inf")
    for milliseconds, sram in sorted(set(places)):
        if sram < least:
            least = sram
            front.add((milliseconds, sram))
    return tuple(
        dataclasses.replace(
            each,
            pareto=each.figures is not None and (each.figures.milliseconds, each.figures.sram_kib) in front,
        )
        for each in points
    )
