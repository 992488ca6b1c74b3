"""Causes that stand outside the supervisor: in its log, in what its probes meet, in who has its port."""

from collections.abc import Iterator, Mapping

from orchestra_supervisor.gateway.control.diagnosis.facts import Cause, Certainty, Facts
from orchestra_supervisor.gateway.control.diagnosis.signs import Sign, error_lines, find_signs
from orchestra_supervisor.gateway.control.fields import flag, member, members, text, whole
from orchestra_supervisor.gateway.control.untrusted import without_secrets

__all__ = ["causes_outside", "ports_in_logs"]

_SHOWN = 300  # characters of a line that is quoted
_ACTIONS = {
    "module": (
        "dependency_not_installed",
        "a module or library is not there",
        "install it where the service runs",
        7,
    ),
    "command": ("command_missing", "a command that it calls is not there", "install it, or correct PATH", 7),
    "file": ("file_missing", "a file or folder is not there", "create it, or correct the path", 7),
    "permission": (
        "permission",
        "it may not use a file or a port",
        "change owner or rights, or the service's user",
        6,
    ),
    "disk": ("disk_full", "the disk is full", "make room on it", 8),
    "memory": ("out_of_memory", "it got no more memory", "give it memory, or find what takes it", 7),
    "descriptors": (
        "descriptors",
        "it has too many open files",
        "raise rlimits.nofile, or find what is not closed",
        7,
    ),
    "refused": ("peer_down", "something that it talks to does not answer", "look whether that runs", 6),
    "resolve": ("name_resolution", "a host name cannot be resolved", "correct the name, or look at DNS", 6),
    "tls": ("tls", "a certificate or TLS connection is refused", "look at certificates and clocks", 6),
    "usage": (
        "wrong_usage",
        "it does not know an option of its command",
        "correct `command` for this version",
        6,
    ),
    "syntax": ("syntax", "a file that it reads is malformed", "correct the file that the line names", 6),
}
"""Kind of sign to code, words, what to do, and weight."""


def causes_outside(facts: Facts) -> Iterator[Cause]:
    """Yield what logs, probes and ports say."""
    signs = find_signs(facts.lines) if facts.is_in_trouble else []
    yield from _port(facts, signs)
    yield from _environment(facts, signs)
    yield from _other_signs(signs)
    yield from _probes(facts, signs)
    if facts.is_in_trouble:
        yield from _last_words(facts, signs)


def ports_in_logs(facts: Facts) -> list[int]:
    """Return the ports that lines about taken addresses name: it is worth asking who has them."""
    signs = find_signs(facts.lines)
    return list(dict.fromkeys(port for sign in signs if sign.kind == "port" for port in sign.ports))[:8]


def _quoted(line: str) -> str:
    line = without_secrets(line)
    return f"log: {line}" if len(line) <= _SHOWN else f"log: {line[:_SHOWN]}..."


def _port(facts: Facts, signs: list[Sign]) -> Iterator[Cause]:
    """Tell who has the port: the log says that it is taken, or somebody else listens on it."""
    if not facts.is_in_trouble:
        return
    said = next((sign for sign in signs if sign.kind == "port"), None)
    own = whole(facts.row, "port")
    named = list(said.ports) if said is not None else []
    wanted = list(dict.fromkeys([*([own] if own is not None else []), *named]))
    for row in facts.ports:
        port = whole(row, "port")
        if port not in wanted or not flag(row, "busy") or text(row, "service") == facts.name:
            continue
        owner, other = _owner(row), text(row, "service")
        evidence = [f"port {port} is held by {owner}"] + ([_quoted(said.line)] if said is not None else [])
        if other:
            action = f"give one of them another port, or stop the other: service_stop with names=[{other!r}]"
        else:
            action = f"a person ends that process or gives {facts.name} another port; then service_restart"
        yield Cause(
            "port_taken", f"its port {port} is held by {owner}", tuple(evidence), action, Certainty.CERTAIN, 9
        )
        return
    if said is not None:
        where = f" {', '.join(map(str, said.ports))}" if said.ports else ""
        action = "whoever had it may be gone by now: service_restart; if it comes again, look who listens"
        yield Cause(
            "port_taken",
            f"an address it wanted was taken:{where or ' see the line'}",
            (_quoted(said.line),),
            action,
            Certainty.LIKELY,
            9,
        )


