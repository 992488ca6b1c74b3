"""What a tool of the control endpoint is: its words for the model, its schemas, and what it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestra_supervisor.gateway.control.untrusted import MARK, clean, cleaned
from orchestra_supervisor.gateway.endpoint import Exchange, Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["TEXT_LIMIT", "Answer", "Call", "Run", "Tool", "object_of"]

TEXT_LIMIT = 24_000
"""Characters of a result's text: clients cut at some 25,000 tokens, and warn at 10,000."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        tool: Its name.
        arguments: Held against its schema, with defaults.
        params: As they came, for what a client that comes again brings.
        exchange: Who asks, and the way back.
    """

    tool: str
    arguments: Json
    params: Json
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool found or did.

    Attributes:
        structured: Fits the output schema.
        text: The same for people and models, in few words.
        is_error: It was carried out and did not succeed.
        is_untrusted: It holds what a service wrote.
        links: Resources that say more: (uri, name).
    """

    structured: Json
    text: str
    is_error: bool = False
    is_untrusted: bool = False
    links: tuple[tuple[str, str], ...] = ()

    def to_result(self) -> Json:
        """Return the `result` of `tools/call`: nothing in it that a terminal would obey."""
        text = self.text
        if len(text) > TEXT_LIMIT:
            text = f"{text[:TEXT_LIMIT]}\n... cut: ask for less (fewer names, a smaller limit or tail)"
        content: list[Json] = [{"type": "text", "text": clean(text)}]
        for uri, name in self.links:
            content.append({"type": "resource_link", "uri": uri, "name": name})
        result: Json = {"content": content, "structuredContent": cleaned(self.structured)}
        if self.is_error:
            result["isError"] = True
        if self.is_untrusted:
            result["_meta"] = {MARK: True}
        return result


Run = Callable[[Call], Awaitable[Answer]]
"""Carries out a call; raises ToolTrouble for what it cannot do."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Attributes:
        name: At most 20 characters.
        title: For people.
        description: For the model, under 2 KB.
        role: Who may see and call it, at least.
        input: JSON Schema 2020-12 of an object.
        output: Likewise.
        run: Carries it out.
        reads: It changes nothing.
        destroys: It may end what runs.
    """

    name: str
    title: str
    description: str
    role: Role
    input: Json
    output: Json
    run: Run
    reads: bool = True
    destroys: bool = False

    def to_json(self) -> Json:
        """Return the tool as `tools/list` has it."""
        annotations: Json = {"title": self.title, "readOnlyHint": self.reads, "openWorldHint": False}
        if not self.reads:
            annotations |= {"destructiveHint": self.destroys, "idempotentHint": True}
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input,
            "outputSchema": self.output,
            "annotations": annotations,
        }


def object_of(
    properties: Json, *, optional: tuple[str, ...] = (), required: tuple[str, ...] | None = None
) -> Json:
    """Return the schema of an object that has these members and no other.

    Args:
        properties: Schemas by name.
        optional: Members that may be missing; all others must be there.
        required: Instead: those that must be there.
    """
    needed = [name for name in properties if name not in optional] if required is None else list(required)
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": needed} if needed else {})
