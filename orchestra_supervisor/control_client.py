"""A client of the control socket that costs a few milliseconds to import.

The one door through which the CLI, the gateway and the embedded servers talk to the daemon. Standard
library only, and of that no `http`, `urllib`, `typing` or `dataclasses`: `orchestra status` answers in
60 ms, and each of these costs more than the whole of this module. Synchronous; async callers use a thread.

Source: docs/control-api.md.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Mapping

from orchestra_supervisor.unix_http import HttpSyntaxError, connect, exchange, query_text, quote

__all__ = [
    "DEFAULT_TIMEOUT",
    "WAIT_TIMEOUT",
    "ControlClient",
    "ControlError",
    "Json",
    "NoDaemon",
    "SseEvent",
    "rows",
]

Json = dict[str, object]
Query = Mapping[str, str | float | None]

DEFAULT_TIMEOUT = 10.0
"""Seconds for a whole answer, where the caller names no other figure."""
WAIT_TIMEOUT = 120.0
"""Seconds that the daemon is asked to wait for a state, where the caller names no other figure."""
_WAIT_MARGIN = 5.0  # seconds that the daemon gets to say that the wait is over
_RETRY_EVERY = 0.02  # seconds between attempts to connect to a daemon that is being replaced


class ControlError(Exception):
    """The daemon refused, failed, or could not be talked to.

    Args:
        code: A code of docs/errors.md.
        message: What happened and where.
        hint: The way out, or empty.
        context: Further facts of the daemon.
        http_status: The answer's status, or 0 where there was no answer.
    """

    def __init__(
        self, code: str, message: str, hint: str = "", context: Json | None = None, http_status: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.context: Json = context or {}
        self.http_status = http_status


class NoDaemon(ControlError):
    """Nobody answers on the control socket: it is missing, refuses, or closed before the answer."""

    def __init__(self, message: str, hint: str = "start a fleet on this home with `orchestra up`") -> None:
        super().__init__("no_daemon", message, hint)


class SseEvent:
    """One event of a stream.

    Args:
        id: The last id seen on the stream: where to go on from; empty before the first.
        event: The event's kind; `message` where the stream names none.
        data: Its JSON object.
    """

    __slots__ = ("data", "event", "id")

    def __init__(self, id: str, event: str, data: Json) -> None:  # noqa: A002 - the field's name in the standard
        self.id = id
        self.event = event
        self.data = data

    def __repr__(self) -> str:
        return f"SseEvent(id={self.id!r}, event={self.event!r}, data={self.data!r})"


class ControlClient:
    """The verbs of docs/control-api.md as methods.

    Every method raises `NoDaemon` where nobody answers and `ControlError` where the daemon refuses,
    fails, or does not answer in time (code `timeout`).

    Args:
        path: The control socket, of any length; see `control_home.socket_path`.
        timeout: Seconds for a whole answer.
        connect_wait: Seconds during which a refused connection is tried again: for callers who know
            that the fleet runs, and that its daemon may just be replaced.
        caller: For whom is asked: `name`, and a `role` above which nothing is done; both names are audited.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        connect_wait: float = 0.0,
        caller: Mapping[str, str] | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.timeout = timeout
        self.connect_wait = connect_wait
        self._fields = {"Orchestra-Caller": json.dumps(dict(caller))} if caller is not None else None

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json | None = None,
        timeout: float | None = None,
    ) -> Json:
        """Send one request and return the JSON object of its answer.

        Args:
            method: GET, POST, ...
            path: The path, its variable segments already quoted.
            query: Parameters; None values are left out.
            body: A JSON-ready object, or None.
            timeout: Seconds for the whole answer; None: the client's own.
        """
        what = f"{method} {path}"
        limit = self.timeout if timeout is None else timeout
        content = None if body is None else json.dumps(body).encode()
        try:
            with self._connect(limit) as connection:
                target = path + query_text(query)
                answer = exchange(connection, method, target, content, limit, fields=self._fields)
                return _object_of(answer.status, answer.read(), what)
        except (OSError, HttpSyntaxError) as error:
            raise self._failure(what, limit, error) from error

    def stream(
        self,
        path: str,
        query: Query | None = None,
        *,
        idle: float | None = None,
        opened: Callable[[socket.socket], None] | None = None,
    ) -> Generator[SseEvent, None, None]:
        """Yield the events of a stream until the daemon ends it.

        Connects at the first `next`. Who leaves a loop early calls `close()`, or uses contextlib.closing.

        Args:
            path: The path, its variable segments already quoted.
            query: Parameters, as for `request`.
            idle: Seconds without a byte (the daemon sends a comment every few) after which ControlError
                `timeout` is raised; None: wait for ever.
            opened: Told the connection: whoever shuts it down from another thread ends the wait.
        """
        what = f"GET {path}"
        try:
            with self._connect(self.timeout) as connection:
                if opened is not None:
                    opened(connection)
                target = path + query_text(query)
                answer = exchange(connection, "GET", target, None, self.timeout, fields=self._fields)
                if answer.status != 200:
                    _object_of(answer.status, answer.read(), what)
                    raise HttpSyntaxError(f"status {answer.status} in place of a stream")
                for last_id, kind, data in answer.events(idle):
                    yield SseEvent(last_id, kind, _object(data.encode()))
        except (OSError, HttpSyntaxError) as error:
            raise self._failure(what, idle or self.timeout, error) from error

    def health(self) -> Json:
        """Ask whether the daemon answers."""
        return self.request("GET", "/v1/health")

    def status(self, names: Iterable[str] = ()) -> Json:
        """Return the daemon and the services, all of them or those of `names`."""
        return self.request("GET", "/v1/status", query={"names": ",".join(names) or None})

    def start(
        self,
        names: Iterable[str],
        *,
        wait: str = "ready",
        timeout: float = WAIT_TIMEOUT,
        with_dependents: bool = False,
        reason: str = "",
        demand: bool = False,
    ) -> Json:
        """Start services; `wait` is `ready` or `none`, `timeout` in seconds; `demand`: they are needed."""
        body: Json = {"names": list(names), "with_dependents": with_dependents, "reason": reason}
        return self._act("start", body | ({"demand": True} if demand else {}), wait, timeout)

    def stop(
        self,
        names: Iterable[str],
        *,
        wait: str = "stopped",
        timeout: float = WAIT_TIMEOUT,
        with_dependents: bool = False,
        reason: str = "",
        demand: bool = False,
    ) -> Json:
        """Stop services; `wait` is `stopped` or `none`, `timeout` in seconds; `demand`: they are idle."""
        body: Json = {"names": list(names), "with_dependents": with_dependents, "reason": reason}
        return self._act("stop", body | ({"demand": True} if demand else {}), wait, timeout)

    def restart(
        self,
        names: Iterable[str],
        *,
        wait: str = "ready",
        timeout: float = WAIT_TIMEOUT,
        with_dependents: bool = False,
        reason: str = "",
        batch: int | None = None,
        demand: bool = False,
    ) -> Json:
        """Restart services as `start`; with `batch`, so many replicas at a time; `demand`: they hang."""
        body: Json = {"names": list(names), "with_dependents": with_dependents, "reason": reason}
        if batch is not None:
            body |= {"rolling": True, "batch": batch}
        return self._act("restart", body | ({"demand": True} if demand else {}), wait, timeout)

    def scale(
        self,
        replicas: Mapping[str, int],
        *,
        wait: str = "ready",
        timeout: float = WAIT_TIMEOUT,
        reason: str = "",
    ) -> Json:
        """Have other numbers of replicas, by name; `wait` is `ready` or `none`, `timeout` in seconds."""
        return self._act("scale", {"replicas": dict(replicas), "reason": reason}, wait, timeout)

    def run(
        self, names: Iterable[str], *, wait: str = "none", timeout: float = WAIT_TIMEOUT, reason: str = ""
    ) -> Json:
        """Run periodic and once services now; `wait` is `completed` or `none`, `timeout` in seconds."""
        return self._act("run", {"names": list(names), "reason": reason}, wait, timeout)

    def signal(self, names: Iterable[str], signal: str, *, scope: str = "leader") -> Json:
        """Send a signal (`SIGHUP`) to the `leader`, the `group` or the whole `tree` of each service."""
        body: Json = {"names": list(names), "signal": signal, "scope": scope}
        return self.request("POST", "/v1/signal", body=body)

    def tell(self, names: Iterable[str], *, timeout: float = WAIT_TIMEOUT) -> Json:
        """Tell services to read their configuration again, by their `reload`; waits for their commands."""
        return self.request("POST", "/v1/tell", body={"names": list(names)}, timeout=timeout)

    def wait(self, names: Iterable[str], condition: str, *, timeout: float = WAIT_TIMEOUT) -> Json:
        """Wait until services are `ready`, `stopped` or `completed`; `met` says whether they became it."""
        body: Json = {"names": list(names), "for": condition, "timeout": timeout}
        return self.request("POST", "/v1/wait", body=body, timeout=timeout + _WAIT_MARGIN)

    def events(
        self, *, after: int = 0, limit: int = 100, service: str | None = None, kind: str | None = None
    ) -> Json:
        """Return journal entries after a sequence number; `kind` is a prefix."""
        query: Query = {"after": after, "limit": limit, "service": service, "kind": kind}
        return self.request("GET", "/v1/events", query=query)

    def follow_events(
        self, *, after: int | None = None, service: str | None = None, kind: str | None = None
    ) -> Generator[SseEvent, None, None]:
        """Yield events as they happen, those after `after` first; see `stream`."""
        return self.stream("/v1/events/stream", {"after": after, "service": service, "kind": kind})

    def plugins(self) -> Json:
        """Return the plugins as they stand."""
        return self.request("GET", "/v1/plugins")

    def logs(
        self, name: str, *, lines: int = 100, since: float | None = None, grep: str | None = None
    ) -> Json:
        """Return the last lines of a service's log; `since` in seconds ago, `grep` a regular expression."""
        query: Query = {"lines": lines, "since": since, "grep": grep}
        return self.request("GET", f"/v1/logs/{quote(name)}", query=query)

    def follow_logs(
        self, name: str, *, lines: int = 0, grep: str | None = None
    ) -> Generator[SseEvent, None, None]:
        """Yield a service's log lines as they come, the last `lines` first; see `stream`."""
        return self.stream(f"/v1/logs/{quote(name)}/stream", {"lines": lines, "grep": grep})

    def plan(self, files: Iterable[str] = (), *, timeout: float = WAIT_TIMEOUT) -> Json:
        """Return what a reload would do, by these files (absolute paths) or by those of the fleet."""
        return self.request("POST", "/v1/plan", body={"files": list(files)}, timeout=timeout)

    def reload(self, *, timeout: float = WAIT_TIMEOUT) -> Json:
        """Read the configuration again and apply what changed."""
        return self.request("POST", "/v1/reload", body={}, timeout=timeout)

    def config(self, names: Iterable[str] = ()) -> Json:
        """Return the fleet as applied, or some of its services, without secrets."""
        return self.request("GET", "/v1/config", query={"names": ",".join(names) or None})

    def apply(self, *, timeout: float = WAIT_TIMEOUT) -> Json:
        """Go over to the files as they stand, unless they bring new commands; answers as `reload`."""
        return self.request("POST", "/v1/config/apply", body={}, timeout=timeout)

    def check(
        self, names: Iterable[str], *, ports: Iterable[int] = (), timeout: float = WAIT_TIMEOUT
    ) -> Json:
        """Run the probes of services now, and say who listens on their ports and on `ports`."""
        body: Json = {"names": list(names), "ports": list(ports)}
        return self.request("POST", "/v1/check", body=body, timeout=timeout)

    def audit(self, kind: str, message: str, *, service: str = "", data: Json | None = None) -> Json:
        """Write an event down; its kind begins with `mcp.`."""
        body: Json = {"kind": kind, "message": message, "service": service, "data": data or {}}
        return self.request("POST", "/v1/audit", body=body)

    def shutdown(self, reason: str = "") -> Json:
        """Stop all services in order, then the fleet; the socket goes away when it is done."""
        return self.request("POST", "/v1/shutdown", body={"reason": reason})

    def _act(self, verb: str, body: Json, wait: str, timeout: float) -> Json:
        limit = self.timeout if wait == "none" else timeout + _WAIT_MARGIN
        body |= {"wait": wait, "timeout": timeout}
        return self.request("POST", f"/v1/{verb}", body=body, timeout=limit)

    def _connect(self, timeout: float) -> socket.socket:
        began = time.monotonic()
        while True:
            try:
                return connect(self.path, timeout)
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
                if time.monotonic() >= began + self.connect_wait:
                    refused = isinstance(error, ConnectionRefusedError)
                    what = "refuses connections" if refused else "is missing"
                    raise NoDaemon(f"no fleet runs here: the control socket {self.path} {what}") from error
            except BlockingIOError as error:  # its backlog is full: connect(2) on a Unix socket does not wait
                if time.monotonic() >= began + timeout:
                    raise TimeoutError from error
            time.sleep(_RETRY_EVERY)  # noqa: TID251 - a synchronous client; nothing announces a new listener

    def _failure(self, what: str, seconds: float, error: OSError | HttpSyntaxError) -> ControlError:
        """Say what a broken exchange means."""
        if isinstance(error, HttpSyntaxError):
            return ControlError("internal", f"{what} on {self.path}: {error}")
        if isinstance(error, TimeoutError):
            hint = "ask again, or allow it more time"
            return ControlError("timeout", f"{what}: no answer within {seconds:g} s", hint)
        if isinstance(error, PermissionError):
            hint = "run as the owner of the fleet, or join its settings.control_group"
            message = f"the control socket {self.path} may not be used by uid {os.getuid()}"
            return ControlError("denied", message, hint)
        hint = "it may have been replaced: look at `orchestra status`, then ask again"
        return NoDaemon(f"{what}: the daemon on {self.path} went away before its answer ({error})", hint)


