"""Names of tools and prompts in the catalog of all servers: `server__tool`, within what clients take.

Clients refuse names over 64 characters and all but `[A-Za-z0-9_-]`. What does not fit is shortened by a
hash of the whole name, so that a tool has the same name whatever else there is, in every life of the
gateway; only names that become equal by it differ from what they would be alone.

Source: MCP 2026-07-28, `server/tools.mdx`; the limit is that of the clients.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

__all__ = ["NAME_LIMIT", "SEPARATOR", "assign_names", "exposed_name"]

NAME_LIMIT = 64
SEPARATOR = "__"

_REFUSED = re.compile(r"[^A-Za-z0-9_-]")
_HASH = 8  # characters

Pair = tuple[str, str]


def exposed_name(server: str, tool: str) -> str:
    """Return the name that a tool has when no other has the same."""
    whole = f"{server}{SEPARATOR}{tool}"
    plain = _REFUSED.sub("_", whole)
    return plain if len(plain) <= NAME_LIMIT else _hashed(server, tool, plain)


def assign_names(pairs: Iterable[Pair]) -> Mapping[Pair, str]:
    """Give each (server, tool) a name of its own, whatever their order.

    Of several that would have one name, the one that had to be changed the least keeps it, if there is one.
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in set(pairs):
        groups[exposed_name(*pair)].append(pair)
    names: dict[Pair, str] = {}
    for name, group in groups.items():
        unchanged = [pair for pair in group if SEPARATOR.join(pair) == name]
        keeper = group[0] if len(group) == 1 else unchanged[0] if len(unchanged) == 1 else None
        for pair in group:
            names[pair] = name if pair == keeper else _hashed(*pair, name)
    return names


def _hashed(server: str, tool: str, plain: str) -> str:
    digest = hashlib.sha256(f"{server}\0{tool}".encode("utf-8", "replace")).hexdigest()[:_HASH]
    return f"{plain[: NAME_LIMIT - _HASH - 1]}_{digest}"
