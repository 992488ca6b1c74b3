"""`orchestra graph`: who needs whom, and where each of them stands."""

import os
import sys
from pathlib import Path

from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.depgraph import applied_graph, graph_of
from orchestra_supervisor.cli.follow import Layout
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import split_names
from orchestra_supervisor.control_client import NoDaemon

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=False, what="services, globs, or `all`: with what they need and what needs them")
    parser.option(
        "--format",
        choices=("text", "dot", "svg"),
        default="text",
        help="a tree, the language of Graphviz, or a picture (default: text)",
    )


def run(options: Options) -> int:
    """Draw it; without a fleet the dependencies alone, as they were last applied."""
    home, names = Path(home_of(options.home)), split_names(options.names)
    applied = applied_graph(home)
    try:
        graph = graph_of(StatusView(ask(home, lambda client: client.status())), applied)
    except NoDaemon:
        if applied is None or keeper_pid_of(home) is not None:
            raise
        sys.stderr.write(f"no fleet runs on {home}: dependencies as they were last applied, without states\n")
        graph = applied
    if names:
        written = Layout.read(home)
        graph = graph.around(Layout(written.directory, list(graph.nodes), written.tags).choose(names))
    # Each form in its turn, as a picture is of no use to a tree.
    if options.format == "svg":
        from orchestra_supervisor.cli.graphsvg import svg_lines

        lines = svg_lines(graph)
    else:
        from orchestra_supervisor.cli.graphtext import dot_lines, tree_lines

        is_tree = options.format == "text"
        lines = tree_lines(graph, Terminal(sys.stdout, os.environ)) if is_tree else dot_lines(graph)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0
