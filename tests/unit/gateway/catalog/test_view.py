"""What is seen of all shelves: names, pages, profiles, owners, and where a call goes."""

import pytest

from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.backends.spec import BackendSpec, GatewaySpec, Profile
from orchestra_supervisor.gateway.catalog.relay import CAPABILITY_KEY, find_tool
from orchestra_supervisor.gateway.catalog.search import SearchIndex
from orchestra_supervisor.gateway.catalog.shelf import Shelf, stock
from orchestra_supervisor.gateway.catalog.uri_template import template_pattern
from orchestra_supervisor.gateway.catalog.view import Listed, View, name_all, view_of
from orchestra_supervisor.gateway.endpoint import ChangeKind
from orchestra_supervisor.gateway.messages import Json, RpcError

MEMORY = BackendSpec("memory", is_stdio=True, capabilities=("remember",), priority=1)
NOTES = BackendSpec("notes", is_stdio=True, capabilities=("remember", "write"), priority=2)
SPEC = GatewaySpec((MEMORY, NOTES), routing={"recall": "notes"})


def tool(name: str, description: str = "") -> Json:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}


def shelf(spec: BackendSpec, *names: str, resources: tuple[Json, ...] = ()) -> Shelf:
    return stock(
        spec,
        Lists(tools=tuple(tool(name, f"Does {name}.") for name in names), resources=resources),
        frozenset(),
    )


SHELVES = [shelf(MEMORY, "search", "store"), shelf(NOTES, "search", "write note")]


def view(profile: Profile | None = None) -> View:
    return view_of(SHELVES, name_all(SHELVES), profile or Profile())


def names(found: View) -> list[str]:
    return [str(entry["name"]) for entry in found.tools.entries]


def test_a_profile_filters_by_server_and_by_tool() -> None:
    assert names(view()) == ["memory__search", "memory__store", "notes__search", "notes__write_note"]
    assert names(view(Profile(servers=("not*",)))) == ["notes__search", "notes__write_note"]
    assert names(view(Profile(tools=("*__search",)))) == ["memory__search", "notes__search"]


def test_a_backends_own_patterns_filter_its_tools() -> None:
    spec = BackendSpec("s", is_stdio=True, tools=("read*", "s__list"))
    assert list(shelf(spec, "read_a", "list", "write").tools) == ["read_a", "list"]


@pytest.mark.parametrize(
    ("name", "meta", "server", "own"),
    [
        ("notes__search", {}, "notes", "search"),
        ("notes__write note", {}, "notes", "write note"),
        ("store", {}, "memory", "store"),
        ("search", {}, "notes", "search"),  # `routing` speaks of notes
        ("remember__search", {}, "memory", "search"),
        ("recall__search", {}, "notes", "search"),
        ("search", {CAPABILITY_KEY: "remember"}, "memory", "search"),
        ("search", {CAPABILITY_KEY: "recall"}, "notes", "search"),
    ],
)
def test_a_call_goes_where_its_name_says(name: str, meta: Json, server: str, own: str) -> None:
    found = find_tool(view(), SPEC, name, meta)
    assert (found.server, found.name) == (server, own)


def test_an_unknown_tool_is_refused_with_names_that_are_like_it() -> None:
    with pytest.raises(RpcError, match=r"no tool 'memory__serch' here\. Did you mean memory__search"):
        find_tool(view(), SPEC, "memory__serch", {})
    with pytest.raises(RpcError, match="no server with the capability 'x' has a tool 'search'"):
        find_tool(view(), SPEC, "search", {CAPABILITY_KEY: "x"})


def test_pages_go_on_after_the_last_entry_whatever_came_or_went() -> None:
    keys = [f"k{number:05}" for number in range(4500)]
    first, cursor = Listed(keys, [{"k": key} for key in keys]).page(None)
    assert (len(first), first[-1]) == (2000, {"k": "k01999"})
    fewer = [key for key in keys if key != "k01999"]
    second, cursor = Listed(fewer, [{"k": key} for key in fewer]).page(cursor)
    assert (len(second), second[0]) == (2000, {"k": "k02000"})
    third, cursor = Listed(keys, [{"k": key} for key in keys]).page(cursor)
    assert (len(third), cursor) == (500, "")
    for bad in ("%", "é", 7):
        with pytest.raises(RpcError, match="this cursor is none that was given here"):
            Listed(keys, []).page(bad)


def test_the_first_server_owns_a_uri_that_two_list() -> None:
    note: Json = {"uri": "note://a", "name": "a"}
    both = [shelf(MEMORY, resources=(note,)), shelf(NOTES, resources=(note,))]
    seen = view_of(both, name_all(both), Profile())
    assert seen.owner_of("note://a") == "memory"
    assert seen.owner_of("note://b") == ""
    assert len(seen.resources.entries) == 1


def test_only_what_differs_is_a_change() -> None:
    more = [*SHELVES[:1], shelf(NOTES, "search", "write note", "new")]
    assert view().changes_to(view()) == []
    assert view().changes_to(view_of(more, name_all(more), Profile())) == [ChangeKind.TOOLS]


@pytest.mark.parametrize(
    ("template", "uri", "is_of"),
    [
        ("note://{name}", "note://a", True),
        ("note://{name}", "note://a/b", False),
        ("file:///{+path}", "file:///a/b", True),
        ("log://{name}{?tail,grep}", "log://a?tail=3", True),
        ("log://{name}{?tail,grep}", "log://a", True),
        ("a.b://{x}", "aXb://y", False),
        ("{+a}{+b}{+c}{+d}{+e}{+f}{+g}{+h}{+i}!", "anything", True),
    ],
)
def test_a_uri_belongs_to_a_template(template: str, uri: str, is_of: bool) -> None:
    assert template_pattern(template)(uri) is is_of


def test_search_finds_by_words_and_gives_schemas_of_the_best() -> None:
    index = SearchIndex(view())
    found = index.find({"query": "write a note", "schemas": 1}, None)
    assert found["tools"] == [
        {
            "name": "notes__write_note",
            "server": "notes",
            "description": "Does write note.",
            "inputSchema": {"type": "object"},
        },
        *({"name": n, "server": "notes", "description": "Does search."} for n in ("notes__search",)),
    ]
    assert index.find({"query": "search", "server": "memory"}, None)["found"] == 1
    assert index.find({"query": "search"}, frozenset({"notes"}))["found"] == 1
    assert index.find({"query": ""}, None)["found"] == 4
    assert "hint" in index.find({"query": "xyzzy"}, None)
