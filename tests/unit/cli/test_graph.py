"""The graph of dependencies: who is in it, and how it is drawn."""

import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from orchestra_supervisor.cli.depgraph import Graph, Need, Node, applied_graph, graph_of
from orchestra_supervisor.cli.graphsvg import svg_lines
from orchestra_supervisor.cli.graphtext import dot_lines, tree_lines
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.config.applied import dump_fleet
from orchestra_supervisor.model.errors import UnknownService
from orchestra_supervisor.model.spec import Fleet
from tests.e2e.cli import shapes
from tests.unit.cli.test_render import plain
from tests.unit.surfaces.api_desk import service

SVG = "{http://www.w3.org/2000/svg}"


def fleet() -> Graph:
    return Graph(
        [
            Node("web", "waiting", [Need("api", "ready", is_met=False), Need("db", "started")]),
            Node("api", "starting", [Need("db", "ready"), Need("setup", "completed")]),
            Node("setup", "completed", []),
            Node("db", "ready", []),
            Node("report", "failed", [Need("api", "ready"), Need("gone", "ready")]),
        ]
    )


def test_the_tree_shows_each_service_once_with_what_it_needs() -> None:
    assert "\n".join(tree_lines(fleet(), plain())) == snapshot("""\
◌ web  waiting
├─ ◔ api  starting  needed ready, waited for
│  ├─ ● db  ready  needed ready
│  └─ ✓ setup  completed  needed completed
└─ ● db  ready  needed started
✗ report  failed
└─ ◔ api  starting  needed ready, what it needs stands above\
""")


def test_the_tree_is_readable_without_unicode_and_colour_changes_nothing_else() -> None:
    ascii_lines = tree_lines(fleet(), Terminal(io.StringIO(), {}))
    assert "\n".join(ascii_lines).isascii()
    assert "|- " in ascii_lines[1]
    painted = tree_lines(fleet(), plain(FORCE_COLOR="1"))
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in painted]
    assert painted != bare
    assert bare == tree_lines(fleet(), plain())
    assert all(len(line) <= 30 for line in tree_lines(fleet(), plain(30)))


def test_the_language_of_graphviz_quotes_and_styles() -> None:
    graph = Graph([Node('we"b\\', "ready", [Need("db", "completed")]), Node("db", "", [])])
    assert "\n".join(dot_lines(graph)) == snapshot("""\
digraph orchestra {
  rankdir=LR;
  node [shape=box, style=rounded];
  "we\\"b\\\\" [label="we\\"b\\\\\\nready"];
  "db" [label="db"];
  "we\\"b\\\\" -> "db" [style=dashed, label="completed"];
}\
""")


def test_the_picture_is_valid_and_tells_states_and_conditions_without_colour() -> None:
    root = ET.fromstring("\n".join(svg_lines(fleet())))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"web", "◌ waiting", "✗ failed", "✓ completed", "needed completed"} <= set(texts)
    titles = {title.text for title in root.iter(f"{SVG}title")}
    assert {"web needs api ready, and waits for it", "api needs setup completed"} <= titles
    lefts = {
        text.text: float(text.attrib["x"]) for text in root.iter(f"{SVG}text") if text.text in fleet().nodes
    }
    assert lefts["db"] < lefts["api"] < lefts["web"]
    assert lefts["web"] == lefts["report"]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.tuples(
            st.sampled_from(["ready", "failed", "", "new<&>"]), st.lists(st.text(max_size=5), max_size=4)
        ),
        max_size=8,
    )
)
def test_any_graph_is_drawn_cycles_and_odd_names_too(given_: dict[str, tuple[str, list[str]]]) -> None:
    names = list(given_)
    graph = Graph(
        Node(name, state, [Need(names[len(need) % len(names)]) for need in needs])
        for name, (state, needs) in given_.items()
    )
    tree = tree_lines(graph, plain(None))
    assert len(tree) >= len(names), "nobody is left out"
    assert sum(len(layer) for layer in graph.layers()) == len(names)
    ET.fromstring("\n".join(svg_lines(graph)))
    assert dot_lines(graph)[-1] == "}"


def test_a_chain_of_a_thousand_is_drawn() -> None:
    chain = Graph(
        Node(f"s{index}", "ready", [Need(f"s{index + 1}")] if index < 999 else []) for index in range(1_000)
    )
    assert len(tree_lines(chain, plain(80))) == 1_000
    assert len(chain.layers()) == 1_000


def test_a_name_stands_for_what_it_needs_and_what_needs_it() -> None:
    assert set(fleet().around(["api"]).nodes) == {"web", "api", "setup", "db", "report"}
    assert set(fleet().around(["set*"]).nodes) == {"web", "api", "setup", "report"}
    with pytest.raises(UnknownService) as caught:
        fleet().around(["ap"])
    assert caught.value.hint == "did you mean api?"


def test_states_come_from_the_daemon_and_conditions_from_the_applied_fleet(tmp_path: Path) -> None:
    specs = (service("db"), service("web", depends_on={"db": {"condition": "started"}}))
    text = dump_fleet(Fleet(services={spec.name: spec for spec in specs}))
    (tmp_path / "fleet.json").write_text(text, encoding="utf-8")
    applied = applied_graph(tmp_path)
    assert applied is not None
    rows = [
        shapes.service("db", "failed"),
        shapes.service("web", "waiting", depends_on=["db"], waiting_for=["db"]),
    ]
    web = graph_of(StatusView(shapes.status("/h", rows)), applied).nodes["web"]
    (need,) = web.needs
    assert (web.state, need.name, need.condition, need.is_met) == ("waiting", "db", "started", False)
    (bare,) = graph_of(StatusView(shapes.status("/h", rows)), None).nodes["web"].needs
    assert bare.condition == ""


def test_a_fleet_file_that_cannot_be_read_is_no_graph(tmp_path: Path) -> None:
    assert applied_graph(tmp_path) is None
    for text in (
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"services": [1]}),
        json.dumps({"services": {"a": {"depends_on": 3}}}),
    ):
        (tmp_path / "fleet.json").write_text(text, encoding="utf-8")
        assert applied_graph(tmp_path) is None
