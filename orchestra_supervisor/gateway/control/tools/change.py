"""`service_start`, `service_stop`, `service_restart`: apart, so that a client's rules can tell them apart.

A change is a job from its beginning. Who waits gets its result; who waits too long gets its handle.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio

from orchestra_supervisor.control_client import ControlClient, rows
from orchestra_supervisor.gateway.control.audit import Audit
from orchestra_supervisor.gateway.control.consent import Consent, check_own, with_dependents
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import flag, number, text, texts
from orchestra_supervisor.gateway.control.jobs import KEPT_FOR, Job, Jobs
from orchestra_supervisor.gateway.control.progress import with_progress
from orchestra_supervisor.gateway.control.tool import Answer, Call, Tool, object_of
from orchestra_supervisor.gateway.control.tools.waiting import NAMES, wait_until
from orchestra_supervisor.gateway.control.trouble import NeedsInput, ToolTrouble
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["INLINE", "Changes", "answer_of", "change_tools"]

INLINE = 45.0
"""Seconds after which a call is answered with its job: clients give up after 60."""
_LONGEST = 3_600
_TRIES = 10
_PAUSE = 0.3  # seconds between attempts to go on with the next daemon
_OUTPUT: Json = object_of(
    {
        "job_id": {"type": ["string", "null"], "description": "set while it goes on: ask `job` for it"},
        "done": {"type": "boolean"},
        "dry_run": {"type": "boolean"},
        "results": {
            "type": "array",
            "items": object_of(
                {
                    "name": {"type": "string"},
                    "before": {"type": "string"},
                    "after": {"type": "string"},
                    "ok": {"type": "boolean"},
                    "changed": {"type": "boolean"},
                    "took_ms": {"type": "number"},
                    "message": {"type": "string"},
                }
            ),
        },
        "allowed_by": {"type": "string", "description": "not protected, user, or confirm argument"},
        "hint": {"type": "string"},
    }
)
_TIMEOUT: Json = {
    "type": "number",
    "minimum": 0,
    "maximum": _LONGEST,
    "default": 60,
    "description": "seconds to wait for it; over 45 the answer may be a job_id",
}
_DRY_RUN: Json = {"type": "boolean", "default": False, "description": "only say what would be done"}
_REASON: Json = {"type": "string", "maxLength": 500, "default": "", "description": "why, for the audit"}
_DEPENDENTS: Json = {
    "type": "boolean",
    "default": False,
    "description": "also whatever depends on them: stopped first, started last",
}
_CONFIRM: Json = {
    "type": "string",
    "maxLength": 2_000,
    "description": "names of the protected services, comma separated, once the user has said yes to you",
}


@dataclass(frozen=True, slots=True)
class _Verb:
    """What a change does: its word, the goal that is waited for, and whether it ends what runs."""

    name: str
    goal: str
    destroys: bool


_START = _Verb("start", "ready", destroys=False)
_STOP = _Verb("stop", "stopped", destroys=True)
_RESTART = _Verb("restart", "ready", destroys=True)
_WORDS = {
    "start": """\
Start services, and the dependencies that they need. One that is up is left alone (changed=false). Waits \
until they \
are ready; if one fails, call service_diagnose. Also gives a failed service its restarts back.""",
    "stop": """\
