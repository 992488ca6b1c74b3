"""A server's lists as they came: tools, resources, templates and prompts, as raw JSON.

Nothing is checked here but that it is a list of objects: who shows them leaves out what is malformed, one
by one.
"""

from dataclasses import dataclass, field, replace

import anyio

from orchestra_supervisor.gateway.backends.fields import objects, text
from orchestra_supervisor.gateway.backends.introduction import Introduction, request
from orchestra_supervisor.gateway.backends.link import Link
from orchestra_supervisor.gateway.backends.params import stamped
from orchestra_supervisor.gateway.endpoint import ChangeKind, Era
from orchestra_supervisor.gateway.messages import METHOD_NOT_FOUND, Json, RpcError

__all__ = ["Lists", "fetch_lists", "parse_lists"]

_LIST_LIMIT = 30.0  # seconds for one list
_PAGES = 1000  # of one list; a server that pages on for ever is cut off here

_PARTS = {
    "tools": ("tools/list", "tools", "tools", ChangeKind.TOOLS),
    "resources": ("resources/list", "resources", "resources", ChangeKind.RESOURCES),
    "templates": ("resources/templates/list", "resourceTemplates", "resources", ChangeKind.RESOURCES),
    "prompts": ("prompts/list", "prompts", "prompts", ChangeKind.PROMPTS),
}
"""Field -> method, key of the result, capability, and what says that it changed."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What a server offers.

    Attributes:
        tools: Raw, in the server's order.
        resources: Likewise.
        templates: Likewise.
        prompts: Likewise.
        faults: Lists that could not be had, and why; what they had before stands.
    """

    tools: tuple[Json, ...] = ()
    resources: tuple[Json, ...] = ()
    templates: tuple[Json, ...] = ()
    prompts: tuple[Json, ...] = ()
    faults: dict[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> Json:
        """Return it for the file."""
        return {part: list(getattr(self, part)) for part in _PARTS}


def parse_lists(saved: Json) -> Lists:
    """Return what `to_json` gave."""
    tools, resources, templates, prompts = (tuple(objects(saved, part)) for part in _PARTS)
    return Lists(tools, resources, templates, prompts)


async def fetch_lists(
    link: Link, introduction: Introduction, before: Lists, kinds: frozenset[ChangeKind] = frozenset()
) -> Lists:
    """Ask a server for its lists.

    Args:
        link: To it.
        introduction: What it said of itself: lists of features that it does not declare are not asked for.
        before: What stands where a list cannot be had.
        kinds: What changed; empty: all lists are asked for.

    Raises:
        LinkError: It went away.
    """
    lists = replace(before, faults={})
    for part, (method, key, feature, kind) in _PARTS.items():
        if kinds and kind not in kinds:
            if part in before.faults:
                lists.faults[part] = before.faults[part]
            continue
        is_declared = introduction.can(feature) or (part == "tools" and not introduction.capabilities)
        if not is_declared:
            lists = replace(lists, **{part: ()})
            continue
        try:
            with anyio.fail_after(_LIST_LIMIT):
                found = await _pages(link, introduction, method, key)
        except RpcError as error:
            if error.code == METHOD_NOT_FOUND:
                lists = replace(lists, **{part: ()})
            else:
                lists.faults[part] = f"{method}: {error.message}"
        except TimeoutError:
            lists.faults[part] = f"{method}: no answer within {_LIST_LIMIT:g} s"
        else:
            lists = replace(lists, **{part: found})
    return lists


async def _pages(link: Link, introduction: Introduction, method: str, key: str) -> tuple[Json, ...]:
    found: list[Json] = []
    cursor = ""
    seen: set[str] = set()
    for _ in range(_PAGES):
        params: Json = {"cursor": cursor} if cursor else {}
        if introduction.era is Era.STATELESS:
            params = stamped(params, introduction.version, None)
        result = await request(link, method, params)
        found.extend(objects(result, key))
        cursor = text(result, "nextCursor")
        if not cursor or cursor in seen:
            break
        seen.add(cursor)
    return tuple(found)
