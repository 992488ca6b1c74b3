"""Causes that stand in how the service is wanted, held and ended: the supervisor's own knowledge."""

import errno
import os
from collections.abc import Iterator

from orchestra_supervisor.gateway.control.diagnosis.exits import exit_meaning, signal_meaning
from orchestra_supervisor.gateway.control.diagnosis.facts import Cause, Certainty, Facts
from orchestra_supervisor.gateway.control.fields import flag, member, number, text, texts, whole
from orchestra_supervisor.gateway.control.words import age_text, instant_text, span_text
from orchestra_supervisor.gateway.messages import Json

__all__ = ["causes_of_state"]

_LOOP_SPAN = 600.0  # seconds in which runs that ended are counted
_LOOP_COUNT = 3
_RECENT_CONFIG = 900.0  # seconds before trouble began in which a change of configuration is suspect
_SPAWN_ACTIONS = {
    errno.ENOENT: "correct `command` (or `cwd`), or install the program",
    errno.EACCES: "make it executable (chmod +x), and let the service's user reach it",
    errno.ENOEXEC: "give the script a first line (#!), or use a build for this machine",
    errno.ENOTDIR: "correct the path: a part of it is no directory",
    errno.ENOMEM: "free memory",
    errno.EAGAIN: "raise the limit of processes (rlimits.nproc, limits.pids)",
    errno.EMFILE: "raise the limit of open files",
    errno.E2BIG: "shorten the arguments or the environment",
    errno.EPERM: "only root may do that: run the fleet as root, or drop `user`, `nice` or the rlimit",
}


def causes_of_state(facts: Facts) -> Iterator[Cause]:
    """Yield what the supervisor itself knows."""
    yield from _not_wanted(facts)
    yield from _fleet_ends(facts)
    yield from _dependency(facts)
    yield from _idle(facts)
    if facts.is_in_trouble:
        yield from _spawn_failed(facts)
        yield from _crash_loop(facts)
        yield from _exit(facts)
        yield from _ended_by_us(facts)
        yield from _stuck(facts)
        yield from _config_change(facts)


def _not_wanted(facts: Facts) -> Iterator[Cause]:
    if text(facts.row, "desired") != "down" or facts.state not in {
        "stopped",
        "completed",
        "failed",
        "stopping",
    }:
        return
    why, name = text(facts.row, "down_reason"), facts.name
    match why:
        case "operator":
            stop = facts.event("control.stop")
            who = text(stop, "message") if stop is not None else facts.reason
            evidence = (f"{who} at {instant_text(number(stop, 'at'))}" if stop is not None else who,)
            action = f"if it should run again: service_start with names=[{name!r}]"
            yield Cause("stopped_by_hand", "it was stopped by hand", evidence, action, Certainty.CERTAIN, 9)
        case "disabled":
            action = "a person sets `enabled: true` and reloads; service_start starts it until then"
            yield Cause(
                "disabled",
                "its configuration says enabled: false",
                (facts.reason,),
                action,
                Certainty.CERTAIN,
                9,
            )
        case "not_selected":
            action = f"service_start with names=[{name!r}]"
            yield Cause(
                "not_selected",
                "the fleet was started without it (--only)",
                (facts.reason,),
                action,
                Certainty.CERTAIN,
                9,
            )
        case "removed":
            yield Cause(
                "removed",
                "it is no longer configured",
                (facts.reason,),
                "add it to the files again",
                Certainty.CERTAIN,
                9,
            )
        case _:
            pass


def _fleet_ends(facts: Facts) -> Iterator[Cause]:
    if facts.phase == "stopping":
        action = "wait; a person starts the fleet with `orchestra up`"
        yield Cause(
            "fleet_stopping",
            "the whole fleet goes down",
            (f"phase {facts.phase}",),
            action,
            Certainty.CERTAIN,
            10,
        )


def _dependency(facts: Facts) -> Iterator[Cause]:
    """Follow what it waits for down to the services that keep all of them waiting."""
    if facts.state != "waiting" or not texts(facts.row, "waiting_for"):
        return
    for root, chain in _roots(facts):
        row = facts.services.get(root, {})
        state = text(row, "state") or "not there"
        evidence = (" waits for ".join([*chain, root]), f"{root} is {state}: {text(row, 'reason')}")
        if state in {"starting", "running"} and not text(row, "probe_error"):
            action = f"wait_for with names=[{facts.name!r}]; if it takes long, service_diagnose on {root!r}"
            yield Cause(
                "dependency_starting",
                f"{root}, which it needs, is not ready yet",
                evidence,
                action,
                Certainty.LIKELY,
                7,
            )
            continue
        action = f"service_diagnose with name={root!r}: mend that one first"
        yield Cause(
            "dependency", f"{root}, which it needs, is {state}", evidence, action, Certainty.CERTAIN, 8
        )


