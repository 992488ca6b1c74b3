"""Arguments of a tool held against its input schema, with words that help the one who wrote them.

The schemas are ours, so this knows the part of JSON Schema that they use and no more.
"""

import difflib
import math
from collections.abc import Mapping
from typing import cast

from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.messages import Json

__all__ = ["nearest", "validated"]

_SHOWN = 60  # characters of a wrong value that are quoted
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def validated(tool: str, schema: Mapping[str, object], arguments: object) -> Json:
    """Return the arguments with defaults filled in.

    Args:
        tool: Its name, for the message.
        schema: Its input schema: an object.
        arguments: As the client sent them.

    Raises:
        ToolTrouble: They do not fit; the message names the argument, the value and what is allowed.
    """
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise ToolTrouble(f"{tool}: arguments is no object")
    given = cast("Json", arguments)
    known = cast("Mapping[str, Mapping[str, object]]", schema.get("properties", {}))
    for name in given:
        if name not in known:
            hint = (
                f"did you mean {near[0]}?" if (near := nearest(name, known)) else f"it takes: {_list(known)}"
            )
            raise ToolTrouble(f"{tool} has no argument {name[:_SHOWN]!r}", hint)
    for name in cast("list[str]", schema.get("required", [])):
        if given.get(name) is None:
            raise ToolTrouble(f"{tool} needs the argument {name!r}", _what(known[name]))
    filled: Json = {}
    for name, one in known.items():
        value = given.get(name)
        if value is None:
            if "default" in one:
                filled[name] = one["default"]
            continue
        filled[name] = _checked(f"{tool}: {name}", one, value)
    return filled


def nearest(word: str, known: Mapping[str, object] | list[str]) -> list[str]:
    """Return the known words that are most like another, the nearest first; at most three."""
    return difflib.get_close_matches(word.lower(), list(known), n=3, cutoff=0.5)


def _checked(place: str, schema: Mapping[str, object], value: object) -> object:
    kind = str(schema["type"])
    if kind in {"integer", "number", "boolean"} and isinstance(value, str):
        value = _read(kind, value)  # some clients send every argument as text
    if kind == "array" and isinstance(value, str):
        value = [value]
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not _is(kind, value):
        raise ToolTrouble(f"{place} is {_quoted(value)}, which is no {kind}", _what(schema))
    if "enum" in schema and value not in cast("list[object]", schema["enum"]):
        raise ToolTrouble(f"{place} is {_quoted(value)}", _what(schema))
    if isinstance(value, str):
        return _text(place, schema, value)
    if isinstance(value, list):
        return _items(place, schema, cast("list[object]", value))
    if isinstance(value, int | float) and kind != "boolean":
        low, high = (cast("float | None", schema.get(key)) for key in ("minimum", "maximum"))
        is_within = (low is None or value >= low) and (high is None or value <= high)
        if not is_within or (isinstance(value, float) and not math.isfinite(value)):
            raise ToolTrouble(f"{place} is {_quoted(value)}", _what(schema))
    return value


def _is(kind: str, value: object) -> bool:
    return type(value) in _TYPES[kind]


def _read(kind: str, words: str) -> object:
    """Return what a text says, where it says what is wanted; else the text."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(words.lower(), words)
    try:
        return int(words) if kind == "integer" else float(words)
    except ValueError:
        return words


def _text(place: str, schema: Mapping[str, object], value: str) -> str:
    longest = cast("int", schema.get("maxLength", 4_096))
    if not cast("int", schema.get("minLength", 0)) <= len(value) <= longest:
        raise ToolTrouble(f"{place} has {len(value)} characters", _what(schema) or f"at most {longest}")
    return value


def _items(place: str, schema: Mapping[str, object], values: list[object]) -> list[object]:
    most, least = cast("int", schema.get("maxItems", 1_000)), cast("int", schema.get("minItems", 0))
    if not least <= len(values) <= most:
        raise ToolTrouble(f"{place} has {len(values)} items", f"{least} to {most}")
    items = cast("Mapping[str, object]", schema["items"])
    return [_checked(f"{place}[{number}]", items, value) for number, value in enumerate(values)]


def _what(schema: Mapping[str, object]) -> str:
    """Return what is allowed, for the hint."""
    if "enum" in schema:
        return f"one of {', '.join(str(one) for one in cast('list[object]', schema['enum']))}"
    parts = [str(schema["type"])]
    if "minimum" in schema or "maximum" in schema:
        parts.append(f"{schema.get('minimum', '')} to {schema.get('maximum', '')}")
    description = str(schema.get("description", ""))
    return f"{' '.join(parts)}: {description}" if description else " ".join(parts)


def _quoted(value: object) -> str:
    said = repr(value)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."


def _list(known: Mapping[str, object]) -> str:
    return ", ".join(known) or "no arguments"