def rows(answer: Json, key: str) -> list[Json]:
    """Return the objects listed under `key` of an answer (`services`, `results`); empty where none are."""
    value = answer.get(key)
    if not isinstance(value, list):
        return []
    return [row for row in value if isinstance(row, dict)]  # pyright: ignore[reportUnknownVariableType] - JSON keys are str


def _object(content: bytes) -> Json:
    """Parse a JSON object; a text that begins with a brace is one, or is not JSON."""
    if not content.lstrip().startswith(b"{"):
        raise HttpSyntaxError("what was sent is not a JSON object")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HttpSyntaxError(f"what was sent is not JSON: {error}") from error


def _object_of(status: int, content: bytes, what: str) -> Json:
    answer = _object(content)
    # An unmet wait is an answer with status 408, and an action that failed one with 409.
    if status < 400 or (status in {408, 409} and "error" not in answer):
        return answer
    try:
        report: dict[str, dict[str, str]] = json.loads(content)
        fields = report["error"]
        code, message, hint = str(fields["code"]), str(fields["message"]), str(fields.get("hint", ""))
        contexts: dict[str, dict[str, Json]] = json.loads(content)
        context = dict(contexts["error"].get("context") or {})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise HttpSyntaxError(f"{what}: status {status} without an error of ours") from None
    raise ControlError(code, message, hint, context, status)
