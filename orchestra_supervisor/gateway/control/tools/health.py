"""`health_check`: the probes of services, run now."""

from functools import partial

from orchestra_supervisor.control_client import ControlClient, rows
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import flag, member, members, number, text, texts
from orchestra_supervisor.gateway.control.tool import Answer, Call, Tool, object_of
from orchestra_supervisor.gateway.control.tools.status import Servers
from orchestra_supervisor.gateway.control.tools.waiting import NAMES
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["health_tool"]

_PATIENCE = 45.0  # seconds for all probes together
_DESCRIPTION = """\
Run the probes of services now and tell what each sees: passed or not, detail, milliseconds. healthy is \
null for a \
service without probes, of which only its process is known. Nothing is restarted by it. fleet_status \
tells what the \
probes that run by themselves saw last, and costs less."""
_INPUT = object_of({"names": {**NAMES, "description": f"{NAMES['description']}; none: all"}}, required=())
_OUTPUT = object_of(
    {
        "healthy": {"type": "integer"},
        "unhealthy": {"type": "integer"},
        "unknown": {"type": "integer"},
        "results": {
            "type": "array",
            "items": object_of(
                {
                    "name": {"type": "string"},
                    "state": {"type": "string"},
                    "healthy": {"type": ["boolean", "null"]},
                    "probes": {
                        "type": "array",
                        "items": object_of(
                            {
                                "probe": {"type": "string"},
                                "type": {"type": "string"},
                                "target": {"type": "string"},
                                "passed": {"type": "boolean"},
                                "detail": {"type": "string", "description": "from outside"},
                                "took_ms": {"type": "number"},
                            }
                        ),
                    },
                    "note": {"type": "string"},
                    "mcp": {"type": "object", "description": "of an MCP server behind the gateway"},
                },
                optional=("mcp",),
            ),
        },
    }
)


def health_tool(desk: Desk, servers: Servers | None) -> Tool:
    """Return the tool.

    Args:
        desk: Asks the daemon.
        servers: Tells of MCP servers, where anybody can.
    """

    async def run(call: Call) -> Answer:
        names = texts(call.arguments, "names") or ["all"]
        answer = await desk.ask(call.exchange.caller, partial(_check, names=names), is_long=True)
        mcp = {text(one, "service") or text(one, "name"): one for one in (servers() if servers else [])}
        results: list[Json] = []
        for one in rows(answer, "results"):
            told = _told(one)
            if text(one, "name") in mcp:
                told["mcp"] = mcp[text(one, "name")]
            results.append(told)
        counts = {
            "healthy": sum(one["healthy"] is True for one in results),
            "unhealthy": sum(one["healthy"] is False for one in results),
            "unknown": sum(one["healthy"] is None for one in results),
        }
        words = [", ".join(f"{count} {word}" for word, count in counts.items())]
        for one in results:
            if one["healthy"] is not True or len(results) <= 20:
                words += _lines(one)
        return Answer({**counts, "results": results}, "\n".join(words))

    return Tool("health_check", "Check health now", _DESCRIPTION, Role.VIEWER, _INPUT, _OUTPUT, run)


def _check(client: ControlClient, names: list[str]) -> Json:
    return client.check(names, timeout=_PATIENCE)


def _told(one: Json) -> Json:
    passed = one.get("passed")
    probes: list[Json] = [
        {
            "probe": text(probe, "probe"),
            "type": text(probe, "type"),
            "target": text(probe, "target"),
            "passed": flag(probe, "passed"),
            "detail": text(probe, "detail"),
            "took_ms": round((number(probe, "took") or 0.0) * 1_000, 1),
        }
        for probe in members(one, "probes")
    ]
    return {
        "name": text(one, "name"),
        "state": text(one, "state"),
        "healthy": passed if isinstance(passed, bool) else None,
        "probes": probes,
        "note": text(one, "note"),
    }


def _lines(one: Json) -> list[str]:
    healthy = one["healthy"]
    verdict = "unknown" if healthy is None else "healthy" if healthy else "NOT healthy"
    lines = [f"{one['name']} ({one['state']}): {verdict}" + (f", {one['note']}" if one["note"] else "")]
    for probe in members(one, "probes"):
        mark = "passed" if flag(probe, "passed") else "FAILED"
        lines.append(f"  {text(probe, 'probe')} {text(probe, 'target')}: {mark}, {text(probe, 'detail')}")
    if mcp := member(one, "mcp"):
        lines.append(f"  MCP: {text(mcp, 'state')}")
    return lines