def _roots(facts: Facts) -> Iterator[tuple[str, list[str]]]:
    """Yield the services that are waited for and wait for nobody, each with the chain that leads there."""
    seen = {facts.name}
    queue: list[tuple[str, list[str]]] = [(one, [facts.name]) for one in texts(facts.row, "waiting_for")]
    while queue:
        name, chain = queue.pop(0)
        if name in seen:
            continue
        seen.add(name)
        row = facts.services.get(name, {})
        further = texts(row, "waiting_for") if text(row, "state") == "waiting" else []
        if further:
            queue += [(one, [*chain, name]) for one in further]
        else:
            yield name, chain


def _idle(facts: Facts) -> Iterator[Cause]:
    if flag(facts.row, "listening"):
        where = ", ".join(texts(facts.row, "sockets"))
        action = "nothing: the first connection starts it"
        yield Cause(
            "waits_for_connection",
            "it starts with the first connection",
            (f"held: {where}",),
            action,
            Certainty.NOTED,
        )
    elif facts.state == "waiting" and facts.spec.get("schedule") and not texts(facts.row, "waiting_for"):
        due = instant_text(number(facts.row, "next_run"))
        action = "nothing: it runs by its schedule"
        yield Cause(
            "waits_for_schedule",
            "its next planned run is not due yet",
            (f"due {due}",),
            action,
            Certainty.NOTED,
        )
    elif facts.state == "stopped" and text(facts.row, "desired") == "down" and _is_on_demand(facts):
        action = f"service_start with names=[{facts.name!r}], or whoever needs it starts it"
        yield Cause(
            "on_demand", "it is down until somebody asks for it", (facts.reason,), action, Certainty.NOTED
        )


def _is_on_demand(facts: Facts) -> bool:
    return text(facts.row, "down_reason") in {"", "demand"}


def _spawn_failed(facts: Facts) -> Iterator[Cause]:
    said = facts.exit_text
    if not said.startswith("could not start: "):
        return
    event = facts.event("service.spawn_failed")
    data = member(event, "data") if event is not None else {}
    stage, number_ = text(data, "stage"), whole(data, "errno") or 0
    if stage == "secret" or said.endswith("(secret)"):
        action = "a person adds the secret (settings.secrets_file, or its provider), then service_start"
        yield Cause(
            "secret_missing", "a secret that it needs cannot be had", (said,), action, Certainty.CERTAIN, 9
        )
        return
    if stage.startswith("pre_start"):
        action = "its log has what the command wrote: service_logs"
        yield Cause(
            "pre_start_failed", "a command that runs before it failed", (said,), action, Certainty.CERTAIN, 8
        )
        return
    name = f" ({errno.errorcode[number_]}: {os.strerror(number_)})" if number_ in errno.errorcode else ""
    if stage == "listen" or number_ == errno.EADDRINUSE:
        action = "free the address, or give the service another"
        yield Cause(
            "port_taken", "a socket of it cannot be opened", (f"{said}{name}",), action, Certainty.CERTAIN, 9
        )
        return
    action = _SPAWN_ACTIONS.get(number_, f"mend what fails at the stage {stage!r}")
    what = f"its process cannot be started: it fails at {stage or 'its start'}{name}"
    yield Cause("spawn_failed", what, (said,), action, Certainty.CERTAIN, 9)


