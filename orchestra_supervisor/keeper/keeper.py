"""The keeper itself: its parts put together, and what each message and signal does."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from orchestra_supervisor.keeper.announce import Announcer
from orchestra_supervisor.keeper.cgroups import Cgroups
from orchestra_supervisor.keeper.companions import KILL, Companions
from orchestra_supervisor.keeper.fields import BadMessage
from orchestra_supervisor.keeper.inputs import Inputs
from orchestra_supervisor.keeper.launch import Equipment, Launcher
from orchestra_supervisor.keeper.logs import LogPipes
from orchestra_supervisor.keeper.loop import Loop, say
from orchestra_supervisor.keeper.notify import Notifications
from orchestra_supervisor.keeper.notify_out import ServiceManager
from orchestra_supervisor.keeper.orders import Orders, Refused
from orchestra_supervisor.keeper.reaper import EndHooks, Reaper
from orchestra_supervisor.keeper.request import (
    BadSignal,
    Command,
)
from orchestra_supervisor.keeper.roles import Role, RoleHooks
from orchestra_supervisor.keeper.runs import Run, RunTable
from orchestra_supervisor.keeper.shutdown import Shutdown
from orchestra_supervisor.keeper.sockets import Sockets
from orchestra_supervisor.keeper.spawn import Surroundings
from orchestra_supervisor.keeper.stdio import Stdio
from orchestra_supervisor.keeper.stop import Stopper
from orchestra_supervisor.wire.frames import VERSION, Message

__all__ = ["Keeper"]

_REPLACE_WAIT = 5.0  # seconds that a daemon has to end before it is killed


class Keeper:
    """Parent of every service.

    Args:
        daemon: Command line of the daemon.
        logger: Command line of the logger.
        around: What children get of the surroundings.
        cgroups: The control groups of runs.
        patience: Factor on the keeper's own waits.
    """

    def __init__(
        self,
        daemon: list[str],
        logger: list[str],
        around: Surroundings,
        cgroups: Cgroups,
        *,
        patience: float = 1.0,
    ) -> None:
        self._started_wall = time.time()
        self._loop = Loop(patience)
        self._table = RunTable()
        self._is_greeted = False
        self._is_reload_due = False
        self._untold: dict[str, Message] = {}
        self._daemon = Role(
            self._loop,
            "daemon",
            daemon,
            around,
            dies_with_us=True,
            hooks=RoleHooks(
                lambda: self._announcer.daemon_started(),  # noqa: PLW0108  # it is made below
                self._on_daemon,
                self._daemon_ended,
            ),
        )
        self._logger = Role(
            self._loop,
            "logger",
            logger,
            around,
            dies_with_us=False,
            hooks=RoleHooks(self._logger_started, self._on_logger, self._logger_ended),
        )
        self._logs = LogPipes(self._loop, self._logger.send)
        self._cgroups = cgroups
        self._sockets = Sockets(self._loop, self._emit, around.handed_down)
        self._notifications = Notifications(self._loop, self._emit, self._find_strays)
        inputs = Inputs(self._loop)
        self._stdio = Stdio(self._loop, inputs)
        self._launcher = Launcher(
            self._loop,
            self._table,
            around,
            Equipment(cgroups, self._sockets, self._notifications, self._stdio),
            reply=self._outcome,
            on_output=self._logs.take,
            on_forked=self._forked,
            is_going=lambda: self._shutdown.is_going,
        )
        self._stopper = Stopper(
            self._loop,
            emit=self._emit,
            find_strays=self._find_strays,
            run_command=self._run_stop_command,
            end_input=self._stdio.end_input,
            on_stuck=self._run_stuck,
        )
        self._reaper = Reaper(
            self._loop,
            self._table,
            emit=self._emit,
            hooks=EndHooks(
                self._launcher.settle,
                self._kill_rest,
                self._launcher.report_failure,
                self._follow,
                self._notifications.hear,
                self._leader_over,
                self._launcher.due,
                self._launcher.follow,
            ),
            on_end=self._run_changed,
            is_ours=lambda pid: pid in (self._daemon.pid, self._logger.pid),
        )
        self._companions = Companions(
            self._loop,
            around,
            adopt=self._reaper.adopt,
            take_output=self._logs.take_beside,
            stop=self._stopper.begin,
            emit=self._emit,
        )
        self._shutdown = Shutdown(
            self._loop, self._table, self._stopper, self._daemon, self._logger, self._emit, self._logs.offer
        )
        manager = ServiceManager.from_environ(self._loop, os.environ)
        self._announcer = Announcer(self._loop, manager, self._daemon, self._shutdown, self._table)
        self._exit_status = 0
        orders = Orders(
            self._table,
            self._launcher,
            self._stopper,
            self._shutdown,
            find_strays=self._find_strays,
            logs=self._logs,
            sockets=self._sockets,
            inputs=inputs,
        )
        self._verbs = self._make_verbs(orders)

    def _make_verbs(self, orders: Orders) -> dict[str, Callable[[Message], Message | None]]:
        return {
            "hello": self._hello,
            **orders.verbs(),
            "shutdown": self._mark_shutdown,
            "quit": self._quit,
            "ping": lambda _message: {"type": "pong"},
            "pong": lambda _message: None,  # that it spoke is all there is to know
            "status": self._announcer.daemon_says,
        }

    def run(self, wake_fd: int, pending: list[int]) -> int:
        """Serve until the fleet is down.

        Args:
            wake_fd: Becomes readable when a signal came.
            pending: Signal numbers, appended by the signal handler.

        Returns:
            The exit status: the daemon's word in `quit` (0 without it), or 1 when processes were left
            that SIGKILL does not end.
        """

        def on_wake(_events: int) -> None:
            with suppress(BlockingIOError):
                os.read(wake_fd, 4096)
            self._on_signals(pending)

        self._loop.watch(wake_fd, on_wake)
        self._announcer.start()
        self._logger.start()
        self._daemon.start()
        self._loop.run()
        self._daemon.kill()
        self._sockets.close_all()
        self._cgroups.close()
        status = 1 if self._shutdown.left_behind else self._exit_status
        self._announcer.ended(status)
        return status

    def _on_signals(self, pending: list[int]) -> None:
        while pending:
            number = pending.pop(0)
            if number == signal.SIGCHLD:
                self._reaper.child_changed()
            elif number == signal.SIGHUP:
                self._reload()
            elif number == signal.SIGUSR2:
                self._replace()
            else:
                self._shutdown.request()

    def _reload(self) -> None:
        if self._is_greeted:
            self._emit({"type": "reload"})
            return
        self._is_reload_due = True  # the one that comes may have read the files already
        if self._daemon.is_broken:
            self._daemon.replace_at_once()

    def _replace(self) -> None:
        old = self._daemon.pid
        self._emit({"type": "replace"})
        self._daemon.replace_at_once()
        if old is not None:
            wait = _REPLACE_WAIT * self._loop.patience if self._is_greeted else 0.0
            self._loop.call_later(wait, lambda: self._kill_daemon(old))

    def _kill_daemon(self, pid: int) -> None:
        if self._daemon.pid == pid:
            say(f"daemon {pid} did not make room for its successor; it is killed")
            self._daemon.kill()

    def _mark_shutdown(self, _message: Message) -> None:
        self._shutdown.mark()

    def _quit(self, message: Message) -> None:
        status = message.get("status", 0)
        if not isinstance(status, int) or not 0 <= status <= 255:
            raise BadMessage(f"status is {status!r}, not an exit status from 0 to 255")
        self._exit_status = status
        self._shutdown.quit()

    def _emit(self, message: Message) -> None:
        """Send an event to a daemon that has been greeted; others get it in the snapshot."""
        if self._is_greeted:
            self._daemon.send(message)

    def _outcome(self, message: Message) -> None:
        """Tell how a spawn went. A failure leaves no record, so one that nobody heard of is kept."""
        if self._is_greeted:
            self._daemon.send(message)
        elif message["type"] == "spawn_failed":
            self._untold[str(message["slot"])] = message

    def _forked(self, run: Run) -> None:
        self._reaper.watch(run)

    def _find_strays(self) -> None:
        self._reaper.find_strays()

    def _kill_rest(self, run: Run) -> None:
        if run.killing is None:
            self._stopper.begin(run, KILL)

    def _follow(self, run: Run) -> bool:
        self._stopper.end(run)  # what is started now is not to be killed with the rest
        return self._companions.follow(run)

    def _run_stop_command(self, run: Run, command: Command, on_end: Callable[[bool], None]) -> None:
        self._companions.start(run, command, "stop", {"MAINPID": str(run.pid)}, on_end)

    def _run_stuck(self, _run: Run) -> None:
        self._shutdown.changed()

    def _leader_over(self, run: Run) -> None:
        self._stdio.end(run)
        self._stopper.look_again(run)

    def _run_changed(self, run: Run) -> None:
        if self._table.in_slot(run.slot) is run:
            self._stopper.look_again(run)
        else:
            self._stopper.end(run)
            self._notifications.close(run)
            self._stdio.end(run)
            self._cgroups.remove(run.group)
            self._shutdown.changed()

    def _daemon_ended(self, how: str) -> None:
        if self._daemon.is_wanted:
            say(f"the daemon ended: {how}")
        self._is_greeted = False
        for run in self._table.present():
            run.request_id = None  # an answer to it would mean nothing to the next one
        self._shutdown.daemon_ended()
        self._announcer.daemon_ended(how)

    def _logger_started(self) -> None:
        self._emit(
            {"type": "role", "role": "logger", "event": "started", "pid": self._logger.pid, "text": ""}
        )
        self._logs.offer(again=True)

    def _logger_ended(self, how: str) -> None:
        self._emit(
            {"type": "role", "role": "logger", "event": "exited", "pid": self._logger.last_pid, "text": how}
        )
        self._shutdown.logger_ended()

    def _on_logger(self, message: Message) -> None:
        if message["type"] == "eof":
            self._logs.finished(message.get("run"), message.get("stream"))
        elif message["type"] == "event":
            self._emit({**message, "type": "logger"})

    def _on_daemon(self, message: Message) -> None:
        self._shutdown.daemon_spoke()
        self._announcer.daemon_spoke()
        request_id = message.get("id")
        kind = str(message["type"])
        verb = self._verbs.get(kind)
        try:
            if verb is None:
                raise Refused("unknown_type", f"there is no message {kind[:80]!r}")
            if not self._is_greeted and verb != self._hello:
                raise Refused("bad_message", f"{kind} came before hello")
            reply = verb(message)
        except BadSignal as error:
            reply = _error("bad_signal", str(error))
        except BadMessage as error:
            reply = _error("bad_message", str(error))
        except Refused as error:
            reply = _error(error.code, str(error))
        if kind == "spawn" and reply is not None:
            reply |= {"request": kind, "run": message.get("run")}  # the service must hear of it
        if reply is not None and request_id is not None:
            self._daemon.send({**reply, "re": request_id})

    def _hello(self, message: Message) -> None:
        if message.get("version") != VERSION:
            raise Refused(
                "bad_message", f"this keeper speaks version {VERSION}, not {message.get('version')!r}"
            )
        if not message.get("again"):
            for run in self._table.present():
                run.successor = None  # a daemon that knows of none would not understand what follows
        self._daemon.mark_good()
        self._is_greeted = True
        self._daemon.send(
            {
                "type": "welcome",
                "re": message.get("id"),
                "version": VERSION,
                "keeper_pid": os.getpid(),
                "logger_pid": self._logger.pid,
                "started_wall": self._started_wall,
                "daemon_starts": self._daemon.starts,
                "shutdown": self._shutdown.is_going,
                "manager": self._announcer.is_heard,
                "stdio": True,
                "again": True,
                "cgroups": {
                    "version": self._cgroups.version,
                    "bases": self._cgroups.bases,
                    "limits": self._cgroups.controllers,
                    "mark": self._cgroups.mark,
                    "key": self._cgroups.key,
                },
            }
        )
        for run in self._table.records():
            self._daemon.send({"type": "run", **run.to_record()})
        for slot, note in self._table.notes():
            self._daemon.send({"type": "slot_note", "slot": slot, "note": note})
        for held in self._sockets.records():
            self._daemon.send(held)
        self._daemon.send({"type": "snapshot_end"})
        for failure in self._untold.values():
            self._daemon.send(failure)
        self._untold.clear()
        if self._is_reload_due:
            self._is_reload_due = False
            self._daemon.send({"type": "reload"})


def _error(code: str, text: str) -> Message:
    return {"type": "error", "code": code, "message": text}
