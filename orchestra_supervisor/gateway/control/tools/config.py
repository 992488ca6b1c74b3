"""`config`: the configuration as applied, and what the files would change. It brings in nothing by itself.

`apply` goes over to the files as they stand on the disk, and is there only where the fleet's settings allow
it. The daemon refuses it where that would run anything new; this tool takes no configuration from its caller.
"""

import json

from orchestra_supervisor.control_client import ControlClient
from orchestra_supervisor.gateway.control.audit import Audit
from orchestra_supervisor.gateway.control.consent import Consent, check_own
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import flag, member, members, text, texts
from orchestra_supervisor.gateway.control.tool import Answer, Call, Tool, object_of
from orchestra_supervisor.gateway.control.trouble import NeedsInput, ToolTrouble
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["config_tool"]

_SHOWN = 20_000  # characters of a configuration in one answer
_FIELDS = 40  # values of one service that a diff tells of
_SERVICES = 60
_READS = """\
The configuration: show (as applied; secrets are ***; name services to keep it short), validate (are the \
files on the \
disk right?), diff (what a reload would do, value by value). Files are edited outside of this tool."""
_APPLIES = """ apply goes over to the files as they stand; refused where they bring new services, \
commands, users, \
plugins or rights, which a person applies with `orchestra reload`."""
_NAMES: Json = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 256},
    "maxItems": 200,
    "description": "of show: services or globs; none: all",
}
_CHANGE = object_of(
    {
        "name": {"type": "string"},
        "action": {"type": "string"},
        "why": {"type": "string"},
        "fields": {
            "type": "array",
            "items": object_of(
                {
                    "field": {"type": "string"},
                    "old": {"type": "string"},
                    "new": {"type": "string"},
                    "when": {"type": "string"},
                }
            ),
        },
    }
)
_OUTPUT = object_of(
    {
        "action": {"type": "string"},
        "summary": {"type": "string"},
        "valid": {"type": ["boolean", "null"], "description": "null: the files were not read"},
        "applied": {"type": "boolean"},
        "errors": {"type": "array", "items": {"type": "string"}},
        "changes": {"type": "array", "items": _CHANGE},
        "config": {"type": ["object", "null"]},
        "hint": {"type": "string"},
    }
)


def config_tool(desk: Desk, consent: Consent, audit: Audit, *, may_apply: bool) -> Tool:
    """Return the tool, as it is for a caller who may or may not apply.

    Args:
        desk: Asks the daemon.
        consent: Gets the user's word.
        audit: Writes down what is applied.
        may_apply: The caller is an admin, and the settings allow it.
    """
    actions = ["show", "validate", "diff", *(["apply"] if may_apply else [])]
    properties: Json = {
        "action": {"type": "string", "enum": actions, "default": "show", "description": "what to do"},
        "names": _NAMES,
    }
    if may_apply:
        properties["confirm"] = {
            "type": "string",
            "maxLength": 2_000,
            "description": "of apply: names of protected services that it ends, once the user has said yes",
        }

    async def run(call: Call) -> Answer:
        action = text(call.arguments, "action")
        if action == "show":
            return await _show(desk, call)
        try:
            plan = await desk.ask(call.exchange.caller, lambda client: client.plan())
        except ToolTrouble as trouble:
            if trouble.code not in {"config", "graph", "secret"}:
                raise
            return _invalid(action, trouble)
        if action == "apply":
            return await _apply(desk, consent, audit, call, plan)
        return _planned(action, plan)

    words = _READS + (_APPLIES if may_apply else "")
    schema = object_of(properties, required=())
    return Tool(
        "config",
        "Configuration",
        words,
        Role.VIEWER,
        schema,
        _OUTPUT,
        run,
        reads=not may_apply,
        destroys=may_apply,
    )


async def _show(desk: Desk, call: Call) -> Answer:
    names = texts(call.arguments, "names")
    answer = await desk.ask(call.exchange.caller, lambda client: client.config(names))
    fleet: Json = member(answer, "fleet")
    told = json.dumps(fleet, ensure_ascii=False, indent=1)
    hint = ""
    if len(told) > _SHOWN:
        services = list(member(fleet, "services"))
        hint = f"too long to be shown whole: name some of {', '.join(services[:50])}"
        only: Json = dict.fromkeys(services, "name it to see it")
        fleet = {"services": only, "settings": member(fleet, "settings")}
        told = json.dumps(fleet, ensure_ascii=False, indent=1)
    count = len(member(fleet, "services"))
    structured = _answer("show", f"{count} services as applied", config=fleet, hint=hint)
    return Answer(structured, f"{told}\n{hint}".rstrip())


