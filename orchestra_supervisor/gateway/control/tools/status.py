"""`fleet_status`: where an operator looks first."""

import base64
import binascii
import fnmatch
from collections.abc import Callable, Mapping

from orchestra_supervisor.control_client import rows
from orchestra_supervisor.gateway.control.clock import wall_now
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import member, text, texts
from orchestra_supervisor.gateway.control.tool import Answer, Call, Tool, object_of
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.control.views import (
    BRIEF,
    FULL,
    PROBLEM,
    STATES,
    brief,
    full,
    line_of,
    problem_of,
    summary,
    summary_text,
)
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Servers", "status_tool"]

Servers = Callable[[], list[Json]]
"""Returns how the MCP servers behind the gateway stand, one object each with at least `name` and `state`."""

_PROBLEMS = 50  # that one answer tells of
_DESCRIPTION = """\
How the services of this fleet stand. Start here: with only="problems" it names what is wrong and what \
to call \
next. Filter with query: a name, a glob (mcp_*), a tag, or a part of a name. Long fleets come in pages: pass \
next_cursor as cursor."""
_INPUT = object_of(
    {
        "query": {
            "type": "string",
            "maxLength": 200,
            "description": "a name, a glob, a tag, or a part of a name; none: all services",
        },
        "only": {
            "type": "string",
            "enum": ["all", "problems"],
            "default": "all",
            "description": "problems: those alone that need somebody",
        },
        "detail": {
            "type": "string",
            "enum": ["concise", "full"],
            "default": "concise",
            "description": "full adds pid, last exit, probe, use of memory and processors",
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": 200,
            "default": 50,
            "description": "services in one answer",
        },
        "cursor": {"type": "string", "maxLength": 400, "description": "next_cursor of the answer before"},
    },
    required=(),
)
_OUTPUT = object_of(
    {
        "phase": {"type": "string", "description": "of the fleet: starting, running, stopping"},
        "summary": object_of(
            {"total": {"type": "integer"}, **{state: {"type": "integer"} for state in STATES}},
            required=("total",),
        ),
        "services": {"type": "array", "items": {"anyOf": [BRIEF, FULL]}},
        "problems": {"type": "array", "items": PROBLEM},
        "mcp_servers": {
            "type": "array",
            "description": "MCP servers behind the gateway",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "state": {"type": "string"}},
                "required": ["name", "state"],
            },
        },
        "next_cursor": {"type": ["string", "null"]},
    },
    optional=("mcp_servers",),
)


def status_tool(desk: Desk, servers: Servers | None) -> Tool:
    """Return the tool.

    Args:
        desk: Asks the daemon.
        servers: Tells of MCP servers, where anybody can.
    """

    async def run(call: Call) -> Answer:
        arguments, caller = call.arguments, call.exchange.caller
        answer = await desk.ask(caller, lambda client: client.status())
        every = rows(answer, "services")
        query = text(arguments, "query")
        chosen = [row for row in every if _matches(row, query)]
        if query and not chosen:
            known = ", ".join(text(row, "name") for row in every[:12])
            raise ToolTrouble(f"no service matches {query!r}", f"known are {known or 'none'}")
        problems = [problem for row in chosen if (problem := problem_of(row)) is not None]
        if arguments["only"] == "problems":
            bad = {str(problem["service"]) for problem in problems}
            chosen = [row for row in chosen if text(row, "name") in bad]
        page, cursor = _page(chosen, arguments)
        show = full if arguments["detail"] == "full" else brief
        counts = summary(every)
        structured: Json = {
            "phase": text(member(answer, "daemon"), "phase"),
            "summary": counts,
            "services": [show(row) for row in page],
            "problems": problems[:_PROBLEMS],
            "next_cursor": cursor,
        }
        mcp = servers() if servers is not None else []
        if servers is not None:
            structured["mcp_servers"] = mcp
        words = [summary_text(counts), *_problem_lines(problems)]
        now = wall_now()
        if arguments["only"] != "problems":
            words += ["", *(line_of(row, now) for row in page)]
        words += _server_lines(mcp)
        if cursor is not None:
            words.append(f"more: call again with cursor={cursor!r}, or narrow it with query")
        return Answer(structured, "\n".join(words), links=(("fleet://status", "status"),))

    return Tool("fleet_status", "Fleet status", _DESCRIPTION, Role.VIEWER, _INPUT, _OUTPUT, run)


def _matches(row: Mapping[str, object], query: str) -> bool:
    name = text(row, "name")
    if not query or name == query or query in texts(row, "tags") or row.get("group") == query:
        return True
    if any(mark in query for mark in "*?["):
        return fnmatch.fnmatchcase(name, query)
    return query.lower() in name.lower()


def _page(chosen: list[Json], arguments: Json) -> tuple[list[Json], str | None]:
    """Return the rows of a page, and the cursor of the next one: the name of the last row before it."""
    begin, limit = 0, int(str(arguments["limit"]))
    if "cursor" in arguments:
        last = _decoded(text(arguments, "cursor"))
        names = [text(row, "name") for row in chosen]
        if last not in names:
            raise ToolTrouble("cursor is none of this fleet, or its service is gone", "ask without a cursor")
        begin = names.index(last) + 1
    page = chosen[begin : begin + limit]
    is_more = begin + limit < len(chosen)
    return page, _encoded(text(page[-1], "name")) if is_more else None


def _encoded(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode("ascii").rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error):
        return ""


def _problem_lines(problems: list[Json]) -> list[str]:
    if not problems:
        return ["no problems"]
    lines = [f"! {one['service']} is {one['state']}: {one['why']}" for one in problems[:_PROBLEMS]]
    more = len(problems) - _PROBLEMS
    lines += [f"! and {more} more: narrow it with query"] if more > 0 else []
    return [*lines, "next: service_diagnose with the name of one"]


def _server_lines(servers: list[Json]) -> list[str]:
    if not servers:
        return []
    return ["", "MCP servers: " + ", ".join(f"{text(one, 'name')} {text(one, 'state')}" for one in servers)]
