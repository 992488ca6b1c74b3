"""Starting, stopping and signalling, by process, by group, and all; and writing to one.

Which processes of several are meant is supervisord's rule: whoever is not in a state for it is passed over
in silence, and what could not be done for one of them stands in its result.
"""

import os
import signal as _signal
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import anyio
from anyio import to_thread

from orchestra_supervisor.control import Ask
from orchestra_supervisor.model.caller import Principal
from orchestra_supervisor.model.errors import ConflictError, OrchestraError
from orchestra_supervisor.model.spec import ServiceSpec, TargetSpec
from orchestra_supervisor.surfaces.xmlrpc.deferred import (
    Outcome,
    StartWatch,
    StopWatch,
    Watch,
    result_of,
    settle,
)
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault, fault_of
from orchestra_supervisor.surfaces.xmlrpc.names import Group, Process
from orchestra_supervisor.surfaces.xmlrpc.states import (
    RUNNING_STATES,
    SIGNALLABLE_STATES,
    ProcessState,
    state_of,
)
from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings

__all__ = ["Acting", "check_program", "signal_number"]

Results = list[dict[str, object]]

_HERE = TargetSpec().name
_NOW = Ask(wait=False)
_REFUSALS: dict[object, Fault] = {
    "no_such_run": Fault.NOT_RUNNING,
    "input_full": Fault.FAILED,
    "bad_message": Fault.BAD_ARGUMENTS,
}
"""Why the keeper writes nothing, where it is not that nobody would read it."""
_WAIT: object = True
_DEFAULT_PATH = "/bin:/usr/bin:/usr/local/bin"  # as supervisord has it