Stop services; they stay down until somebody starts them. Try dry_run first to see what depends on them. \
Protected \
services need the user's word. The gateway that carries you cannot be stopped from here.""",
    "restart": """\
Give services a new run; one that is down is started. Read service_diagnose before: a restart does not \
mend a missing \
file. Protected services need the user's word. With with_dependents, what depends on them is restarted \
as well.""",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """What a change needs.

    Attributes:
        desk: Asks the daemon.
        jobs: Where it goes on.
        consent: Gets the user's word.
        audit: Writes it down.
        inline: Seconds after which the answer is a job.
    """

    desk: Desk
    jobs: Jobs
    consent: Consent
    audit: Audit
    inline: float = INLINE

    async def run(self, verb: _Verb, call: Call) -> Answer:
        """Carry out a change."""
        arguments, caller = call.arguments, call.exchange.caller
        chosen = await self.desk.status(caller, texts(arguments, "names"))
        names = [text(row, "name") for row in chosen]
        concerned = {text(row, "name"): row for row in chosen}
        if flag(arguments, "with_dependents"):
            every = await self.desk.status(caller)
            known = {text(row, "name"): row for row in every}
            concerned = {name: known[name] for name in with_dependents(names, every) if name in known}
        if verb.destroys:
            check_own(verb.name, concerned)
        if flag(arguments, "dry_run"):
            return await self._dry(verb, call, list(concerned.values()))
        allowed = "not protected"
        if verb.destroys:
            protected = [name for name, row in concerned.items() if flag(row, "protected")]
            try:
                allowed = await self.consent.get(call, f"{verb.name} {', '.join(names)}", protected)
            except NeedsInput:
                await self.audit.note(call, "asked", {"protected": protected})
                raise
        runs = {text(row, "name"): row.get("run") for row in chosen}
        work = partial(self._carry_out, verb, call, names, runs, allowed)
        job = self.jobs.start(caller.principal, call.tool, names, work)

        async def wait() -> bool:
            with anyio.move_on_after(self.inline):
                await job.ended.wait()
            return job.state != "running"

        patience = number(arguments, "timeout_s") or 0.0
        await with_progress(self.desk, call, names, verb.goal, patience, wait)
        return answer_of(job)

    async def _dry(self, verb: _Verb, call: Call, concerned: list[Json]) -> Answer:
        """Return what would be done, dependents included that would notice."""
        every = await self.desk.status(call.exchange.caller)
        names = [text(row, "name") for row in concerned]
        touched = [name for name in with_dependents(names, every) if name not in names]
        results = [_would(verb, row) for row in concerned]
        hint = ""
        if verb.destroys and touched:
            who = ", ".join(touched[:20])
            hint = f"{who} depend on it and stay as they are; with_dependents=true takes them along"
        structured: Json = {
            "job_id": None,
            "done": False,
            "dry_run": True,
            "results": results,
            "allowed_by": "dry run",
            "hint": hint,
        }
        words = ["dry run: nothing was done", *(f"{one['name']}: {one['message']}" for one in results), hint]
        return Answer(structured, "\n".join(words).rstrip())

    async def _order(self, verb: _Verb, call: Call, names: list[str], runs: dict[str, object]) -> Json:
        """Give an order; where the daemon is replaced meanwhile, find out whether it took it, and wait on."""
        caller, arguments = call.exchange.caller, call.arguments
        patience = number(arguments, "timeout_s") or 0.0
        act = partial(_act, verb=verb, names=names, arguments=arguments)
        try:
            return await self.desk.ask(caller, act, is_long=True)
        except ToolTrouble as trouble:
            if trouble.code != "no_daemon" or text(arguments, "wait") == "none":
                raise
            lost = trouble
        for _ in range(_TRIES):
            await anyio.sleep(_PAUSE)
            try:
                rows_now = await self.desk.status(caller, names)
                again = [text(row, "name") for row in rows_now if _is_as_before(verb, row, runs)]
                if again:
                    order = partial(_act, verb=verb, names=again, arguments={**arguments, "wait": "none"})
                    await self.desk.ask(caller, order)
                wait = partial(wait_until, names=names, goal=verb.goal, patience=patience)
                return await self.desk.ask(caller, wait, is_long=True)
            except ToolTrouble as trouble:
                if trouble.code != "no_daemon":
                    raise
                lost = trouble
        raise lost

    async def _carry_out(
        self, verb: _Verb, call: Call, names: list[str], runs: dict[str, object], allowed: str
    ) -> Answer:
        try:
            answer = await self._order(verb, call, names, runs)
        except ToolTrouble as trouble:
            await self.audit.note(call, trouble.outcome, {"error": trouble.message})
            trouble.is_written = True
            raise
        results = [_result(row) for row in rows(answer, "results")]
        is_done = all(flag(one, "ok") for one in results)
        told: Json = {str(one["name"]): f"{one['before']} -> {one['after']}" for one in results[:50]}
        unwritten = await self.audit.note(
            call, "done" if is_done else "failed", {"allowed_by": allowed, **told}
        )
        bad = [str(one["name"]) for one in results if not one["ok"]]
        hint = f"service_diagnose with name={bad[0]!r} says why" if bad else unwritten
        structured: Json = {
            "job_id": None,
            "done": True,
            "dry_run": False,
            "results": results,
            "allowed_by": allowed,
            "hint": hint,
        }
        words = [f"{verb.name}: {'done' if is_done else 'not all did what was asked'}"]
        words += [_line(one) for one in results]
        return Answer(structured, "\n".join([*words, hint]).rstrip(), is_error=not is_done)


