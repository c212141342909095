"""What every result can do, on one that has every kind of field."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jsonschema
import pytest

from arm_recipes.documents.blocks import Document, Heading, Paragraph, table
from arm_recipes.documents.results import FORMS, Result
from arm_recipes.errors import ArmRecipeError


@dataclass(frozen=True)
class _Part:
    name: str
    share: float | None


@dataclass(frozen=True)
class _Sample(Result):
    kind: ClassVar[str] = "arm_recipes sample"
    schema_version: ClassVar[int] = 3
    left_out: ClassVar[frozenset[str]] = frozenset({"handle"})

    name: str
    size: int
    level: float
    parts: tuple[_Part, ...]
    options: Mapping[str, Any]
    memory: Mapping[str, float]
    note: str | None = None
    handle: Any = field(default=None, compare=False)

    def derived(self) -> Mapping[str, Any]:
        return {"parts_in_all": len(self.parts)}

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        return ["name", "share"], [dataclasses.asdict(part) for part in self.parts]

    def document(self) -> Document:
        rows = [(part.name, str(part.share)) for part in self.parts]
        return Document(f"Sample {self.name}", (Heading("Parts"), Paragraph(self.name), table(("name", "share"), rows)))


_SAMPLE = _Sample(
    "one",
    3,
    math.inf,
    (_Part("a", -math.inf), _Part("b", None), _Part("<c>", 0.5)),
    {"macs": 128, "flags": ("--a", "--b"), "off": None},
    {"SRAM": 1.5, "none": 2.0},
    handle=print,
)


def test_json_is_read_back_equal() -> None:
    back = _Sample.from_json(_SAMPLE.to_json())
    assert isinstance(back.parts[0], _Part) and back.parts == _SAMPLE.parts
    assert back.level == math.inf and back.memory == _SAMPLE.memory
    assert back.to_json() == _SAMPLE.to_json()
    assert back.handle is None


def test_a_figure_that_is_no_number_is_a_text_in_json() -> None:
    sample = dataclasses.replace(_SAMPLE, level=math.nan)
    content = json.loads(sample.to_json(), parse_constant=pytest.fail)
    assert (content["level"], content["parts"][0]["share"]) == ("nan", "-inf")
    assert math.isnan(_Sample.from_dict(content).level)


def test_json_begins_with_what_it_is() -> None:
    content = _SAMPLE.to_dict()
    assert list(content)[:2] == ["schema_version", "kind"]
    assert (content["schema_version"], content["kind"], content["parts_in_all"]) == (3, "arm_recipes sample", 3)
    assert "handle" not in content
    assert content["options"] == {"macs": 128, "flags": ["--a", "--b"], "off": None}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", ["no JSON"]),
        ("[1]", ["list", "arm_recipes sample"]),
        ("{}", ["None", "arm_recipes sample", "3"]),
        (_SAMPLE.to_json().replace("arm_recipes sample", "arm_recipes report"), ["'arm_recipes report'"]),
        (_SAMPLE.to_json().replace('"schema_version": 3', '"schema_version": 2'), ["version 2", "version 3"]),
        (_SAMPLE.to_json().replace('"size": 3', '"size": "much"'), ["arm_recipes sample", "size"]),
        (_SAMPLE.to_json().replace('"name": "one",', ""), ["arm_recipes sample", "name"]),
    ],
)
def test_what_is_no_such_result_is_refused(written: str, words: list[str]) -> None:
    with pytest.raises(ArmRecipeError) as raised:
        _Sample.from_json(written)
    assert [word for word in words if word not in str(raised.value)] == []


def test_its_json_is_as_its_schema_says() -> None:
    schema = _Sample.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    content = _SAMPLE.to_dict()
    validator.validate(content)
    for name, wrong in (("size", 1.5), ("level", "big"), ("kind", "other"), ("schema_version", 2), ("parts", [{}])):
        assert not validator.is_valid({**content, name: wrong}), name
    assert not validator.is_valid({name: value for name, value in content.items() if name != "name"})
    assert "handle" not in json.dumps(schema)


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        _SAMPLE.name = "two"  # type: ignore[misc]


def test_it_shows_itself_in_every_form() -> None:
    assert str(_SAMPLE) == _SAMPLE.text() == _SAMPLE.text(100)
    assert str(_SAMPLE).splitlines()[:2] == ["Parts", "one"]
    assert "<h1>Sample one</h1>" in _SAMPLE.to_html()
    assert "<h1>Mine</h1>" in _SAMPLE.to_html("Mine")
    assert _SAMPLE._repr_html_().startswith('<div class="arm-recipes embedded">')
    assert {form: write(_SAMPLE) for form, write in FORMS.items()} == {
        ".html": _SAMPLE.to_html(),
        ".json": _SAMPLE.to_json(),
        ".txt": _SAMPLE.text(),
        ".md": _SAMPLE.to_markdown(),
        ".csv": "name,share\na,-inf\nb,\n<c>,0.5\n",
    }


def test_what_has_no_rows_is_no_csv() -> None:
    class _Single(_Sample):
        rows = Result.rows

    with pytest.raises(ArmRecipeError, match=r"'arm_recipes sample', which has no rows for a .csv. Allowed: .html"):
        _Single("one", 3, 0.0, (), {}, {}).to_csv()


@pytest.mark.parametrize(("more", "loaded"), [("", []), ("import rich.console, torch", ["rich.console", "torch"])])
def test_results_load_neither_torch_nor_rich(more: str, loaded: list[str]) -> None:
    """The second case proves that it would be seen."""
    code = (
        f"import sys; import arm_recipes.documents.results; {more}\n"
        "print([name for name in ('rich.console', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)
