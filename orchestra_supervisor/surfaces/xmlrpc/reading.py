"""Asking: how processes stand and are configured, what they and the daemon wrote, who the daemon is."""

from pathlib import Path

from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.surfaces.xmlrpc.describe import config_info, process_info
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault
from orchestra_supervisor.surfaces.xmlrpc.log_source import LogSource, named_files, source_of
from orchestra_supervisor.surfaces.xmlrpc.logs import cut_short, empty_log, read_part, tail_part
from orchestra_supervisor.surfaces.xmlrpc.names import Directory, Process, process_of
from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings

__all__ = ["API_VERSION", "SUPERVISOR_VERSION", "Reading"]

API_VERSION = "3.0"
SUPERVISOR_VERSION = "4.3.0"
"""Of the interface that is met; clients look at it."""

_RUNNING = {"statecode": 1, "statename": "RUNNING"}


class Reading:
    """The methods that ask."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    # The daemon.

    async def api_version(self) -> str:
        """Return the version of the interface."""
        return API_VERSION

    async def version(self) -> str:
        """Return the version of supervisord that is met."""
        return SUPERVISOR_VERSION

    async def identification(self) -> str:
        """Return the identifier of the fleet."""
        return self._around.spec.identifier

    async def state(self) -> dict[str, object]:
        """Return the state of the whole: whoever is answered hears that it runs."""
        return dict(_RUNNING)

    async def pid(self) -> int:
        """Return the pid to which signals for the whole are sent: the keeper's."""
        return self._around.keeper_pid

    async def read_log(self, offset: int, length: int) -> str:
        """Return a part of the main log."""
        path = self._around.main_log
        try:
            data = await self._around.logs.of(
                LogSource(str(path)), lambda log: read_part(log, offset, length)
            )
        except OSError as error:
            raise RpcFault(Fault.FAILED) from error
        if data is None:
            raise RpcFault(Fault.NO_FILE, path)
        return _text(data)

    async def clear_log(self) -> bool:
        """Empty the main log, which its writers go on with."""
        try:
            was_there = cut_short(self._around.main_log)
        except OSError as error:
            raise RpcFault(Fault.FAILED) from error
        if not was_there:
            raise RpcFault(Fault.NO_FILE)
        return True

    # Processes.

    async def process_info(self, name: str) -> dict[str, object]:
        """Return how a process stands."""
        return await self._info(self._around.directory.process(name))

    async def all_process_info(self) -> list[dict[str, object]]:
        """Return how all processes stand, by group and name."""
        services = self._around.control.supervisor.services
        history = self._around.history
        history.forget_others(services)
        await history.learn(list(services.values()))
        now = self._around.control.clock.wall()
        return [
            process_info(service, history.past(service), now, self._around.log_path)
            for process in self._around.directory.by_name()
            if (service := services.get(process.service)) is not None
        ]

    async def _info(self, process: Process) -> dict[str, object]:
        service, history = self._around.service(process), self._around.history
        await history.learn([service])
        service = self._around.service(process)
        now = self._around.control.clock.wall()
        return process_info(service, history.past(service), now, self._around.log_path)

    async def all_config_info(self, read: Fleet) -> list[dict[str, object]]:
        """Return how all processes are configured by the files as last read, by the processes' names."""
        groups = Directory(visible(self._around.control.supervisor.fleet.services).values()).groups
        infos = [
            config_info(spec, in_use=process_of(spec).group in groups, log_path=self._around.log_path)
            for spec in visible(read.services).values()
        ]
        return sorted(infos, key=lambda info: str(info["name"]))

    # Their logs.

    async def read_process_log(self, name: str, offset: int, length: int, stream: str) -> str:
        """Return a part of what a process wrote."""
        source = self._source(name, stream)
        if not source.path:
            raise RpcFault(Fault.NO_FILE)
        try:
            data = await self._around.logs.of(source, lambda log: read_part(log, offset, length))
        except OSError as error:
            raise RpcFault(Fault.FAILED) from error
        if data is None:
            raise RpcFault(Fault.NO_FILE, source.path)
        return _text(data)

    async def tail_process_log(self, name: str, offset: int, length: int, stream: str) -> list[object]:
        """Return the end of what a process wrote, the offset after it, and whether some was left out."""
        source = self._source(name, stream)
        if not source.path:
            return ["", 0, False]
        try:
            found = await self._around.logs.of(source, lambda log: tail_part(log, offset, length))
        except OSError:
            return ["", offset, False]
        if found is None:
            return ["", 0, False]
        data, after, is_over = found
        return [_text(data), after, is_over]

    async def clear_process_logs(self, name: str) -> bool:
        """Empty the log of a process."""
        await self._clear(self._around.directory.process(name), name)
        return True

    async def _clear(self, process: Process, name: str) -> None:
        try:
            empty_log(self._around.log_path(process.service))
            for file in named_files(self._around.service(process).spec):
                cut_short(Path(file))
        except OSError as error:
            raise RpcFault(Fault.FAILED, name) from error
        self._around.on_cleared(process.service)
        await self._around.control.supervisor.commit()

    async def clear_all_process_logs(self) -> list[dict[str, object]]:
        """Empty the logs of all processes."""
        results: list[dict[str, object]] = []
        for process in self._around.directory.by_priority():
            told: dict[str, object] = {"name": process.name, "group": process.group}
            try:
                await self._clear(process, process.namespec)
            except RpcFault as fault:
                results.append(told | {"status": int(fault.fault), "description": fault.text})
            else:
                results.append(told | {"status": int(Fault.SUCCESS), "description": "OK"})
        return results

    def _source(self, name: str, stream: str) -> LogSource:
        spec = self._around.service(self._around.directory.process(name)).spec
        return source_of(spec, stream, self._around.log_path)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
