"""What a client sees of all shelves: one list of each kind, in one order, with the owner of every entry.

Made whole and put in place at once, so that nobody sees half a change; of the same shelves always the
same.
"""

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from orchestra_supervisor.gateway.backends.spec import Profile
from orchestra_supervisor.gateway.catalog.naming import SEPARATOR, assign_names
from orchestra_supervisor.gateway.catalog.shelf import Shelf, Tool, matches
from orchestra_supervisor.gateway.endpoint import ChangeKind
from orchestra_supervisor.gateway.messages import INVALID_PARAMS, Json, RpcError

__all__ = ["Listed", "Names", "View", "name_all", "nearest", "single_view", "view_of"]

_PAGE = 2000  # entries; most clients see one page
_NEAR = 3  # names that are proposed for one that is not there


@dataclass(frozen=True, slots=True)
class Listed:
    """One list: its entries by what they are sorted by."""

    keys: Sequence[str] = ()
    entries: Sequence[Json] = ()

    def page(self, cursor: object) -> tuple[list[Json], str]:
        """Return a page, and the cursor of the next; empty: it is the last.

        Raises:
            RpcError: The cursor is none of ours.
        """
        start = bisect_right(self.keys, _last_of(cursor)) if cursor is not None else 0
        entries = list(self.entries[start : start + _PAGE])
        end = start + len(entries)
        if end >= len(self.keys):
            return entries, ""
        return entries, urlsafe_b64encode(self.keys[end - 1].encode("utf-8", "surrogatepass")).decode("ascii")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of all tools and prompts, whoever may see them.

    Attributes:
        tools: (server, tool) to name.
        prompts: (server, prompt) to name.
    """

    tools: Mapping[tuple[str, str], str]
    prompts: Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class View:
    """What may be seen.

    Attributes:
        tools: Listed.
        resources: Listed.
        templates: Listed.
        prompts: Listed.
        tool_of: Name to tool.
        prompt_of: Name to (server, its own name).
        by_own_name: A tool's own name to those tools that have it, the first server's first.
        shelves: That are seen, in order.
    """

    tools: Listed = field(default_factory=Listed)
    resources: Listed = field(default_factory=Listed)
    templates: Listed = field(default_factory=Listed)
    prompts: Listed = field(default_factory=Listed)
    tool_of: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    prompt_of: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    by_own_name: Mapping[str, list[Tool]] = field(default_factory=dict[str, list[Tool]])
    shelves: Sequence[Shelf] = ()

    def owner_of(self, uri: str) -> str:
        """Return whose resource a uri is, empty where nobody lists it or has such a template."""
        for shelf in self.shelves:
            if uri in shelf.resources:
                return shelf.server
        for shelf in self.shelves:
            if any(is_of(uri) for is_of in shelf.patterns.values()):
                return shelf.server
        return ""

    def changes_to(self, later: "View") -> list[ChangeKind]:
        """Return in what another view differs."""
        pairs = (
            (ChangeKind.TOOLS, self.tools == later.tools),
            (ChangeKind.PROMPTS, self.prompts == later.prompts),
            (ChangeKind.RESOURCES, (self.resources, self.templates) == (later.resources, later.templates)),
        )
        return [kind for kind, is_same in pairs if not is_same]


def name_all(shelves: Sequence[Shelf]) -> Names:
    """Name the tools and prompts of all servers."""
    return Names(
        tools=assign_names((shelf.server, tool) for shelf in shelves for tool in shelf.tools),
        prompts=assign_names((shelf.server, prompt) for shelf in shelves for prompt in shelf.prompts),
    )


def view_of(shelves: Sequence[Shelf], names: Names, profile: Profile) -> View:
    """Return what a profile lets see, under the names of the catalog."""
    seen = [shelf for shelf in shelves if matches(profile.servers, shelf.server)]
    tool_of: dict[str, Tool] = {}
    prompt_of: dict[str, tuple[str, str]] = {}
    shown: dict[str, Json] = {}
    prompts: dict[str, Json] = {}
    own: dict[str, list[Tool]] = {}
    for shelf in seen:
        for tool in shelf.tools.values():
            name = names.tools[shelf.server, tool.name]
            if matches(profile.tools, name, f"{shelf.server}{SEPARATOR}{tool.name}"):
                tool_of[name] = tool
                shown[name] = {**tool.shown, "name": name}
                own.setdefault(tool.name, []).append(tool)
        for prompt, entry in shelf.prompts.items():
            name = names.prompts[shelf.server, prompt]
            prompt_of[name] = (shelf.server, prompt)
            prompts[name] = {**entry, "name": name}
    return View(
        tools=_listed(shown),
        resources=_listed(_first(shelf.resources for shelf in seen)),
        templates=_listed(_first(shelf.templates for shelf in seen)),
        prompts=_listed(prompts),
        tool_of=tool_of,
        prompt_of=prompt_of,
        by_own_name=own,
        shelves=seen,
    )


def single_view(shelf: Shelf) -> View:
    """Return one server's own lists, under its own names."""
    return View(
        tools=_listed({name: tool.shown for name, tool in shelf.tools.items()}),
        resources=_listed(shelf.resources),
        templates=_listed(shelf.templates),
        prompts=_listed(shelf.prompts),
        tool_of=shelf.tools,
        prompt_of={name: (shelf.server, name) for name in shelf.prompts},
        shelves=(shelf,),
    )


def nearest(name: str, names: Sequence[str]) -> str:
    """Return a hint with names that are like one that is not there."""
    near = get_close_matches(name, names, n=_NEAR, cutoff=0.5)
    return f" Did you mean {', '.join(near)}?" if near else ""


def _first(kinds: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """Put entries together; of two with one uri, the first server's."""
    found: dict[str, Json] = {}
    for entries in kinds:
        for uri, entry in entries.items():
            found.setdefault(uri, entry)
    return found


def _listed(entries: Mapping[str, Json]) -> Listed:
    keys = sorted(entries)
    return Listed(keys, [entries[key] for key in keys])


def _last_of(cursor: object) -> str:
    try:
        if isinstance(cursor, str):
            return b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode(
                "utf-8", "surrogatepass"
            )
    except (Base64Error, ValueError):
        pass
    raise RpcError(INVALID_PARAMS, "this cursor is none that was given here; list from the beginning")
