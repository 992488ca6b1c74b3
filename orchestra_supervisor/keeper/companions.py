"""Commands beside a run: what stops it, and what follows its end.

They run as the run did (user, limits, directory, output, control group) and belong to it: what they leave
behind is stopped with it, and it is not gone before they are. So nobody has to remember them but the keeper,
whatever becomes of the daemon.
"""

import os
from collections.abc import Callable
from dataclasses import replace

from orchestra_supervisor.keeper.handover import Handed
from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.loop import Loop, say
from orchestra_supervisor.keeper.request import Command, Plan
from orchestra_supervisor.keeper.runs import Run
from orchestra_supervisor.keeper.spawn import Surroundings, read_failure, spawn_run
from orchestra_supervisor.wire.frames import Message

__all__ = ["KILL", "Companions"]

KILL = Plan((), leader_only=False)
"""Ends all of a run at once."""


class Companions:
    """Starts commands beside runs.

    Args:
        loop: The keeper's loop.
        around: What children get of the surroundings.
        adopt: Takes up a new child of ours as one of a run: (pid, run, called with its status at its end).
        take_output: Takes the streams of a command: (run, name of the command, streams).
        stop: Stops all of a run by a plan.
        emit: Sends an event to the daemon.
    """

    def __init__(
        self,
        loop: Loop,
        around: Surroundings,
        *,
        adopt: Callable[[int, Run, Callable[[int], None]], None],
        take_output: Callable[[Run, str, dict[str, int]], None],
        stop: Callable[[Run, Plan], None],
        emit: Callable[[Message], None],
    ) -> None:
        self._loop = loop
        self._around = around
        self._adopt = adopt
        self._take_output = take_output
        self._stop = stop
        self._emit = emit

    def start(
        self, run: Run, command: Command, name: str, facts: dict[str, str], on_end: Callable[[bool], None]
    ) -> None:
        """Run a command beside a run that is not gone.

        Args:
            run: The run; it must have kept its request.
            command: What to run. The caller bounds it.
            name: What it is for, `stop` or `post_stop`.
            facts: Added to its environment.
            on_end: Called once it has ended, or could not be started: True when it exited with 0.
        """
        assert run.request is not None, "the request was not kept"
        env = {**run.request.env, **{key.encode(): value.encode() for key, value in facts.items()}}
        request = replace(
            run.request,
            argv=command.argv,
            env=env,
            before=(),
            after=(),
            sockets=(),
            notify=False,
            watchdog=None,
            stdio=False,
            stdin=False,
            channel=False,
            direct=False,
        )
        try:
            spawned = spawn_run(request, self._around, Handed(run.tag, run.group))
        except SpawnFailure as failure:
            self._tell(run, name, f"{failure.stage}: {failure}")
            self._loop.call_later(0.0, lambda: on_end(False))  # noqa: FBT003  # the one thing that it says
            return
        self._take_output(run, name, spawned.streams)
        report = spawned.status_fd
        assert report is not None, "it was not started directly"

        def ended(status: int) -> None:
            failure = read_failure(report)
            os.close(report)
            if failure is not None:
                self._tell(run, name, f"{failure[0]}: {os.strerror(failure[1])}")
            elif status:
                code = os.waitstatus_to_exitcode(status)
                self._tell(run, name, f"exit code {code}" if code >= 0 else f"killed by signal {-code}")
            on_end(not status and failure is None)

        self._adopt(spawned.pid, run, ended)

    def follow(self, run: Run) -> bool:
        """Start the next command that follows a run's end. Returns False when there is none."""
        if not run.epilogue:
            return False
        command = run.epilogue.pop(0)
        run.is_over = True
        facts = {
            "ORCHESTRA_EXIT_CODE": str(
                run.exit_facts.get("code") if run.exit_facts.get("code") is not None else ""
            ),
            "ORCHESTRA_EXIT_SIGNAL": str(run.exit_facts.get("signal") or ""),
        }

        def late() -> None:
            self._tell(run, "post_stop", f"took longer than {command.timeout:g} s and was killed")
            self._stop(run, KILL)

        timer = self._loop.call_later(command.timeout, late)

        def ended(_is_ok: bool) -> None:  # noqa: FBT001  # `start` calls it
            timer.cancel()

        self.start(run, command, "post_stop", facts, ended)
        return True

    def _tell(self, run: Run, name: str, text: str) -> None:
        say(f"{run.slot}: {name} command: {text}")
        self._emit(
            {"type": "command_failed", "run": run.run, "slot": run.slot, "command": name, "text": text}
        )
