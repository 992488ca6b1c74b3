"""`service_inspect`: all that is known of one service."""

import json

from orchestra_supervisor.control_client import rows
from orchestra_supervisor.gateway.control.clock import wall_now
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import member, number, text, texts
from orchestra_supervisor.gateway.control.processes import PROCESS, processes_of, tree_lines
from orchestra_supervisor.gateway.control.tool import Answer, Call, Tool, object_of
from orchestra_supervisor.gateway.control.untrusted import fenced
from orchestra_supervisor.gateway.control.views import FULL, full, line_of
from orchestra_supervisor.gateway.control.words import instant_text
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["inspect_tool"]

_EVENTS = 10
_DEPENDENTS = 100
_CONFIG_SHOWN = 4_000  # characters of the configuration in the text
_DESCRIPTION = """\
All that is known of one service: state and why, its processes and what they use, last exit, what it \
depends on and what depends on it, its last events, and its configuration (secrets are ***). To find out \
why it is down, call \
service_diagnose instead; what it wrote is in service_logs."""
_RELATED = object_of(
    {"name": {"type": "string"}, "state": {"type": "string"}, "condition": {"type": "string"}}
)
_INPUT = object_of(
    {"name": {"type": "string", "minLength": 1, "maxLength": 256, "description": "of the service"}}
)
_OUTPUT = object_of(
    {
        "service": FULL,
        "depends_on": {"type": "array", "items": _RELATED},
        "dependents": {"type": "array", "items": {"type": "string"}},
        "processes": {"type": "array", "items": PROCESS},
        "config": {"type": "object", "description": "as applied, without secrets"},
        "events": {
            "type": "array",
            "items": object_of(
                {
                    "at": {"type": ["string", "null"]},
                    "kind": {"type": "string"},
                    "message": {"type": "string"},
                }
            ),
        },
    }
)


def inspect_tool(desk: Desk) -> Tool:
    """Return the tool."""

    async def run(call: Call) -> Answer:
        caller = call.exchange.caller
        row = await desk.one(caller, text(call.arguments, "name"))
        name = text(row, "name")
        every = {text(one, "name"): one for one in await desk.status(caller)}
        answer = await desk.ask(caller, lambda client: client.config([name]))
        events = await desk.ask(caller, lambda client: client.events(service=name, limit=_EVENTS))
        processes = await processes_of(desk, caller, name)
        config = member(member(member(answer, "fleet"), "services"), name)
        wanted = member(config, "depends_on")
        depends: list[Json] = [
            {
                "name": one,
                "state": text(every.get(one, {}), "state"),
                "condition": text(member(wanted, one), "condition"),
            }
            for one in texts(row, "depends_on")
        ]
        dependents = [one for one, other in every.items() if name in texts(other, "depends_on")]
        told: list[Json] = [
            {
                "at": instant_text(number(one, "at")),
                "kind": text(one, "kind"),
                "message": text(one, "message"),
            }
            for one in rows(events, "events")
        ]
        structured: Json = {
            "service": full(row),
            "depends_on": depends,
            "dependents": dependents[:_DEPENDENTS],
            "processes": processes,
            "config": config,
            "events": told,
        }
        words = [line_of(row, wall_now())]
        if ended := member(row, "exit"):
            words.append(f"last exit: {text(ended, 'text')} at {instant_text(number(ended, 'at_wall'))}")
        if depends:
            words.append("depends on " + ", ".join(f"{one['name']} ({one['state']})" for one in depends))
        if dependents:
            words.append(f"needed by {', '.join(dependents[:20])}")
        if processes:
            words.append(fenced("processes", "\n".join(tree_lines(processes))))
        words += ["events:", *(f"  {one['at']} {one['kind']}: {one['message']}" for one in told)]
        told_config = json.dumps(config, ensure_ascii=False)
        words.append(f"config: {told_config[:_CONFIG_SHOWN]}")
        links = ((f"service://{name}", name), (f"service://{name}/logs", f"log of {name}"))
        return Answer(structured, "\n".join(words), is_untrusted=bool(processes), links=links)

    return Tool("service_inspect", "Inspect a service", _DESCRIPTION, Role.VIEWER, _INPUT, _OUTPUT, run)