class Acting:
    """The methods that act on processes."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._control = around.control
        self._limiter = anyio.CapacityLimiter(4)

    # Starting.

    async def start(self, who: Principal, name: str, wait: object = _WAIT) -> bool | Results:
        """Start a process, or those of a group that do not run."""
        found = self._around.directory.find(name)
        if isinstance(found, Group):
            return await self.start_group(who, found.name, wait)
        watch = await self._begin(who, found, name)
        if wait:
            (outcome,) = await settle(self._control.supervisor.core, [watch])
            if outcome.fault is not None:
                raise outcome.fault
        else:
            watch.look(self._control.supervisor.services.get(found.service))  # what is known already
        return True

    async def start_group(self, who: Principal, name: str, wait: object = _WAIT) -> Results:
        """Start the processes of a group that do not run."""
        return await self._start_all(who, self._around.directory.group(name).processes, wait)

    async def start_all(self, who: Principal, wait: object = _WAIT) -> Results:
        """Start all processes that do not run."""
        return await self._start_all(who, self._around.directory.by_priority(), wait)

    async def _start_all(self, who: Principal, processes: Iterable[Process], wait: object) -> Results:
        outcomes: dict[Process, Outcome] = {}
        watches: list[StartWatch] = []
        for process in self._in_state(processes, lambda state: state not in RUNNING_STATES):
            outcomes[process] = Outcome(process)  # its place, whatever becomes of it
            try:
                watch = await self._begin(who, process, process.namespec)
                if wait:
                    watches.append(watch)
                else:
                    watch.look(self._control.supervisor.services.get(process.service))
            except RpcFault as fault:
                outcomes[process] = Outcome(process, fault)
        return await self._results(outcomes, watches)

    async def _results(self, outcomes: dict[Process, Outcome], watches: Sequence[Watch]) -> Results:
        """Wait for what is watched, and return what became of all.

        As with supervisord, what is done at once comes first, then the others as they are done: the exit
        status of supervisorctl is that of the last one that failed.
        """
        for outcome in await settle(self._control.supervisor.core, watches):
            if not self._is_at_once(outcome.process):
                del outcomes[outcome.process]
            outcomes[outcome.process] = outcome
        return [result_of(outcome) for outcome in outcomes.values()]

    def _is_at_once(self, process: Process) -> bool:
        """Return whether a process counts as started once it is spawned."""
        service = self._control.supervisor.services.get(process.service)
        return service is None or service.spec.start is None or not service.spec.start.after

    async def _begin(self, who: Principal, process: Process, name: str) -> StartWatch:
        service = self._around.service(process)
        # The file first, as supervisord does: one that runs and whose program is gone has NO_FILE.
        await to_thread.run_sync(check_program, service.spec, limiter=self._limiter)
        service = self._around.service(process)
        if state_of(service) in RUNNING_STATES:
            raise RpcFault(Fault.ALREADY_STARTED, name)
        watch = StartWatch(process, name, service.run.id if service.run is not None else None)
        verb = self._control.run if service.spec.schedule is not None else self._control.start
        try:
            await verb(who, [process.service], _NOW)
        except OrchestraError as error:
            raise fault_of(error, name, is_stopping=self._around.is_closing) from error
        return watch

    # Stopping.

    async def stop(self, who: Principal, name: str, wait: object = _WAIT) -> bool | Results:
        """Stop a process, or those of a group that run."""
        found = self._around.directory.find(name)
        if isinstance(found, Group):
            return await self.stop_group(who, found.name, wait)
        watch = await self._end(who, found, name)
        if wait:
            await settle(self._control.supervisor.core, [watch])
        return True

    async def stop_group(self, who: Principal, name: str, wait: object = _WAIT) -> Results:
        """Stop the processes of a group that run."""
        return await self._stop_all(who, self._around.directory.group(name).processes, wait)

    async def stop_all(self, who: Principal, wait: object = _WAIT) -> Results:
        """Stop all processes that run."""
        return await self._stop_all(who, self._around.directory.by_priority(), wait)

    async def _stop_all(self, who: Principal, processes: Iterable[Process], wait: object) -> Results:
        outcomes: dict[Process, Outcome] = {}
        watches: list[StopWatch] = []
        for process in self._in_state(processes, RUNNING_STATES.__contains__):
            outcomes[process] = Outcome(process)
            try:
                watches.append(await self._end(who, process, process.namespec))
            except RpcFault as fault:
                outcomes[process] = Outcome(process, fault)
        return await self._results(outcomes, watches if wait else ())

    async def _end(self, who: Principal, process: Process, name: str) -> StopWatch:
        service = self._around.service(process)
        if state_of(service) not in RUNNING_STATES:
            raise RpcFault(Fault.NOT_RUNNING, name)
        watch = StopWatch(process, service.run.id if service.run is not None else None)
        try:
            await self._control.stop(who, [process.service], _NOW)
        except OrchestraError as error:
            raise fault_of(error, name, is_stopping=self._around.is_closing) from error
        return watch

    # Signals.

    async def signal(self, who: Principal, name: str, signal: str | int) -> bool | Results:
        """Signal a process, or those of a group that can be."""
        found = self._around.directory.find(name)
        if isinstance(found, Group):
            return await self.signal_group(who, found.name, signal)
        await self._signal(who, found, name, signal)
        return True

    async def signal_group(self, who: Principal, name: str, signal: str | int) -> Results:
        """Signal the processes of a group."""
        return await self._signal_all(who, self._around.directory.group(name).processes, signal)

    async def signal_all(self, who: Principal, signal: str | int) -> Results:
        """Signal all processes."""
        return await self._signal_all(who, self._around.directory.by_priority(), signal)

    async def _signal_all(self, who: Principal, processes: Iterable[Process], signal: str | int) -> Results:
        results: Results = []
        for process in self._in_state(processes, SIGNALLABLE_STATES.__contains__):
            try:
                await self._signal(who, process, process.namespec, signal)
            except RpcFault as fault:
                results.append(result_of(Outcome(process, fault)))
            else:
                results.append(result_of(Outcome(process)))
        return results

    async def _signal(self, who: Principal, process: Process, name: str, signal: str | int) -> None:
        number = signal_number(signal)
        service = self._around.service(process)
        if state_of(service) not in SIGNALLABLE_STATES:
            raise RpcFault(Fault.NOT_RUNNING, name)
        if number == 0:
            return  # asks whether it is there
        try:
            await self._control.signal(who, [process.service], _signal.Signals(number).name, "leader")
        except OrchestraError as error:
            raise fault_of(error, name, is_stopping=self._around.is_closing) from error

    # Input.

    async def send_stdin(self, who: Principal, name: str, chars: object) -> bool:
        """Write to the standard input of a process; the text is told nowhere."""
        if not isinstance(chars, str):
            raise RpcFault(Fault.INCORRECT_PARAMETERS, chars)
        process = self._around.directory.process(name)
        service = self._around.service(process)
        run = service.run
        if run is None or run.pid is None or run.leader_ended or state_of(service) is ProcessState.STOPPING:
            raise RpcFault(Fault.NOT_RUNNING, name)
        try:
            await self._control.keeper.input(run.id, chars)
        except ConflictError as error:
            fault = _REFUSALS.get(error.context.get("refusal"), Fault.NO_FILE)
            raise RpcFault(fault, name) from error
        except OrchestraError as error:
            raise fault_of(error, name, is_stopping=self._around.is_closing) from error
        self._control.bus.publish(
            "control.input",
            f"{who.name}: input {process.service}",
            data={"who": who.name, "names": [process.service], "characters": len(chars)},
        )
        return True

    # Parts.

    def _in_state(
        self, processes: Iterable[Process], is_meant: Callable[[ProcessState], bool]
    ) -> list[Process]:
        services = self._control.supervisor.services
        return [
            process
            for process in processes
            if process.service in services and is_meant(state_of(services[process.service]))
        ]


def signal_number(signal: str | int) -> int:
    """Return the number of a signal by its name, with or without SIG, or its number as text.

    Raises:
        RpcFault: BAD_SIGNAL.
    """
    text = str(signal).strip().upper()
    name = text if text.startswith("SIG") else f"SIG{text}"
    if name in _signal.Signals.__members__:
        return int(_signal.Signals[name])
    known = {0, *(int(one) for one in _signal.Signals)}
    if text.lstrip("+").isascii() and text.lstrip("+").isdigit() and len(text) < 5 and int(text) in known:
        return int(text)
    raise RpcFault(Fault.BAD_SIGNAL, signal)


def check_program(spec: ServiceSpec) -> None:
    """Make sure that the program of a service can be executed. Blocks for a moment.

    Raises:
        RpcFault: NO_FILE or NOT_EXECUTABLE, with supervisord's words.
    """
    if spec.target.name != _HERE:
        return
    program = _find(spec)
    try:
        status = program.stat()
    except OSError:
        raise RpcFault(Fault.NO_FILE, f"can't find command {str(program)!r}") from None
    if stat.S_ISDIR(status.st_mode):
        raise RpcFault(Fault.NOT_EXECUTABLE, f"command at {str(program)!r} is a directory")
    if not status.st_mode & 0o111:
        raise RpcFault(Fault.NOT_EXECUTABLE, f"command at {str(program)!r} is not executable")
    if not os.access(program, os.X_OK):
        raise RpcFault(Fault.NOT_EXECUTABLE, f"no permission to run command {str(program)!r}")


def _find(spec: ServiceSpec) -> Path:
    name = spec.argv[0]
    if "/" in name:
        return Path(spec.cwd) / name
    path = spec.env.get("PATH") or os.environ.get("PATH") or _DEFAULT_PATH
    candidates = [Path(folder or ".") / name for folder in path.split(os.pathsep)]
    return next((one for one in candidates if one.exists()), Path(name))
