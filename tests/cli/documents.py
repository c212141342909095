"""What --json prints, held against the schemas of docs/schemas."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def valid(printed: str) -> Any:
    """The document of a command, which has to be valid."""
    document = json.loads(printed)
    _validator().validate(document)
    return document


@functools.cache
def _validator() -> Draft202012Validator:
    contents = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")}
    for schema in contents.values():
        Draft202012Validator.check_schema(schema)
    registry = Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in contents.items())
    return Draft202012Validator(contents["command.json"], registry=registry)
