"""What one server offers, fit to be shown: cleaned, filtered, pinned. Made anew whenever its lists are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.backends.spec import BackendSpec, Pins
from orchestra_supervisor.gateway.catalog.headers import HeaderMap, header_map
from orchestra_supervisor.gateway.catalog.hygiene import (
    Malformed,
    clean_prompt,
    clean_resource,
    clean_template,
    clean_tool,
)
from orchestra_supervisor.gateway.catalog.naming import SEPARATOR
from orchestra_supervisor.gateway.catalog.uri_template import template_pattern
from orchestra_supervisor.gateway.messages import Json

__all__ = ["PIN_KEY", "Shelf", "Tool", "matches", "stock"]

PIN_KEY = "orchestra/pin"
"""In a tool's `_meta`: it is not as it was when it was first seen."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that is offered.

    Attributes:
        server: Whose it is.
        name: As the server calls it.
        shown: As it is listed, but for its name in the catalog of all.
        is_read_only: It says that it changes nothing.
        is_safe: It says that to call it twice is as good as once.
        is_blocked: It is not as it was pinned, and must not be called.
        headers: Arguments that are sent as headers as well.
    """

    server: str
    name: str
    shown: Json
    is_read_only: bool
    is_safe: bool
    is_blocked: bool
    headers: HeaderMap


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a server offers.

    Attributes:
        server: Its name.
        tools: By name.
        resources: By uri.
        templates: By uriTemplate.
        prompts: By name.
        patterns: What the uris of each template look like, where that can be told.
        left_out: What is malformed, and in what way.
        changed: Names of tools that are not as they were pinned.
    """

    server: str
    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    resources: Mapping[str, Json] = field(default_factory=dict[str, Json])
    templates: Mapping[str, Json] = field(default_factory=dict[str, Json])
    prompts: Mapping[str, Json] = field(default_factory=dict[str, Json])
    patterns: Mapping[str, Callable[[str], bool]] = field(default_factory=dict[str, Callable[[str], bool]])
    left_out: tuple[Json, ...] = ()
    changed: frozenset[str] = frozenset()


def matches(patterns: Iterable[str], *names: str) -> bool:
    """Return whether one of the names is meant by one of the patterns; no patterns mean all."""
    wanted = tuple(patterns)
    return not wanted or any(fnmatchcase(name, pattern) for pattern in wanted for name in names)


def stock(spec: BackendSpec, lists: Lists, changed: frozenset[str]) -> Shelf:
    """Put up what a server lists.

    Args:
        spec: Of the backend.
        lists: As they came.
        changed: Names of tools that are not as they were pinned.
    """
    left_out: list[Json] = []
    raw = [
        tool
        for tool in lists.tools
        if matches(spec.tools, text(tool, "name"), f"{spec.name}{SEPARATOR}{text(tool, 'name')}")
    ]
    tools: dict[str, Tool] = {}
    for name, shown in _good(raw, clean_tool, "name", "tool", left_out).items():
        tools[name] = _tool(spec, name, shown, is_changed=name in changed)
    templates = _good(lists.templates, clean_template, "uriTemplate", "resource template", left_out)
    return Shelf(
        server=spec.name,
        tools=tools,
        resources=_good(lists.resources, clean_resource, "uri", "resource", left_out),
        templates=templates,
        prompts=_good(lists.prompts, clean_prompt, "name", "prompt", left_out),
        patterns={template: template_pattern(template) for template in templates},
        left_out=tuple(left_out),
        changed=changed & tools.keys(),
    )


def _tool(spec: BackendSpec, name: str, shown: Json, *, is_changed: bool) -> Tool:
    annotations = member(shown, "annotations")
    is_read_only = annotations.get("readOnlyHint") is True
    is_blocked = is_changed and spec.pins is Pins.BLOCK
    if is_changed and spec.pins is not Pins.OFF:
        pin: Json = {"state": "changed", "blocked": is_blocked}
        shown = {**shown, "_meta": {**member(shown, "_meta"), PIN_KEY: pin}}
    return Tool(
        server=spec.name,
        name=name,
        shown=shown,
        is_read_only=is_read_only,
        is_safe=is_read_only or annotations.get("idempotentHint") is True,
        is_blocked=is_blocked,
        headers=header_map(member(shown, "inputSchema")),
    )


def _good(
    raw: Sequence[Json], clean: Callable[[Json], Json], key: str, kind: str, left_out: list[Json]
) -> dict[str, Json]:
    """Return the entries that can be shown, by name; of two with one name the first."""
    good: dict[str, Json] = {}
    for entry in raw:
        name = text(entry, key)
        try:
            cleaned = clean(entry)
            if name in good:
                raise Malformed("another one has its name")
        except (Malformed, RecursionError) as error:
            why = str(error) if isinstance(error, Malformed) else "it is too deep"
            left_out.append({"kind": kind, "name": name[:200], "why": why})
        else:
            good[name] = cleaned
    return good
