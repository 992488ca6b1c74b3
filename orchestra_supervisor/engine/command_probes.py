"""Carries out checks: addresses here, lines in the log of a run, commands through the keeper.

A probe's command is run by the keeper like everything else, one at a time for each probe.
"""

from functools import partial

import anyio

from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.order_secrets import with_secrets
from orchestra_supervisor.engine.ports import Checker, Clock, KeeperPort, SecretResolver
from orchestra_supervisor.engine.prober import ProbeRunner
from orchestra_supervisor.model.checks import LogCheck
from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.model.spec import Check, CommandCheck, ServiceSpec, StopSpec
from orchestra_supervisor.probes.log_line import LogSearch
from orchestra_supervisor.probes.outcome import ProbeOutcome, judge_exit
from orchestra_supervisor.process.orders import PROBE_SLOT_PREFIX, slot_of
from orchestra_supervisor.rules.inputs import Exited, Gone, Notified, ProbeKind, Spawned, SpawnRefused, Stuck

__all__ = ["CheckCarrier"]

_KILL = StopSpec(steps=())


class _Running:
    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.gone = anyio.Event()
        self.outcome: ProbeOutcome | None = None


class CheckCarrier:
    """Carries out a check of any kind: network checks and logs here, commands through the keeper."""

    def __init__(
        self,
        *,
        keeper: KeeperPort,
        launcher: Launcher,
        clock: Clock,
        network: Checker,
        secrets: SecretResolver,
    ) -> None:
        self._keeper = keeper
        self._launcher = launcher
        self._clock = clock
        self._network = network
        self._secrets = secrets
        self._running: dict[str, _Running] = {}
        self._log_threads = anyio.CapacityLimiter(_LOG_THREADS)

    def prepare(self, spec: ServiceSpec, kind: ProbeKind, run: str, check: Check) -> ProbeRunner:
        """Return what carries out a check for one run; a negative result is a value."""
        match check:
            case CommandCheck():
                return partial(self.command, spec, kind.value, check)
            case LogCheck():
                path = str(self._launcher.log_path(spec.name))
                return LogSearch(check, path, run, self._log_threads).look
            case _:
                return partial(self._network, check)

    async def command(
        self,
        spec: ServiceSpec,
        name: str,
        check: CommandCheck,
        timeout: float,  # noqa: ASYNC109  # part of the probe: a late answer is a failed check, not an error
    ) -> ProbeOutcome:
        """Run a command as a service runs, one of a name at a time; a bad end is a value.

        Args:
            spec: The service.
            name: What it is for; names its slot.
            check: The command.
            timeout: Seconds after which it is killed.
        """
        slot = f"{PROBE_SLOT_PREFIX}{spec.name}:{name}"
        run = f"{slot}-{self._clock.run_digits()}"
        order = self._launcher.probe_order(spec, check, slot, run)
        try:
            order = await with_secrets(order, self._secrets)
        except SecretError as error:
            return ProbeOutcome(passed=False, detail=error.message)
        with anyio.move_on_after(timeout) as waiting:
            await self._wait_for_slot(slot)
        if waiting.cancelled_caught:
            return ProbeOutcome(
                passed=False, detail=f"the last daemon's command is there after {timeout:g} s"
            )
        running = self._running[run] = _Running()
        try:
            self._keeper.spawn(order, None)
            await self._keeper.flush()
            with anyio.move_on_after(timeout):
                await running.ended.wait()
            return running.outcome or ProbeOutcome(passed=False, detail=f"no end within {timeout:g} s")
        finally:
            with anyio.CancelScope(shield=True):
                await self._clear(run, running)

    def expect_end(self, run: str) -> None:
        """Take note of a command that the last daemon left: its slot is not free before it is gone."""
        self._running[run] = _Running()

    async def _wait_for_slot(self, slot: str) -> None:
        for run, other in tuple(self._running.items()):
            if slot_of(run) == slot:
                await other.gone.wait()
                self._running.pop(run, None)

    def abandon(self) -> None:
        """Order the end of all commands and wait for none: nobody will listen for it any more."""
        for run, running in self._running.items():
            if not running.gone.is_set():
                self._keeper.stop(run, _KILL)
                running.gone.set()

    async def _clear(self, run: str, running: _Running) -> None:
        """Leave nothing of the command behind: its slot must be free for the next check."""
        if not running.gone.is_set():
            self._keeper.stop(run, _KILL if running.outcome is None else None)
            await self._keeper.flush()
            with anyio.move_on_after(_CLEAR_LIMIT):
                await running.gone.wait()
        self._running.pop(run, None)

    def deliver(self, run: str, event: Spawned | SpawnRefused | Notified | Exited | Gone | Stuck) -> None:
        """Take the keeper's news about a probe's command."""
        running = self._running.get(run)
        match event:
            case Exited():
                if running is not None and running.outcome is None:
                    running.outcome = judge_exit(event.code, event.signal)
                    running.ended.set()
            case SpawnRefused():
                if running is not None:
                    detail = f"could not run: {event.message} ({event.stage})"
                    running.outcome = ProbeOutcome(passed=False, detail=detail)
                    running.ended.set()
                    running.gone.set()
            case Gone():
                self._keeper.ack(run)
                if running is not None:
                    running.ended.set()
                    running.gone.set()
            case Spawned() | Notified() | Stuck():
                pass


_LOG_THREADS = 4
"""Logs that are searched at the same time; the others wait for their turn."""

_CLEAR_LIMIT = 10.0
"""Seconds to wait for a killed probe command; one that cannot be killed keeps its slot, and the
keeper refuses the next check with a reason."""
