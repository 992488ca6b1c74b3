"""What each order of the daemon does to runs: checked, then handed to the part that carries it out."""

from collections.abc import Callable

from orchestra_supervisor.keeper.fields import BadMessage, take_text
from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.inputs import INPUT_LIMIT, InputFull, Inputs, NoInput
from orchestra_supervisor.keeper.launch import Launcher
from orchestra_supervisor.keeper.logs import LogPipes
from orchestra_supervisor.keeper.request import (
    parse_limits,
    parse_log,
    parse_plan,
    parse_signal,
    parse_spawn,
)
from orchestra_supervisor.keeper.runs import Run, RunTable
from orchestra_supervisor.keeper.shutdown import Shutdown
from orchestra_supervisor.keeper.socket_request import parse_sockets
from orchestra_supervisor.keeper.sockets import Sockets
from orchestra_supervisor.keeper.stop import Stopper, send_signal
from orchestra_supervisor.keeper.successor import parse_successor
from orchestra_supervisor.wire.frames import Message

__all__ = ["Orders", "Refused"]


class Refused(Exception):
    """A request that is not carried out; becomes an `error` message."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Orders:
    """Carries out orders about runs.

    Args:
        table: All runs.
        launcher: Starts them.
        stopper: Stops them.
        shutdown: Knows whether the fleet goes down.
        find_strays: Takes up what has left the tree of a living leader.
        logs: Passes on what the logger is to know.
        sockets: Holds listening sockets.
        inputs: Holds the inputs of runs.
    """

    def __init__(
        self,
        table: RunTable,
        launcher: Launcher,
        stopper: Stopper,
        shutdown: Shutdown,
        *,
        find_strays: Callable[[], None],
        logs: LogPipes,
        sockets: Sockets,
        inputs: Inputs,
    ) -> None:
        self._table = table
        self._launcher = launcher
        self._stopper = stopper
        self._shutdown = shutdown
        self._find_strays = find_strays
        self._logs = logs
        self._sockets = sockets
        self._inputs = inputs

    def verbs(self) -> dict[str, Callable[[Message], Message | None]]:
        """Return what to call for each message type: returns the reply, or raises Refused or BadMessage."""
        return {
            "spawn": self._spawn,
            "again": self._again,
            "stop": self._stop,
            "signal": self._signal,
            "ack": self._ack,
            "note": self._note,
            "log_config": self._log_config,
            "limits": self._limit,
            "listen": self._listen,
            "unlisten": self._unlisten,
            "input": self._input,
        }

    def _spawn(self, message: Message) -> None:
        request = parse_spawn(message)
        holder = self._table.in_slot(request.slot)
        if self._shutdown.is_going:
            raise Refused("shutting_down", f"{request.slot}: the fleet is going down")
        if self._table.get(request.run) is not None:
            raise Refused("run_exists", f"{request.slot}: there is a run {request.run!r} already")
        if holder is not None:
            raise Refused("slot_busy", f"{request.slot}: run {holder.run} (pid {holder.pid}) is not gone")
        if message.get("note") is not None:
            self._table.keep_note(request.slot, message["note"])
        self._launcher.launch(request, message.get("id"))

    def _again(self, message: Message) -> None:
        """Take a standing order, or take it back; one for a run that has ended meanwhile comes too late."""
        successor = parse_successor(message.get("next"))
        run = self._table.get(message.get("run"))
        if run is not None and run.key is not None and run.killing is None:
            run.successor = successor

    def _stop(self, message: Message) -> Message:
        known = self._table.get(message.get("run"))
        if known is not None and known.phase == "gone":
            return {"type": "ok"}  # what was asked for is so
        run = self._present(message)
        given = message.get("plan")
        plan = run.plan if given is None else parse_plan(given)
        if run.is_over:
            return {"type": "ok"}  # its last commands are bounded
        if not (self._shutdown.is_hurried and run.killing):  # what hurries is not slowed down again
            self._stopper.begin(run, plan)
        return {"type": "ok"}

    def _signal(self, message: Message) -> Message:
        run = self._present(message)
        scope = message.get("scope", "group")
        if scope not in ("leader", "group", "tree"):
            raise BadMessage(f"scope is {scope!r}, not leader, group or tree")
        if scope == "tree":
            self._find_strays()
        try:
            send_signal(run, parse_signal(message.get("signal")), str(scope))
        except PermissionError as error:
            raise Refused("not_permitted", f"{run.slot}: the process belongs to another user now") from error
        return {"type": "ok"}

    def _limit(self, message: Message) -> Message:
        run, limits = self._present(message), parse_limits(message.get("limits"))
        if run.group is not None:
            try:
                run.group.limit(limits)
            except OSError as error:
                raise Refused("not_permitted", f"{run.slot}: limits: {error.strerror}") from error
        return {"type": "ok"}

    def _listen(self, message: Message) -> Message:
        slot, wanted = take_text(message, "slot"), parse_sockets(message.get("sockets"))
        if self._shutdown.is_going:
            raise Refused("shutting_down", f"{slot}: the fleet is going down")
        try:
            self._sockets.open(slot, wanted)
        except SpawnFailure as failure:
            raise Refused("listen_failed", str(failure)) from failure
        if message.get("watch"):
            self._sockets.watch(slot)
        return {"type": "ok"}

    def _unlisten(self, message: Message) -> None:
        self._sockets.close(take_text(message, "slot"))

    def _input(self, message: Message) -> Message:
        run, text = self._present(message), message.get("data")
        try:
            data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else None
        except UnicodeEncodeError:
            data = None
        if data is None or len(data) > INPUT_LIMIT:  # it is not shown: it may be a secret
            raise BadMessage(f"data is not text of at most {INPUT_LIMIT} bytes")
        try:
            self._inputs.write(run, data)
        except NoInput:
            raise Refused("no_input", f"{run.slot}: nothing reads its stdin") from None
        except InputFull:
            raise Refused("input_full", f"{run.slot}: it does not read what waits for it already") from None
        return {"type": "ok"}

    def _ack(self, message: Message) -> None:
        run = self._table.get(message.get("run"))
        if run is not None and run.phase == "gone":
            self._table.forget(run)

    def _note(self, message: Message) -> None:
        self._table.keep_note(take_text(message, "slot"), message.get("note"))

    def _log_config(self, message: Message) -> None:
        self._logs.configure(parse_log(message))

    def _present(self, message: Message) -> Run:
        run = self._table.get(message.get("run"))
        if run is None or run.phase == "gone":
            raise Refused("no_such_run", f"no run {str(message.get('run'))[:80]!r} is there")
        return run
