"""Going over to another configuration: one change at a time, all or nothing, said as it will be done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio

from orchestra_supervisor.config.load import LoadResult
from orchestra_supervisor.config.plan import PlanReport, report_plan
from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.errors import ConflictError, OrchestraError
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import Fleet, FleetSettings
from orchestra_supervisor.model.states import DownReason
from orchestra_supervisor.rules.diff import settings_after_reload
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.reload import Action, ReloadPlan
from orchestra_supervisor.rules.replicas import check_scaled, rescaled

__all__ = ["Files", "Inputs", "Reloader", "inputs_of"]


@dataclass(frozen=True, slots=True)
class Files:
    """What a reload needs of the disk.

    Attributes:
        load: Reads the fleet from files (none named: those of the fleet), with the numbers of replicas that
            hold until the files say others; raises ConfigError for a cycle.
        apply: Makes a fleet the applied one, what the next daemon goes on with; raises ConflictError.
        tell: Tells readers of the state directory where things are; raises ConflictError.
        down: Returns the services that a fresh start of a fleet would leave down, and why.
        launcher: Knows where logs go, and what becomes of them.
        on_applied: Called once a fleet is applied, for what looks at its settings.
        go_over: Goes over to what the settings say of plugins; it takes its time.
        equip: Adds to a fleet what its services need of ours.
    """

    load: Callable[[tuple[Path, ...], Mapping[str, GroupSpec]], Awaitable[LoadResult]]
    apply: Callable[[Fleet], None]
    tell: Callable[[Fleet], None]
    down: Callable[[Fleet], Mapping[str, DownReason]]
    launcher: Launcher
    on_applied: Callable[[], None]
    go_over: Callable[[FleetSettings], Awaitable[None]]
    equip: Callable[[Fleet], Fleet] = lambda fleet: fleet


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a fleet is read from: absolute paths, and absolute globs of files that may come."""

    files: tuple[str, ...]
    globs: tuple[str, ...] = ()


def inputs_of(result: LoadResult, before: Inputs) -> Inputs:
    """Return what a fleet was read from; a file that is wrong may not have said all, so then more."""
    secrets = result.fleet.settings.secrets_file
    files = {str(file) for file in (*result.sources.files, *result.sources.read)}
    files |= {secrets} if secrets else set()
    globs = set(result.sources.globs)
    if result.errors:
        files |= set(before.files)
        globs |= set(before.globs)
    return Inputs(tuple(sorted(files)), tuple(sorted(globs)))


