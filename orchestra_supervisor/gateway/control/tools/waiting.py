"""`wait_for` and `events`: what a client sees that is told of nothing."""

from collections.abc import Mapping
from functools import partial

from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import flag, number, text, texts, whole
from orchestra_supervisor.gateway.control.progress import with_progress
from orchestra_supervisor.gateway.control.tool import Answer, Call, Tool, object_of
from orchestra_supervisor.gateway.control.words import instant_text
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["NAMES", "events_tool", "wait_tool", "wait_until"]

NAMES: Json = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 256},
    "minItems": 1,
    "maxItems": 200,
    "description": "names or globs (mcp_*) of services; a name with replicas means all of them; 'all'",
}
"""Schema of the services that a tool is asked for."""

_LONGEST = 50
_WAIT_DESCRIPTION = """\
Wait until services are ready (or completed), stopped, or completed; at most 50 s. met=false says how \
they stand: \
call again to go on waiting, or service_diagnose where one is failed. `healthy` means the same as `ready`."""
_WAIT_INPUT = object_of(
    {
        "names": NAMES,
        "condition": {
            "type": "string",
            "enum": ["ready", "healthy", "stopped", "completed"],
            "default": "ready",
            "description": "what to wait for",
        },
        "timeout_s": {
            "type": "number",
            "minimum": 0,
            "maximum": _LONGEST,
            "default": 30,
            "description": "seconds to wait at most",
        },
    },
    required=("names",),
)
_WAIT_OUTPUT = object_of(
    {
        "met": {"type": "boolean"},
        "states": {
            "type": "array",
            "items": object_of(
                {
                    "name": {"type": "string"},
                    "state": {"type": "string"},
                    "ok": {"type": "boolean"},
                    "message": {"type": "string"},
                }
            ),
        },
    }
)
_EVENTS_DESCRIPTION = """\
What happened, in order: changes of state, exits, probes, reloads, who stopped what. Without `since` the \
newest; \
with it (a cursor from the last answer) what came after. kinds filters by prefix: service., control., \
config., log."""
_EVENTS_INPUT = object_of(
    {
        "since": {"type": "integer", "minimum": 0, "description": "cursor of the answer before"},
        "service": {"type": "string", "maxLength": 256, "description": "of this service alone"},
        "kinds": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 60},
            "maxItems": 10,
            "description": "prefixes of kinds, e.g. service.exited",
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": 200,
            "default": 50,
            "description": "events at most",
        },
    },
    required=(),
)
_EVENTS_OUTPUT = object_of(
    {
        "events": {
            "type": "array",
            "items": object_of(
                {
                    "seq": {"type": "integer"},
                    "at": {"type": ["string", "null"]},
                    "kind": {"type": "string"},
                    "service": {"type": "string"},
                    "message": {"type": "string"},
                }
            ),
        },
        "cursor": {"type": "integer", "description": "pass it as since to see what comes next"},
        "more": {"type": "boolean", "description": "there are more after the cursor already"},
        "missed": {"type": "boolean", "description": "some after since are too many or too old to be shown"},
    }
)
_SCANNED = 2_000  # events that are looked through for one answer


def wait_tool(desk: Desk) -> Tool:
    """Return `wait_for`."""

    async def run(call: Call) -> Answer:
        caller, names = call.exchange.caller, texts(call.arguments, "names")
        goal = text(call.arguments, "condition").replace("healthy", "ready")
        patience = number(call.arguments, "timeout_s") or 0.0

        async def wait() -> Json:
            return await desk.ask(
                caller, partial(wait_until, names=names, goal=goal, patience=patience), is_long=True
            )

        answer = await with_progress(desk, call, names, goal, patience, wait)
        states: list[Json] = [
            {
                "name": text(one, "name"),
                "state": text(one, "after"),
                "ok": flag(one, "ok"),
                "message": text(one, "message"),
            }
            for one in rows(answer, "results")
        ]
        met = flag(answer, "met")
        words = [f"{'met' if met else 'not met'}: {goal}"]
        words += [f"{one['name']} is {one['state']}: {one['message']}" for one in states]
        if not met:
            words.append("next: call again to go on waiting, or service_diagnose on one that is not there")
        return Answer({"met": met, "states": states}, "\n".join(words))

    return Tool(
        "wait_for", "Wait for services", _WAIT_DESCRIPTION, Role.VIEWER, _WAIT_INPUT, _WAIT_OUTPUT, run
    )


def wait_until(client: ControlClient, names: list[str], goal: str, patience: float) -> Json:
    """Wait for services; that they are not there in time is an answer (`met` is false), no error."""
    try:
        return client.wait(names, goal, timeout=patience)
    except ControlError as error:
        if error.code == "timeout" and "results" in error.context:
            return {"met": False, "results": error.context["results"]}
        raise


def events_tool(desk: Desk) -> Tool:
    """Return `events`."""

    async def run(call: Call) -> Answer:
        arguments, caller = call.arguments, call.exchange.caller
        since, limit = whole(arguments, "since"), whole(arguments, "limit") or 1
        kinds = tuple(texts(arguments, "kinds"))
        kind = kinds[0] if len(kinds) == 1 else None
        many = _SCANNED if since is not None or len(kinds) > 1 else limit
        service = text(arguments, "service") or None
        if service is not None:
            service = text(await desk.one(caller, service), "name")
        ask = partial(_events, after=since or 0, limit=many, service=service, kind=kind)
        answer = await desk.ask(caller, ask)
        found = rows(answer, "events")
        is_full = len(found) >= many
        wanted = [one for one in found if not kinds or text(one, "kind").startswith(kinds)]
        page = wanted[-limit:] if since is None else wanted[:limit]
        more = since is not None and len(wanted) > limit
        last = whole(answer, "last") or 0
        cursor = (
            (whole(page[-1], "seq") or 0) if more else max([last, *(whole(one, "seq") or 0 for one in page)])
        )
        told = [_told(one) for one in page]
        missed = since is not None and is_full
        structured: Json = {"events": told, "cursor": cursor, "more": more, "missed": missed}
        words = [f"{one['at']} {one['service'] or '-'} {one['kind']}: {one['message']}" for one in told]
        words = words or ["nothing happened"]
        words.append(f"cursor {cursor}" + ("; there are more: call again with since" if more else ""))
        if missed:
            words.append("some between since and the first are not shown: narrow it with service or kinds")
        return Answer(structured, "\n".join(words))

    return Tool("events", "Events", _EVENTS_DESCRIPTION, Role.VIEWER, _EVENTS_INPUT, _EVENTS_OUTPUT, run)


def _events(client: ControlClient, after: int, limit: int, service: str | None, kind: str | None) -> Json:
    return client.events(after=after, limit=limit, service=service, kind=kind)


def _told(event: Mapping[str, object]) -> Json:
    return {
        "seq": whole(event, "seq") or 0,
        "at": instant_text(number(event, "at")),
        "kind": text(event, "kind"),
        "service": text(event, "service"),
        "message": text(event, "message")[:500],
    }
