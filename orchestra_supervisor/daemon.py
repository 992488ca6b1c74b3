"""The process that decides: takes over from the last daemon, runs the fleet, answers the control API.

Started by the keeper alone. It may be killed at any instant: what it knows is with the keeper (notes and
runs), in `fleet.json` (the fleet as applied) and in the journal.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from orchestra_supervisor.later import put_off, stand_in

if __name__ == "__main__":
    # 2 MB that hardly any fleet has a use for: words that resemble each other, packed logs, and what pydantic
    # loads to look for plugins of its own among all packages, which it does not have here.
    put_off("difflib", "gzip", "tempfile")
    stand_in("pydantic.plugin._loader", get_plugins=tuple)

import anyio
import anyio.abc
from anyio import to_thread

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.agent_room import AgentRoom
from orchestra_supervisor.config.credentials import credentials_for
from orchestra_supervisor.config.load import LoadResult, load_fleet
from orchestra_supervisor.control import Control
from orchestra_supervisor.engine.asked_checks import AskedChecks
from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.description import describe
from orchestra_supervisor.engine.gateway import GatewayDesk, gateway_pid
from orchestra_supervisor.engine.guard import MemoryGuard
from orchestra_supervisor.engine.home import StateDirectory
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.leftovers import clear_leftovers
from orchestra_supervisor.engine.listeners import ListenerDesk
from orchestra_supervisor.engine.meter import Meter, Scene, scene_of
from orchestra_supervisor.engine.options import USAGE, Options, parse_options
from orchestra_supervisor.engine.outside import Outside
from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.engine.plugins import PluginDesk
from orchestra_supervisor.engine.reload import Files, Reloader
from orchestra_supervisor.engine.rotation import Rotation
from orchestra_supervisor.engine.run_rows import note_run
from orchestra_supervisor.engine.secret_ledger import SecretLedger
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.engine.watch_desk import WatchDesk
from orchestra_supervisor.journal.journal import Journal
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.journal.records import AnyJournal
from orchestra_supervisor.model.errors import ConfigError, JournalError, KeeperLost, OrchestraError
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.model.states import DownReason
from orchestra_supervisor.process.clock import SystemClock
from orchestra_supervisor.process.figures import ProcessSampler
from orchestra_supervisor.process.heap import tighten_heap
from orchestra_supervisor.process.keeper_client import KeeperClient
from orchestra_supervisor.process.local_files import LocalFiles
from orchestra_supervisor.process.orders import Snapshot
from orchestra_supervisor.rules.exit_policy import FleetExit
from orchestra_supervisor.rules.graph import find_cycle
from orchestra_supervisor.rules.left_down import left_down
from orchestra_supervisor.rules.reload import Action, ReloadPlan
from orchestra_supervisor.surfaces.agent_api import agent_routes
from orchestra_supervisor.surfaces.http_api import ApiContext, make_app
from orchestra_supervisor.surfaces.journald_feed import feed_journald
from orchestra_supervisor.surfaces.listeners_api import listener_routes
from orchestra_supervisor.surfaces.mcp_api import mcp_routes
from orchestra_supervisor.surfaces.serve import serve_unix
from orchestra_supervisor.surfaces.talk import log_to_stderr, say
from orchestra_supervisor.surfaces.unix_socket import place_socket
from orchestra_supervisor.surfaces.web import Application, Asgi
from orchestra_supervisor.surfaces.xmlrpc.serving import serve_supervisord

__all__ = ["Daemon", "main"]

_WRITING = 0.5  # seconds


class Daemon:
    """One daemon, from its greeting of the keeper to its end."""

    def __init__(
        self, options: Options, keeper: KeeperClient, snapshot: Snapshot, journal: AnyJournal
    ) -> None:
        self._options = options
        self._home = StateDirectory(options.home)
        self._socket = self._home.control_socket
        self._keeper = keeper
        self._snapshot = snapshot
        self._journal = journal
        self._clock = SystemClock()
        self._bus = EventBus(journal, self._clock)
        self._started = self._clock.wall()
        self._plugins = PluginDesk(self._bus)
        self._gateway = GatewayDesk(self._home.path, place_socket, os.environ)
        self._listeners = ListenerDesk(self._home.path)
        self._limiter = anyio.CapacityLimiter(2)
        self._local = LocalFiles(os.environ)
        self._reload_asked = anyio.Event()
        self._tasks: anyio.abc.TaskGroup

    @property
    def _is_fresh(self) -> bool:
        """True when this keeper holds nothing yet: the fleet starts, it is not taken over."""
        return not self._snapshot.notes and not self._snapshot.runs

    async def run(self) -> None:
        """Run the fleet until it is down or the keeper replaces this daemon."""
        fleet = await self._first_fleet()
        if self._is_fresh:
            may_stop = fleet.settings.leftovers == "stop"
            await clear_leftovers(
                self._home, self._snapshot, self._journal, self._bus, may_stop=may_stop, say=say
            )
        self._apply(fleet)
        log_directory = self._home.log_directory(fleet)
        home, console = self._home.path, self._options.console
        launcher = Launcher(
            home=home, log_directory=log_directory, environ=os.environ, console=console, local=self._local
        )
        launcher.settle(fleet.settings)
        ledger = SecretLedger(self._keeper, self._snapshot.notes)
        outside = Outside(
            keeper=self._keeper,
            clock=self._clock,
            bus=self._bus,
            launcher=launcher,
            network=self._plugins.checks.run,
            secrets=self._plugins.secrets.resolve,
            targets=self._plugins.targets.prepare,
            on_reload=self._ask_reload,
            on_run=partial(note_run, self._journal, self._clock),
            keep=self._apply,
            on_plan=self._journal.set_plan,
            take_down=ledger.begin,
            on_exit=self._note_exit,
            written=self._written,
        )
        if not self._is_fresh:  # the last daemon may have ended between applying a fleet and saying this
            for spec in fleet.services.values():
                self._keeper.log_config(launcher.log_target(spec))
        supervisor = Supervisor(fleet, outside)
        verbs = Verbs(supervisor)
        meter = self._meter(supervisor)
        rotation = Rotation(supervisor, verbs, self._keeper, ledger, self._plugins.secrets, self._bus)
        self._plugins.on_changed = rotation.tell
        go_over = self._plugins.apply
        files = Files(
            self._read,
            self._apply,
            self._tell,
            self._down,
            launcher,
            meter.wake,
            go_over,
            self._listeners.equip,
        )
        reloader = Reloader(
            supervisor=supervisor, verbs=verbs, keeper=self._keeper, bus=self._bus, files=files
        )
        watch = WatchDesk(
            supervisor=supervisor,
            verbs=verbs,
            reloader=reloader,
            keeper=self._keeper,
            bus=self._bus,
            clock=self._clock,
            private=(str(self._home.path), str(log_directory)),
            seen=rotation.look,
        )
        control = Control(
            supervisor=supervisor,
            verbs=verbs,
            keeper=self._keeper,
            journal=self._journal,
            bus=self._bus,
            clock=self._clock,
            load=reloader.reload,
            look=reloader.plan,
            rescale=partial(self._rescale, reloader, verbs),
            watching=watch.report,
            meter=meter,
        )
        app = self._app(control, reloader, launcher, log_directory)
        text = "started" if self._is_fresh else "took over"
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            await tasks.start(self._plugins.run, fleet.settings)
            data: dict[str, object] = {"pid": os.getpid(), "fresh": self._is_fresh}
            self._bus.publish("daemon.started", f"daemon {os.getpid()} {text}", data=data)
            socket = await tasks.start(self._serve, app, fleet)
            self._socket = socket
            self._tell(fleet)
            clients = partial(serve_supervisord, home=self._home.path, is_fresh=self._is_fresh)
            await tasks.start(clients, control, reloader, launcher, self._snapshot.keeper_pid, say)
            tasks.start_soon(self._reload_on_signal, reloader)
            tasks.start_soon(watch.run)
            tasks.start_soon(rotation.run)
            tasks.start_soon(meter.run)
            tasks.start_soon(self._gateway.run, supervisor, self._apply, self._bus, self._clock)
            tasks.start_soon(self._guard(supervisor).run)
            tasks.start_soon(self._feed_journald, supervisor)
            last = await supervisor.run(self._snapshot, down=self._down(fleet), reached=self._journal.plans())
            if supervisor.failure:
                say(f"error: {supervisor.failure}")
            if last is Phase.REPLACED:
                self._bus.publish("daemon.replaced", "the next daemon takes over")
            await self._plugins.end()
            tasks.cancel_scope.cancel()

    def _app(
        self, control: Control, reloader: Reloader, launcher: Launcher, log_directory: Path
    ) -> Application:
        supervisor = control.supervisor
        checks = AskedChecks(supervisor, self._plugins.checks.run, launcher.log_path, self._clock)
        room = AgentRoom(control, checks, reloader.reload, self._snapshot.keeper_pid)
        beside = listener_routes(control, launcher.log_path, self._snapshot.started_wall, agent_routes(room))
        more = mcp_routes(control, self._plugins.secrets.resolve, beside=beside)
        about = partial(describe, supervisor, self._snapshot, self._home.path, log_directory, self._started)
        reports = self._plugins.host.reports
        return make_app(ApiContext(control, VERSION, about, launcher.log_path, reports, more))

    async def _serve(self, app: Asgi, fleet: Fleet, *, task_status: anyio.abc.TaskStatus[Path]) -> None:
        group = fleet.settings.control_group
        mode = 0o660 if group else 0o600
        await serve_unix(app, self._socket, mode=mode, group=group, task_status=task_status)

    async def _feed_journald(self, supervisor: Supervisor) -> None:
        def is_wanted() -> bool:
            return supervisor.fleet.settings.journald

        await feed_journald(self._bus, is_wanted=is_wanted, home=str(self._home.path), say=say)

    # What the fleet is.

    async def _first_fleet(self) -> Fleet:
        """Return the fleet to run: as last applied when taken over, else as the files say now."""
        if self._is_fresh:
            return await self._load()
        applied = self._home.applied_fleet()
        if applied is not None:
            await self._local.look(applied.services.values())
            return self._listeners.adopt(self._gateway.adopt(applied))
        # Better the files as they are now than services that nobody supervises.
        fleet = await self._load()
        text = "the fleet as it was applied cannot be read; going on with the configuration files"
        self._bus.publish("config.reloaded", text)
        say(text)
        return fleet

    async def _load(self) -> Fleet:
        result = await self._read((), {})
        result.raise_for_errors()
        return result.fleet

    async def _read(self, files: tuple[Path, ...], live: Mapping[str, GroupSpec]) -> LoadResult:
        """Read the fleet from these files, or from its own where none are named."""
        source, named = self._plugins.host.loader, files or self._options.files
        load = partial(load_fleet, named, environ=os.environ, plugins=source, live=live)
        result = await to_thread.run_sync(load, limiter=self._limiter)
        cycle = find_cycle({name: tuple(spec.depends_on) for name, spec in result.fleet.services.items()})
        if cycle and not result.errors:  # errors have a place and are told first
            raise ConfigError(f"dependencies form a cycle: {' -> '.join(cycle)}", cycle=cycle)
        fleet = self._listeners.equip(self._gateway.equip(result.fleet))
        await self._local.look(fleet.services.values())
        return replace(result, fleet=fleet)

    def _apply(self, fleet: Fleet) -> None:
        """Make the fleet the applied one: what the next daemon goes on with."""
        self._home.apply(fleet)
        self._journal.keep(fleet.settings.journal_keep)
        credentials = credentials_for(fleet.settings, os.environ)
        self._plugins.secrets.use_file(fleet.settings.secrets_file, credentials)

    def _down(self, fleet: Fleet) -> dict[str, DownReason]:
        """Return the services that a fresh start leaves down."""
        held = self._journal.holds() if fleet.settings.remember_stops else ()
        return left_down(fleet, self._options.only, held)

    async def _rescale(self, reloader: Reloader, verbs: Verbs, counts: Mapping[str, int]) -> ReloadPlan:
        done = await reloader.rescale(counts)
        self._tasks.start_soon(verbs.forget_removed, done.names(Action.REMOVE))
        return done

    def _tell(self, fleet: Fleet) -> None:
        """Tell readers of the state directory where things are."""
        self._home.write_layout(fleet, self._socket)

    def _ask_reload(self) -> None:
        self._reload_asked.set()

    async def _reload_on_signal(self, reloader: Reloader) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked = anyio.Event()
            try:
                await reloader.reload("SIGHUP")
            except OrchestraError as error:
                say(f"reload refused: {error.message}")

    # Telling.

    def _guard(self, supervisor: Supervisor) -> MemoryGuard:
        sampler = ProcessSampler(self._snapshot.keeper_pid)
        return MemoryGuard(supervisor.core, sampler, self._clock, lambda: supervisor.limits_held)

    def _meter(self, supervisor: Supervisor) -> Meter:
        def scene() -> Scene:
            roles = {"daemon": os.getpid(), "keeper": self._snapshot.keeper_pid}
            roles |= {"logger": supervisor.logger_pid, "gateway": gateway_pid(supervisor.services)}
            return scene_of(supervisor.services, roles)

        return Meter(
            sampler=ProcessSampler(self._snapshot.keeper_pid),
            scene=scene,
            period=lambda: supervisor.fleet.settings.figures_period,
            clock=self._clock,
            journal=self._journal,
        )

    async def _written(self) -> None:
        """Wait until the journal has what is told of a fleet that is taken over, but not for a bad disk."""
        if not self._is_fresh:
            with anyio.move_on_after(_WRITING), suppress(JournalError):
                await self._journal.written()

    def _note_exit(self, found: FleetExit) -> None:
        """Leave word for whoever waits for the keeper's end that its exit status is a service's."""
        self._home.write_exit(self._snapshot.keeper_pid, found.status, found.why)


async def _run(options: Options) -> int:
    keeper = await KeeperClient.from_fd(int(os.environ["ORCHESTRA_KEEPER_FD"]))
    snapshot = await keeper.hello()
    is_fresh = not snapshot.runs and not snapshot.notes
    try:
        return await _run_with_journal(options, keeper, snapshot)
    except* OrchestraError as group:
        error = _first(group)
        if is_fresh and not isinstance(error, KeeperLost):
            # A fleet that cannot start is not tried again: the keeper ends with the error's status.
            keeper.quit(error.kind.exit)
            await keeper.flush()
        raise error from None
    raise AssertionError


async def _run_with_journal(options: Options, keeper: KeeperClient, snapshot: Snapshot) -> int:
    now = SystemClock().wall()
    try:
        async with Journal.open(StateDirectory(options.home).journal, now_wall=now) as journal:
            await Daemon(options, keeper, snapshot, journal).run()
    except JournalError as error:
        if not snapshot.runs and not snapshot.notes:
            raise
        # The fleet runs; without a journal it is still supervised, and says so.
        say(f"going on without a journal: {error.message}")
        await Daemon(options, keeper, snapshot, MemoryJournal()).run()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; returns its exit status."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    if options is None:
        say(f"error: started by the keeper alone, as `{USAGE}`")
        return 2
    log_to_stderr()
    tighten_heap()
    try:
        return anyio.run(_run, options)
    except OrchestraError as error:
        say(f"error: {error.message}")
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr, flush=True)  # noqa: T201
        return error.kind.exit


def _first(group: BaseExceptionGroup[OrchestraError]) -> OrchestraError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    sys.exit(main())