class Reloader:
    """Plans and carries out reloads, and changes of how many replicas there are.

    Two of them never overlap: the later one reads the files after the earlier one is through, so what is
    applied last was read last. A bad file, a full disk or a fleet that goes down changes nothing. Once the
    fleet is applied the rest follows without a pause, and a daemon that dies in it is followed by one that
    sees which runs are of the past.
    """

    def __init__(
        self, *, supervisor: Supervisor, verbs: Verbs, keeper: KeeperPort, bus: EventBus, files: Files
    ) -> None:
        self._supervisor = supervisor
        self._verbs = verbs
        self._keeper = keeper
        self._bus = bus
        self._files = files
        self._lock = anyio.Lock()
        self._applied = anyio.Event()
        self._inputs: Inputs | None = None
        self.reloads = 0
        """How often all that the files said was gone over to."""

    async def plan(self, paths: tuple[Path, ...] = ()) -> PlanReport:
        """Return what a reload would do now, without doing it.

        Args:
            paths: Absolute; none: the files of the fleet.

        Raises:
            ConfigError: A file is wrong.
        """
        result = await self._load(paths)
        fleet = self._verbs.stage(result.fleet)
        return report_plan(self._verbs.plan(fleet, self._files.down(fleet)), result.sources)

    async def reload(self, by: str, allow: Callable[[ReloadPlan], None] = lambda _: None) -> PlanReport:
        """Read the files and go over to what they say; wait until what is no more is down.

        Args:
            by: Who or what asked, for the journal.
            allow: Looks at what would be done, just before it is; if it raises an error of ours, nothing is.

        Raises:
            ConfigError: A file is wrong.
            ConflictError: The fleet goes down, or its state cannot be written.
        """
        with self._supervisor.standing.reloading():
            async with self._lock:
                report = await self._go_over(by, allow)
            await self._files.go_over(self._supervisor.fleet.settings)
            await self._verbs.forget_removed(report.names(Action.REMOVE))
        return report

    async def rescale(self, counts: Mapping[str, int]) -> ReloadPlan:
        """Go over to other numbers of replicas, and to nothing else that the files may say by now.

        Raises:
            ConfigError: A file is wrong.
            ConflictError: The files say something else, too; a rolling update goes on; the fleet goes down,
                or its state cannot be written.
        """
        async with self._lock:
            old = self._supervisor.fleet
            result = await self._files.load((), rescaled(old, counts))
            result.raise_for_errors()
            if old is not self._supervisor.fleet or old.coming:
                hint = "wait for the rolling update to end: orchestra events --kind roll"
                raise ConflictError("the fleet is being changed otherwise", hint=hint)
            check_scaled(old, result.fleet, counts)
            new = self._verbs.stage(result.fleet.model_copy(update={"settings": old.settings}))
            plan = await self._take(new, self._files.down(new))
            self._files.tell(new)
            return plan

    async def read(self) -> Fleet:
        """Return the fleet as its files have it now, without going over to it.

        Raises:
            ConfigError: A file is wrong.
        """
        return (await self._load(())).fleet

    async def change(self, make: Callable[[Fleet], Fleet]) -> ReloadPlan:
        """Go over to a fleet that is made of the one that runs; wait until what is no more is down.

        Args:
            make: Makes it; may raise, and then nothing changes.

        Raises:
            ConflictError: A rolling update goes on, the fleet goes down, or its state cannot be written.
        """
        async with self._lock:
            old = self._supervisor.fleet
            if old.coming:
                hint = "wait for the rolling update to end: orchestra events --kind roll"
                raise ConflictError("the fleet is being changed otherwise", hint=hint)
            new = self._verbs.stage(self._files.equip(make(old)))
            plan = await self._take(new, self._files.down(new))
            self._files.tell(new)
        await self._verbs.forget_removed(plan.names(Action.REMOVE))
        return plan

    @property
    def applied(self) -> anyio.Event:
        """Set when the next fleet is applied."""
        return self._applied

    @property
    def inputs(self) -> Inputs:
        """What the fleet was read from when it was last read; of wrong files also what was read before."""
        return self._inputs or Inputs(self._supervisor.fleet.files)

    async def _load(self, paths: tuple[Path, ...]) -> LoadResult:
        while True:
            groups = self._supervisor.fleet.groups
            result = await self._files.load(paths, groups)
            if self._supervisor.fleet.groups == groups:
                break  # else it was read with numbers of replicas that hold no more
        if not paths:
            self._inputs = inputs_of(result, self.inputs)
        result.raise_for_errors()
        return result

    async def _go_over(self, by: str, allow: Callable[[ReloadPlan], None]) -> PlanReport:
        try:
            result = await self._load(())
            # From here on there is no await until all is decided.
            old, new = self._supervisor.fleet, self._verbs.stage(result.fleet)
            down = self._files.down(new)
            plan = self._verbs.plan(new, down)
            allow(plan)
        except OrchestraError as error:
            data = {**error.to_dict(), "by": by}
            self._bus.publish("config.refused", f"nothing changed: {error.message}", data=data)
            raise
        report = report_plan(plan, result.sources)
        settings = settings_after_reload(old.settings, new.settings)
        held = new.model_copy(update={"settings": settings})
        await self._take(held, down)
        self.reloads += 1
        self._bus.publish("config.reloaded", report.summary, data=_told(report, by))
        self._files.tell(held)
        return report

    async def _take(self, fleet: Fleet, down: Mapping[str, DownReason]) -> ReloadPlan:
        """Apply a fleet, as it was staged in this same moment, and go over to it."""
        old = self._supervisor.fleet
        self._verbs.check_open()
        self._files.apply(self._supervisor.roller.written(fleet))
        plan = self._verbs.reload(fleet, down)
        self._tell_changed(plan)
        self._configure(old, fleet)
        await self._supervisor.commit()
        applied, self._applied = self._applied, anyio.Event()
        applied.set()
        return plan

    def _tell_changed(self, plan: ReloadPlan) -> None:
        """Say who of the files' services comes and who goes, before anything follows of it."""
        added, removed = (
            visible(dict.fromkeys(plan.names(action))) for action in (Action.ADD, Action.REMOVE)
        )
        if added or removed:
            words = f"{len(added)} services come, {len(removed)} go"
            data: dict[str, object] = {"added": list(added), "removed": list(removed)}
            self._bus.publish("fleet.changed", words, data=data)

    def _configure(self, old: Fleet, new: Fleet) -> None:
        """Let the logger and the keeper have what changes for runs that go on."""
        launcher = self._files.launcher
        launcher.settle(new.settings)
        is_other = any(
            getattr(old.settings, key) != getattr(new.settings, key) for key in ("log_keep_bytes", "console")
        )
        self._files.on_applied()
        for name, spec in new.services.items():
            before, service = old.services.get(name), self._supervisor.services.get(name)
            if before is None:
                continue
            if is_other or before.log != spec.log:
                self._keeper.log_config(launcher.log_target(spec))
            if before.limits != spec.limits and service is not None and service.run is not None:
                self._keeper.limits(service.run.id, spec.limits)


def _told(report: PlanReport, by: str) -> dict[str, object]:
    """Return what the journal keeps of a reload: who asked, and the keys that changed, never a value."""
    changes = {
        note.name: {"action": note.action, "fields": [field.field for field in note.fields]}
        for note in report.services
    }
    settings = [field.field for field in report.settings]
    return {"by": by, "changes": changes, "settings": settings, "unchanged": report.unchanged}
