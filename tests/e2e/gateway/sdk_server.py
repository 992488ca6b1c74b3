"""A small MCP server written with the SDK: speaks both eras, over stdio or HTTP."""

import os
import sys
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

server = MCPServer("sdk", version="1.0", instructions="Says things.")
READ_ONLY = ToolAnnotations(read_only_hint=True)


class Colour(BaseModel):
    colour: str


def ask_colour() -> Elicit[Colour]:
    return Elicit("Which colour?", Colour)


@server.tool(annotations=READ_ONLY)
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
def pid() -> str:
    """Tell the process id."""
    return str(os.getpid())


@server.tool()
async def slow(seconds: float) -> str:
    """Take long."""
    await anyio.sleep(seconds)
    return "done"


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Count, and say how far it is."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to, f"at {number}")
    return "counted"


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("it was to fail")


@server.tool()
def paint(colour: Annotated[Colour, Resolve(ask_colour)]) -> str:
    """Paint in a colour that the user chooses."""
    return f"painted {colour.colour}"


@server.tool()
async def grow(ctx: Context) -> str:
    """Have one tool more."""
    server.add_tool(shrunk, name="grown")
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "grown"


def shrunk() -> str:
    """Be there."""
    return "there"


@server.tool()
async def touch(uri: str, ctx: Context) -> str:
    """Say that a resource is another."""
    await ctx.notify_resource_updated(uri)
    return "touched"


@server.resource("note://first")
def first() -> str:
    """The first note."""
    return "one"


@server.resource("note://{name}/text")
def note(name: str) -> str:
    """A note."""
    return f"text of {name}"


@server.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Say hello to {name}."


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
