"""`orchestra mcp tools` and `call`: what a model sees, for a person."""

import json
import os
import sys
from pathlib import Path

from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.mcp.asking import Gateway
from orchestra_supervisor.cli.mcp.entry import Endpoint
from orchestra_supervisor.cli.parser import Options
from orchestra_supervisor.cli.shim.messages import Json, items_of, object_of
from orchestra_supervisor.cli.table import Cell, table_lines
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.cli.words import UsageError, nearest
from orchestra_supervisor.model.errors import InvalidRequest

__all__ = ["CONTROL", "call_tool", "hello_of", "list_tools"]

CONTROL = "control"
"""The name by which a person means the control tools where a server is asked for."""


def hello_of(endpoint: Endpoint) -> Json:
    """Return what the hello says of an endpoint; `control` as a server means the control tools."""
    if endpoint.server and endpoint.server != CONTROL:
        return {"endpoint": "server", "server": endpoint.server}
    if endpoint.is_gateway:
        return {"endpoint": "gateway", "profile": endpoint.profile or None}
    return {"endpoint": "control"}


def list_tools(options: Options, home: Path, endpoint: Endpoint) -> int:
    """Print the tools: those of one endpoint, or of the control tools and the catalog of all servers."""
    wanted = [endpoint] if endpoint.server or endpoint.is_gateway else [Endpoint(), Endpoint(is_gateway=True)]
    found: list[Json] = []
    for one in wanted:
        source = one.server or ("gateway" if one.is_gateway else CONTROL)
        with Gateway(home, hello_of(one), options.timeout) as gateway:
            found += [{"from": source, **tool} for tool in gateway.tools()]
    if options.is_json:
        sys.stdout.write(json.dumps({"tools": found}, indent=2, ensure_ascii=False) + "\n")
        return 0
    if not found:
        sys.stdout.write("no tools\n")
        return 0
    terminal = Terminal(sys.stdout, os.environ)
    header = ["", "TOOL", "FROM", "ARGUMENTS", "DESCRIPTION"]
    lines = table_lines(header, [_row(tool) for tool in found], terminal, gives_way=(2, 3))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def call_tool(options: Options, home: Path) -> int:
    """Call one tool and print what it answers; 1 where the tool says that it failed."""
    if len(options.words) < 2:
        raise UsageError(
            "call which tool?", "orchestra mcp call SERVER TOOL key=value ...; SERVER may be `control`"
        )
    server, name, *pairs = options.words
    with Gateway(home, hello_of(Endpoint(server=server)), options.timeout) as gateway:
        tools = {str(tool.get("name")): tool for tool in gateway.tools()}
        if name not in tools:
            close = nearest(name, tools)
            known = f"did you mean {close}?" if close else f"it has {', '.join(tools) or 'none'}"
            raise InvalidRequest(f"{server} has no tool {name!r}", hint=known)
        arguments = _arguments(pairs, object_of(tools[name].get("inputSchema")), name)
        result = gateway.ask("tools/call", {"name": name, "arguments": arguments})
    if options.is_json:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    else:
        _print_result(result)
    if result.get("isError") is True:
        if options.is_json:
            return 1
        raise ActionFailed(f"{server}: {name} says that it failed")
    if result.get("resultType") == "input_required":
        raise ActionFailed(f"{server}: {name} asks its user something", hint="give the answer as an argument")
    return 0


def _row(tool: Json) -> list[Cell]:
    hints = object_of(tool.get("annotations"))
    sign, styles = " ", ()
    if hints.get("readOnlyHint") is True:
        sign, styles = "r", ("green",)
    elif hints.get("destructiveHint") is True:
        sign, styles = "!", ("yellow",)
    schema = object_of(tool.get("inputSchema"))
    needed = items_of(schema.get("required"))
    names = [name if name in needed else f"[{name}]" for name in object_of(schema.get("properties"))]
    first = str(tool.get("description") or tool.get("title") or "").strip().partition("\n")[0]
    return [
        (sign, styles),
        (make_visible(str(tool.get("name"))), ()),
        (make_visible(str(tool["from"])), ("dim",)),
        (make_visible(" ".join(names)), ("dim",)),
        (make_visible(first), ()),
    ]


def _arguments(pairs: list[str], schema: Json, tool: str) -> Json:
    """Return the arguments that words like `key=value` mean.

    A value is text where the tool wants text; else JSON, or text where it is none.
    """
    properties = object_of(schema.get("properties"))
    arguments: Json = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(
                f"{pair!r} is not key=value", f"{tool} takes {', '.join(properties) or 'nothing'}"
            )
        if properties and key not in properties and schema.get("additionalProperties") is False:
            close = nearest(key, properties)
            hint = f"did you mean {close}?" if close else f"it takes {', '.join(properties)}"
            raise UsageError(f"{tool} has no argument {key!r}", hint)
        if object_of(properties.get(key)).get("type") == "string":
            arguments[key] = value
            continue
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


def _print_result(result: Json) -> None:
    parts = [object_of(part) for part in items_of(result.get("content"))]
    for part in parts:
        if part.get("type") == "text":
            text = str(part.get("text", ""))
            sys.stdout.writelines(make_visible(line) + "\n" for line in text.splitlines())
        else:
            about = str(part.get("mimeType") or part.get("uri") or "")
            sys.stdout.write(make_visible(f"({part.get('type')}: {about})") + "\n")
    if not parts and "structuredContent" in result:
        text = json.dumps(result["structuredContent"], indent=2, ensure_ascii=False)
        sys.stdout.writelines(make_visible(line) + "\n" for line in text.splitlines())
    sys.stdout.flush()