def _owner(row: Mapping[str, object]) -> str:
    if text(row, "service"):
        return f"the service {text(row, 'service')} (pid {whole(row, 'pid')})"
    pid = whole(row, "pid")
    return (
        "a process of another user"
        if pid is None
        else f"pid {pid} ({text(row, 'process') or '?'}), outside this fleet"
    )


def _environment(facts: Facts, signs: list[Sign]) -> Iterator[Cause]:
    env = member(facts.spec, "env")
    for sign in signs:
        if sign.kind != "env":
            continue
        if sign.what in env:
            stands = "it is set in its `env`; its value may be empty or of the wrong kind"
            action = f"a person looks at the value of {sign.what} in its `env`"
        else:
            stands = f"{sign.what} is not in its `env`"
            action = f"a person adds {sign.what} to its `env` (a secret as secret:NAME) and reloads"
        yield Cause(
            "env_missing",
            f"the environment variable {sign.what} is missing",
            (_quoted(sign.line), stands),
            action,
            Certainty.LIKELY,
            8,
        )


def _other_signs(signs: list[Sign]) -> Iterator[Cause]:
    told: set[str] = set()
    for sign in signs:
        if sign.kind not in _ACTIONS or sign.kind in told:
            continue
        told.add(sign.kind)
        code, what, action, weight = _ACTIONS[sign.kind]
        named = f": {sign.what}" if sign.what else ""
        yield Cause(code, f"{what}{named}", (_quoted(sign.line),), action, Certainty.LIKELY, weight)


def _probes(facts: Facts, signs: list[Sign]) -> Iterator[Cause]:
    """Tell what its probes meet; where it listens elsewhere than they look, that."""
    if facts.state not in {"starting", "running", "unhealthy", "ready"}:
        return
    failed = [
        probe for check in facts.checks for probe in members(check, "probes") if not flag(probe, "passed")
    ]
    error = text(facts.row, "probe_error")
    if not failed:
        if facts.state == "unhealthy" and facts.checks:
            action = f"wait_for with names=[{facts.name!r}]"
            yield Cause(
                "recovering",
                "its probes pass now: it may be about to recover",
                (error or facts.reason,),
                action,
                Certainty.LIKELY,
                3,
            )
        return
    for probe in failed:
        where, detail = text(probe, "target"), text(probe, "detail")
        evidence = (
            f"{text(probe, 'probe')} probe {where}: {detail}",
            *((f"before: {error}",) if error and error != detail else ()),
        )
        elsewhere = _elsewhere(facts, signs, where)
        if elsewhere:
            action = "make port, probe and program agree: a person corrects the configuration"
            yield Cause(
                "wrong_port",
                f"it seems to listen on {elsewhere}, and its probe looks at {where}",
                (*evidence, _quoted(_listens(signs))),
                action,
                Certainty.LIKELY,
                8,
            )
        certainty = Certainty.NOTED if facts.state == "ready" else Certainty.LIKELY
        action = "see what it is busy with (service_logs); a restart helps where it hangs: service_restart"
        yield Cause(
            "probe_fails",
            f"its {text(probe, 'probe')} probe does not pass: {detail}",
            evidence,
            action,
            certainty,
            4,
        )


def _listens(signs: list[Sign]) -> str:
    return next((sign.line for sign in signs if sign.kind == "listens"), "")


def _elsewhere(facts: Facts, signs: list[Sign], target: str) -> int | None:
    """Return the port on which the log says that it listens, where the probe looks at another."""
    for sign in signs:
        if sign.kind == "listens" and sign.ports and f":{sign.ports[0]}" not in target:
            return sign.ports[0] if f":{whole(facts.row, 'port')}" in target else None
    return None


def _last_words(facts: Facts, signs: list[Sign]) -> Iterator[Cause]:
    exception = next((sign for sign in signs if sign.kind == "exception"), None)
    lines = error_lines(facts.lines)
    if exception is not None:
        action = "read the traceback: service_logs"
        yield Cause(
            "exception",
            f"it ended with an exception: {without_secrets(exception.line)[:_SHOWN]}",
            (_quoted(exception.line),),
            action,
            Certainty.LIKELY,
            5,
        )
    elif lines:
        action = "read what stands around them: service_logs"
        yield Cause(
            "last_errors",
            "its last lines before the trouble",
            tuple(_quoted(line) for line in lines),
            action,
            Certainty.POSSIBLE,
            1,
        )
