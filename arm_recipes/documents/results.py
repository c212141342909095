"""What every result of arm_recipes can do: be shown, be kept as JSON, and be read again. No torch here."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec

from arm_recipes.errors import ArmRecipeError

from .blocks import Document
from .html import page
from .markdown import markdown
from .text import text

_R = TypeVar("_R", bound="Result")

# JSON has no such numbers.
_NOT_FINITE = ("inf", "-inf", "nan")


@dataclasses.dataclass(frozen=True)
class Result:
    """Base of all results, which are frozen dataclasses of plain data. ``print`` one, or show it in a notebook.

    Attributes:
        kind: what it is, in its JSON, e.g. ``arm_recipes report``.
        schema_version: of that JSON; it grows when a field changes its meaning or goes.
        left_out: fields that are no data, and so not in its JSON.
        derived_types: types of what `derived` gives, by name.
    """

    kind: ClassVar[str]
    schema_version: ClassVar[int]
    left_out: ClassVar[frozenset[str]] = frozenset()
    derived_types: ClassVar[Mapping[str, Any]] = {}

    def document(self) -> Document:
        """What it says, as blocks."""
        raise NotImplementedError

    def derived(self) -> Mapping[str, Any]:
        """What its JSON says beside its fields, because it follows from them."""
        return {}

    def text(self, width: int = 100) -> str:
        """For people, with lines of at most `width` characters as far as names allow."""
        return text(self.document(), width)

    def __str__(self) -> str:
        return self.text()

    def to_markdown(self) -> str:
        """For a pull request or an issue."""
        return markdown(self.document())

    def to_html(self, title: str | None = None) -> str:
        """A page in one file that needs no network; `title` instead of its own."""
        return page(self.document(), title)

    def _repr_html_(self) -> str:
        return page(self.document(), embedded=True)

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        """The names of the columns, and the rows, of its CSV.

        Raises:
            ArmRecipeError: it is nothing of which there are several.
        """
        raise ArmRecipeError(
            f"This is of kind {self.kind!r}, which has no rows for a .csv. Allowed: .html, .json, .md, .txt."
        )

    def to_csv(self) -> str:
        """A line per row, with a header. Raises as `rows` does."""
        columns, rows = self.rows()
        written = io.StringIO()
        writer = csv.DictWriter(written, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        return written.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON. Figures that are infinite or not a number are the texts ``inf``, ``-inf``, ``nan``."""
        fields = {name: getattr(self, name) for name in _names(type(self))}
        plain: dict[str, Any] = msgspec.to_builtins({**fields, **self.derived()}, str_keys=True)
        return {"schema_version": self.schema_version, "kind": self.kind, **_finite(plain)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls: type[_R], content: Mapping[str, Any]) -> _R:
        """Make it of what `to_dict` gave.

        Raises:
            ArmRecipeError: it is not that, or of another schema version.
        """
        found = (content.get("kind"), content.get("schema_version")) if isinstance(content, Mapping) else None
        if found != (cls.kind, cls.schema_version):
            told = f"of kind {found[0]!r} and schema version {found[1]!r}" if found else f"{type(content).__name__}"
            raise ArmRecipeError(
                f"This is {told}. Allowed: {cls.kind!r} of schema version {cls.schema_version}, as this version of "
                "arm_recipes writes it. Make it anew."
            )
        try:
            return msgspec.convert(dict(content), cls, strict=False)
        except msgspec.ValidationError as error:
            raise ArmRecipeError(f"This is no {cls.kind}: {error}. Give what arm_recipes wrote.") from error

    @classmethod
    def from_json(cls: type[_R], written: str) -> _R:
        """Read what `to_json` gave. Raises as `from_dict` does."""
        try:
            content = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise ArmRecipeError(f"This is no JSON: {error}. Give what arm_recipes wrote.") from error
        return cls.from_dict(content)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON Schema of `to_dict`."""
        made = msgspec.json.schema(cls)
        for definition in made["$defs"].values():
            _describe(definition)
        own = made["$defs"][cls.__name__]
        for name in cls.left_out:
            own["properties"].pop(name, None)
        head = {"schema_version": {"const": cls.schema_version}, "kind": {"const": cls.kind}}
        derived = {name: msgspec.json.schema(type_) for name, type_ in cls.derived_types.items()}
        own["properties"] = {**head, **own["properties"], **derived}
        own["required"] = list(own["properties"])
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.kind, **_lenient(made)}


# What --report writes, by the ending of the file's name.
FORMS: dict[str, Callable[[Result], str]] = {
    ".html": lambda result: result.to_html(),
    ".json": lambda result: result.to_json(),
    ".txt": lambda result: result.text(),
    ".md": lambda result: result.to_markdown(),
    ".csv": lambda result: result.to_csv(),
}


def _names(cls: type[Result]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.name not in cls.left_out]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def _describe(definition: dict[str, Any]) -> None:
    """Split the docstring of a class into what it says of each field."""
    text, _, fields = inspect.cleandoc(definition.pop("description", "")).partition("\nAttributes:\n")
    definition["description"] = " ".join(text.partition("\n\n")[0].split())
    for name, what in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", fields, re.MULTILINE):
        if name in definition["properties"]:
            definition["properties"][name]["description"] = " ".join(what.split())


def _lenient(schema: Any) -> Any:
    """The schema, in which a number may be one of those that JSON has not. Of what msgspec's versions do differently,
    always the same: alternatives in one order, and no empty object for a default."""
    if isinstance(schema, list):
        return [_lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return {"anyOf": [schema, {"enum": list(_NOT_FINITE)}]}
    made = {name: _lenient(each) for name, each in schema.items() if (name, each) != ("default", {})}
    if "anyOf" in made:
        made["anyOf"] = sorted(made["anyOf"], key=json.dumps)
    return made


def _cell(value: Any) -> Any:
    """A cell of a .csv file. A spreadsheet takes text that starts so for a formula, and a module may be called that."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