def _crash_loop(facts: Facts) -> Iterator[Cause]:
    ends = [one for one in facts.events if text(one, "kind") in {"service.exited", "service.spawn_failed"}]
    recent = [one for one in ends if (number(one, "at") or 0.0) > facts.now - _LOOP_SPAN]
    has_given_up = "restart limit reached" in facts.reason
    if len(recent) < _LOOP_COUNT and not has_given_up:
        return
    kinds: dict[str, int] = {}
    for one in recent or ends:
        kinds[text(one, "message")] = kinds.get(text(one, "message"), 0) + 1
    worst = max(kinds, key=lambda kind: kinds[kind]) if kinds else facts.exit_text
    evidence = [f"{len(recent)} ends within {span_text(_LOOP_SPAN)}, mostly: {worst}"] if recent else []
    evidence += [facts.reason] if has_given_up else []
    what = "it starts and ends again and again"
    if has_given_up:
        action = "mend the cause first; then service_start, which also forgets the count of restarts"
        what += ", and the supervisor has given up"
    else:
        due = number(facts.row, "next_start")
        when = f" (next try in {span_text(due - facts.now)})" if due is not None else ""
        action = f"mend the cause, which is among the other findings; it is tried again by itself{when}"
    yield Cause("crash_loop", what, tuple(evidence), action, Certainty.LIKELY, 1)


def _exit(facts: Facts) -> Iterator[Cause]:
    ended = member(facts.row, "exit")
    if not ended or flag(ended, "success") or facts.exit_text.startswith("could not start: "):
        return
    at = number(ended, "at_wall")
    if facts.state == "unhealthy" and at is not None and at < facts.now - _LOOP_SPAN:
        return  # the present run has another trouble
    evidence = (f"last run: {facts.exit_text}, {age_text(at, facts.now)}",)
    name, code = text(ended, "signal"), whole(ended, "code")
    if "out of memory" in facts.exit_text:
        limit = member(member(facts.row, "limits"), "memory").get("value")
        action = (
            "raise limits.memory, or find what takes it" if limit else "give it memory, or find what takes it"
        )
        yield Cause(
            "out_of_memory", "the kernel ended it for want of memory", evidence, action, Certainty.CERTAIN, 8
        )
        return
    if name:
        what, action = signal_meaning(name)
        yield Cause(
            "killed_by_signal",
            f"its last run was ended by {name}: {what}",
            evidence,
            action,
            Certainty.LIKELY,
            3,
        )
        return
    if code is not None:
        what, action = exit_meaning(code)
        certainty = Certainty.LIKELY if code in {126, 127} else Certainty.POSSIBLE
        weight = 6 if code in {126, 127} else 2
        yield Cause(
            "exit_code",
            f"its last run ended with exit code {code}: {what}",
            evidence,
            action,
            certainty,
            weight,
        )


def _ended_by_us(facts: Facts) -> Iterator[Cause]:
    """Tell of a run that the supervisor ended: over a limit, or silent."""
    said = facts.reason
    if "over its limit of" in said:
        action = "raise limits.memory, or find what takes it (service_inspect shows its use)"
        yield Cause("memory_limit", "it used more memory than it may", (said,), action, Certainty.CERTAIN, 8)
    elif said.startswith("watchdog:"):
        action = "it hangs or forgot WATCHDOG=1: read its last lines, or raise `watchdog`"
        yield Cause(
            "watchdog", "it did not say in time that it is alive", (said,), action, Certainty.CERTAIN, 7
        )
    elif said.startswith("not ready within"):
        action = "see what its probe meets (health_check); raise startup_timeout if it is only slow"
        yield Cause(
            "start_timeout",
            "it was not ready in time, and was ended for that",
            (said,),
            action,
            Certainty.CERTAIN,
            5,
        )


def _stuck(facts: Facts) -> Iterator[Cause]:
    if "SIGKILL was sent" in facts.reason:
        action = (
            "it waits inside the kernel, for a disk or a network file system: mend that; nothing else ends it"
        )
        yield Cause("stuck", "its process cannot be killed", (facts.reason,), action, Certainty.CERTAIN, 9)


def _config_change(facts: Facts) -> Iterator[Cause]:
    """Tell of a change of its configuration shortly before it got into trouble."""
    since = number(facts.row, "since") or facts.now
    for event in reversed(facts.events):
        at = number(event, "at") or 0.0
        if text(event, "kind") == "config.reloaded" and since - _RECENT_CONFIG < at <= facts.now:
            change: Json = member(member(member(event, "data"), "changes"), facts.name)
            if not change:
                continue
            keys = ", ".join(texts(change, "fields")[:8]) or text(change, "action")
            evidence = (
                f"changed {age_text(at, facts.now)}: {keys}",
                f"asked for by {text(member(event, 'data'), 'by')}",
            )
            action = "look at it: config with action=show; a person takes it back and reloads"
            yield Cause(
                "config_changed",
                "its configuration was changed shortly before",
                evidence,
                action,
                Certainty.POSSIBLE,
                4,
            )
            return
