"""The JSON Schema of the native form, out of its models.

`python -m orchestra_supervisor.config.schema FILE` writes it; without FILE it goes to stdout.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from orchestra_supervisor.config.form import FileForm

__all__ = ["fleet_schema", "main", "schema_text"]


def fleet_schema() -> dict[str, object]:
    """Return the schema of a file in the native form."""
    schema = cast("dict[str, object]", _tidied(FileForm.model_json_schema(by_alias=True)))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Orchestra Supervisor fleet",
        "description": "A fleet of services in the native form. docs/configuration.md explains every key.",
    }


def schema_text() -> str:
    """Return the schema as it stands in configs/orchestra.schema.json."""
    return json.dumps(fleet_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the schema.

    Args:
        arguments: A file's name, or none for stdout.
    """
    if arguments:
        Path(arguments[0]).write_text(schema_text(), encoding="utf-8")
    else:
        sys.stdout.write(schema_text())
    return 0


def _tidied(schema: object) -> object:
    """Take out what helps no editor: generated titles, `default: null`, and the null of optional keys."""
    if isinstance(schema, list):
        return [_tidied(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("dict[str, object]", schema)
    result: dict[str, object] = {}
    for key, member in members.items():
        if key == "default" and member is None:
            continue
        if key == "title" and isinstance(member, str):
            continue
        result[key] = _tidied(member)
    choices = result.get("anyOf")
    if isinstance(choices, list):
        given = [choice for choice in cast("list[object]", choices) if choice != {"type": "null"}]
        result["anyOf"] = given
        only = given[0] if len(given) == 1 else None
        if isinstance(only, dict):
            del result["anyOf"]
            result = cast("dict[str, object]", only) | result
    return result


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