async def _apply(desk: Desk, consent: Consent, audit: Audit, call: Call, plan: Json) -> Answer:
    if not flag(plan, "changes"):
        return Answer(_answer("apply", "nothing changed", valid=True), "nothing changed: nothing was applied")
    ended = _ended(plan)
    check_own("reload", ended)
    protected: list[str] = []
    if ended:
        known = await desk.status(call.exchange.caller)
        protected = [
            text(row, "name") for row in known if flag(row, "protected") and text(row, "name") in ended
        ]
    try:
        allowed = await consent.get(call, f"apply the files, which ends {', '.join(ended)}", protected)
    except NeedsInput:
        await audit.note(call, "asked", {"protected": protected})
        raise
    if protected:  # to be asked takes time, and a yes is one to these files
        again = await desk.ask(call.exchange.caller, lambda client: client.plan())
        if _ended(again) != ended:
            raise ToolTrouble(
                "the files are others than the user was asked about: not applied",
                "look at them again with action=diff; apply asks anew",
                code="conflict",
            )
    try:
        done = await desk.ask(call.exchange.caller, _go_over, is_long=True)
    except ToolTrouble as trouble:
        await audit.note(call, trouble.outcome, {"error": trouble.message})
        trouble.is_written = True
        raise
    summary = text(done, "summary")
    unwritten = await audit.note(call, "done", {"summary": summary, "allowed_by": allowed})
    structured = _answer("apply", summary, valid=True, changes=_changes(done), hint=unwritten)
    structured["applied"] = True
    return Answer(structured, "\n".join([f"applied: {summary}", *_lines(done), unwritten]).rstrip())


def _ended(plan: Json) -> list[str]:
    """Return the services of which a run would end."""
    return [
        text(one, "name")
        for one in members(plan, "services")
        if text(one, "action") in {"remove", "restart", "roll", "stop"}
    ]


def _go_over(client: ControlClient) -> Json:
    return client.apply()


def _invalid(action: str, trouble: ToolTrouble) -> Answer:
    structured = _answer(action, "the files are wrong; nothing was changed", valid=False, hint=trouble.hint)
    structured["errors"] = [trouble.message]
    return Answer(structured, f"the files are wrong: {trouble.text}", is_error=action == "apply")


def _planned(action: str, plan: Json) -> Answer:
    summary = text(plan, "summary")
    changes = _changes(plan) if action == "diff" else []
    hint = ""
    if flag(plan, "changes"):
        hint = "a person applies it: orchestra reload"
    structured = _answer(action, summary, valid=True, changes=changes, hint=hint)
    words = [f"the files are right; a reload would do: {summary}"]
    if action == "diff":
        words += _lines(plan)
    return Answer(structured, "\n".join([*words, hint]).rstrip())


def _answer(
    action: str,
    summary: str,
    *,
    valid: bool | None = None,
    changes: list[Json] | None = None,
    config: Json | None = None,
    hint: str = "",
) -> Json:
    return {
        "action": action,
        "summary": summary,
        "valid": valid,
        "applied": False,
        "errors": [],
        "changes": changes or [],
        "config": config,
        "hint": hint,
    }


def _changes(plan: Json) -> list[Json]:
    told: list[Json] = [
        {**_words(one, "name", "action", "why"), "fields": _fields(one, "fields")}
        for one in members(plan, "services")[:_SERVICES]
    ]
    if settings := _fields(plan, "settings"):
        told.append({"name": "settings", "action": "settings", "why": "of the fleet", "fields": settings})
    return told


def _fields(row: Json, key: str) -> list[Json]:
    return [_words(one, "field", "old", "new", "when") for one in members(row, key)[:_FIELDS]]


def _words(row: Json, *keys: str) -> Json:
    return {key: text(row, key) for key in keys}


def _lines(plan: Json) -> list[str]:
    lines: list[str] = []
    for change in _changes(plan):
        lines.append(f"{change['action']} {change['name']}: {change['why']}")
        lines += [
            f"  {text(one, 'field')}: {text(one, 'old')} -> {text(one, 'new')} ({text(one, 'when')})"
            for one in members(change, "fields")
        ]
    return lines
