"""Search mode: two tools in place of a thousand. `tools_search` finds, `tools_call` calls.

For clients that cannot take long lists, or pay for every tool in each request.
"""

import re
from collections.abc import Mapping
from math import log

from orchestra_supervisor.gateway.backends.fields import text, whole
from orchestra_supervisor.gateway.catalog.shelf import Tool
from orchestra_supervisor.gateway.catalog.view import View
from orchestra_supervisor.gateway.messages import Json

__all__ = ["CALL", "SEARCH", "SEARCH_TOOLS", "SearchIndex"]

SEARCH = "tools_search"
CALL = "tools_call"
_MOST = 50  # tools of one answer
_LINE = 160  # characters of a description in it

_WORD = re.compile(r"[a-z0-9]+")

SEARCH_TOOLS: list[Json] = [
    {
        "name": CALL,
        "title": "Call a tool",
        "description": "Call a tool that tools_search found, with arguments that fit its inputSchema.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "As tools_search gives it: server__tool"},
                "arguments": {"type": "object", "description": "As the tool's inputSchema wants them"},
            },
            "required": ["name"],
        },
        "annotations": {"openWorldHint": True},
    },
    {
        "name": SEARCH,
        "title": "Search tools",
        "description": (
            "Find tools of all servers behind this endpoint by what they do. Returns names, a line each, and "
            "the inputSchema of the best ones. Then call one by tools_call."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "Words of what is to be done; empty: any tool"},
                "server": {"type": "string", "description": "Only of this server"},
                "capability": {"type": "string", "description": "Only of servers with this capability"},
                "limit": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": 10},
                "schemas": {
                    "type": "integer",
                    "minimum": 0,
                    "default": 3,
                    "description": "How many inputSchemas",
                },
            },
        },
        "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
    },
]


class SearchIndex:
    """Finds tools of one view by words.

    Args:
        view: The tools.
    """

    def __init__(self, view: View) -> None:
        self._tools = view.tool_of
        self._words: dict[str, Mapping[str, float]] = {}
        counts: dict[str, int] = {}
        for name, tool in self._tools.items():
            words = _weights(name, tool)
            self._words[name] = words
            for word in words:
                counts[word] = counts.get(word, 0) + 1
        total = len(self._tools) or 1
        self._rarity = {word: log(1 + total / count) for word, count in counts.items()}

    def find(self, arguments: Json, servers: frozenset[str] | None) -> Json:
        """Answer a search.

        Args:
            arguments: Of `tools_search`.
            servers: Those with the wanted capability; None: all.
        """
        wanted = _WORD.findall(text(arguments, "query").lower())
        server = text(arguments, "server")
        limit = max(1, min(_MOST, whole(arguments, "limit", 10)))
        scored: list[tuple[float, str]] = []
        for name, words in self._words.items():
            owner = self._tools[name].server
            if (server and owner != server) or (servers is not None and owner not in servers):
                continue
            score = self._score(wanted, words)
            if score or not wanted:
                scored.append((-score, name))
        scored.sort()
        schemas = whole(arguments, "schemas", 3)
        found = [
            self._row(name, has_schema=place < schemas) for place, (_, name) in enumerate(scored[:limit])
        ]
        result: Json = {"tools": found, "found": len(scored), "of": len(self._tools)}
        if not scored:
            result["hint"] = "try fewer or other words, or an empty query with `server`"
        return result

    def _score(self, wanted: list[str], words: Mapping[str, float]) -> float:
        score = 0.0
        for one in wanted:
            if one in words:
                score += words[one] * self._rarity[one]
            elif len(one) > 2:
                near = [
                    word for word in words if word.startswith(one) or (one.startswith(word) and len(word) > 3)
                ]
                score += 0.5 * max((words[word] * self._rarity[word] for word in near), default=0.0)
        return score

    def _row(self, name: str, *, has_schema: bool) -> Json:
        tool = self._tools[name]
        words = " ".join(text(tool.shown, "description").split())
        line = words if len(words) <= _LINE else words[: _LINE - 1] + "…"
        row: Json = {"name": name, "server": tool.server, "description": line}
        if has_schema:
            row["inputSchema"] = tool.shown["inputSchema"]
        return row


def _weights(name: str, tool: Tool) -> Mapping[str, float]:
    weights: dict[str, float] = {}
    parts = ((3.0, name), (2.0, text(tool.shown, "title")), (1.0, text(tool.shown, "description")[:2000]))
    for weight, words in parts:
        for word in _WORD.findall(re.sub(r"([a-z])([A-Z])", r"\1 \2", words).lower()):
            weights[word] = max(weight, weights.get(word, 0.0))
    return weights
