"""What a server says of itself, made fit to be shown: one malformed entry never empties a list.

Descriptions go to a model as they are. Characters that a person does not see, and comments, have no
business in them, so they are taken out. What is not known here is passed on as it is.
"""

import re
from typing import cast

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Malformed", "clean_prompt", "clean_resource", "clean_template", "clean_text", "clean_tool"]

_DEPTH = 64  # of a schema; deeper ones are an attack, or a fault

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TEXTS = {"description", "title"}


class Malformed(Exception):
    """An entry of a list that cannot be shown; the text says why."""


def clean_text(words: str) -> str:
    """Return words without what a person does not see."""
    if "<!--" in words:
        words = _COMMENT.sub("", words)
    return _HIDDEN.sub("", words)


def clean_tool(raw: Json) -> Json:
    """Return a tool as it can be shown.

    Raises:
        Malformed: It has no name, or no schema that a client could read.
    """
    tool = _cleaned(raw)
    schema = tool.get("inputSchema")
    if not isinstance(schema, dict):
        raise Malformed("its inputSchema is not an object")
    tool["inputSchema"] = _schema(cast("Json", schema), "inputSchema")
    if "outputSchema" in tool:
        output = tool["outputSchema"]
        if not isinstance(output, dict):
            raise Malformed("its outputSchema is not an object")
        tool["outputSchema"] = _schema(cast("Json", output), "outputSchema")
    if "annotations" in tool and not isinstance(tool["annotations"], dict):
        del tool["annotations"]
    return tool


def clean_prompt(raw: Json) -> Json:
    """Return a prompt as it can be shown.

    Raises:
        Malformed: It has no name.
    """
    prompt = _cleaned(raw)
    arguments = prompt.get("arguments")
    if arguments is not None and not (
        isinstance(arguments, list) and all(text(one, "name") for one in cast("list[object]", arguments))
    ):
        raise Malformed("its arguments are not a list of named ones")
    return prompt


def clean_resource(raw: Json) -> Json:
    """Return a resource as it can be shown.

    Raises:
        Malformed: It has no uri or no name.
    """
    if not text(raw, "uri"):
        raise Malformed("it has no uri")
    return _cleaned(raw)


def clean_template(raw: Json) -> Json:
    """Return a resource template as it can be shown.

    Raises:
        Malformed: It has no uriTemplate or no name.
    """
    if not text(raw, "uriTemplate"):
        raise Malformed("it has no uriTemplate")
    return _cleaned(raw)


def _cleaned(raw: Json) -> Json:
    if not text(raw, "name"):
        raise Malformed("it has no name")
    cleaned = dict(raw)
    for key in _TEXTS:
        if key in cleaned:
            words = cleaned[key]
            if isinstance(words, str):
                cleaned[key] = clean_text(words)
            else:
                del cleaned[key]
    if "_meta" in cleaned and not isinstance(cleaned["_meta"], dict):
        del cleaned["_meta"]
    return cleaned


def _schema(schema: Json, where: str) -> Json:
    if schema.get("type", "object") != "object":
        raise Malformed(f"its {where} is not of type object")
    properties, required = schema.get("properties"), schema.get("required")
    if properties is not None and not isinstance(properties, dict):
        raise Malformed(f"the properties of its {where} are not an object")
    for name, part in member(schema, "properties").items():
        if not isinstance(part, dict | bool):
            raise Malformed(f"property {name[:60]!r} of its {where} is not a schema")
    if required is not None and not (
        isinstance(required, list) and all(isinstance(one, str) for one in cast("list[object]", required))
    ):
        raise Malformed(f"what its {where} requires is not a list of names")
    cleaned = cast("Json", _walked(schema, 0))
    cleaned.setdefault("type", "object")
    return cleaned


def _walked(part: object, depth: int) -> object:
    """Return a part of a schema with clean descriptions."""
    if depth > _DEPTH:
        raise Malformed(f"its schema is more than {_DEPTH} levels deep")
    if isinstance(part, dict):
        return {
            key: clean_text(value) if key in _TEXTS and isinstance(value, str) else _walked(value, depth + 1)
            for key, value in cast("Json", part).items()
        }
    if isinstance(part, list):
        return [_walked(value, depth + 1) for value in cast("list[object]", part)]
    return part