def change_tools(changes: Changes) -> list[Tool]:
    """Return the three tools."""
    common: Json = {"names": NAMES, "timeout_s": _TIMEOUT, "dry_run": _DRY_RUN, "reason": _REASON}
    hard: Json = {"with_dependents": _DEPENDENTS, "confirm": _CONFIRM}
    inputs: dict[str, Json] = {
        "start": {**common, "wait": _waits("ready")},
        "stop": {**common, "wait": _waits("stopped"), **hard},
        "restart": {**common, "wait": _waits("ready"), **hard},
    }
    return [
        Tool(
            f"service_{verb.name}",
            f"{verb.name.capitalize()} services",
            _WORDS[verb.name],
            Role.OPERATOR,
            object_of(inputs[verb.name], required=("names",)),
            _OUTPUT,
            partial(changes.run, verb),
            reads=False,
            destroys=verb.destroys,
        )
        for verb in (_START, _STOP, _RESTART)
    ]


def answer_of(job: Job) -> Answer:
    """Return what came of a job, or its handle while it goes on."""
    if job.trouble is not None:
        raise job.trouble
    if job.answer is not None:
        return job.answer
    hint = f"job with id={job.id!r} tells more; it is kept for {KEPT_FOR:g} s after its end"
    if job.state == "cancelled":
        hint = "nobody waits for it any more; the daemon goes on with it: fleet_status says how it stands"
    structured: Json = {
        "job_id": job.id,
        "done": False,
        "dry_run": False,
        "results": [],
        "allowed_by": "",
        "hint": hint,
    }
    return Answer(structured, f"{job.tool} of {', '.join(job.names[:20])} is {job.state}\n{hint}")


def _waits(goal: str) -> Json:
    return {
        "type": "string",
        "enum": [goal, "none"],
        "default": goal,
        "description": "none: answer when the order is taken",
    }


def _act(client: ControlClient, verb: _Verb, names: list[str], arguments: Json) -> Json:
    """Give the order, and wait for what follows as the arguments say."""
    wait, patience = text(arguments, "wait"), number(arguments, "timeout_s") or 0.0
    reason, along = text(arguments, "reason"), flag(arguments, "with_dependents")
    order: Callable[..., Json] = {"start": client.start, "stop": client.stop, "restart": client.restart}[
        verb.name
    ]
    return order(names, wait=wait, timeout=patience, with_dependents=along, reason=reason)


def _is_as_before(verb: _Verb, row: Json, runs: dict[str, object]) -> bool:
    """Return whether nothing has been done to a service yet."""
    if verb.name == "restart":
        return text(row, "state") != "stopping" and row.get("run") == runs.get(text(row, "name"))
    return text(row, "desired") != ("up" if verb.name == "start" else "down")


def _would(verb: _Verb, row: Json) -> Json:
    state = text(row, "state")
    is_down = state in {"stopped", "completed", "failed"}
    is_idle = {"start": not is_down, "stop": is_down, "restart": False}[verb.name]
    doing = f"would {'start' if verb.name == 'restart' and is_down else verb.name}"
    guard = ", after the user's word (protected)" if verb.destroys and flag(row, "protected") else ""
    message = f"is {state}: nothing would be done" if is_idle else f"is {state}: {doing}{guard}"
    return {
        "name": text(row, "name"),
        "before": state,
        "after": state,
        "ok": True,
        "changed": False,
        "took_ms": 0.0,
        "message": message,
    }


def _result(row: Json) -> Json:
    return {
        "name": text(row, "name"),
        "before": text(row, "before"),
        "after": text(row, "after"),
        "ok": flag(row, "ok"),
        "changed": flag(row, "changed"),
        "took_ms": round((number(row, "took") or 0.0) * 1_000, 1),
        "message": text(row, "message"),
    }


def _line(one: Json) -> str:
    mark = "ok" if one["ok"] else "NOT OK"
    what = f"{one['before']} -> {one['after']}" if one["changed"] else f"{one['after']}, nothing done"
    return f"{mark} {one['name']}: {what} ({one['message']})"
