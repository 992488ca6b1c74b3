"""From a call to what it does: names, parameters and the closed door, then one line a method."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from orchestra_supervisor.model.caller import Principal
from orchestra_supervisor.surfaces.xmlrpc.acting import Acting
from orchestra_supervisor.surfaces.xmlrpc.catalog import METHODS, Method
from orchestra_supervisor.surfaces.xmlrpc.changing import Changing, Task
from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault
from orchestra_supervisor.surfaces.xmlrpc.reading import Reading
from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings
from orchestra_supervisor.surfaces.xmlrpc.wire import encode_value

__all__ = ["ANSWER_LIMIT", "CALLS_LIMIT", "Methods"]

CALLS_LIMIT = 1_000
"""Calls of one multicall."""
ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes that the answers of one multicall may have together."""
_DIGITS = 18

Verb = Callable[..., Awaitable[object]]
Bound = Callable[[], Awaitable[object]]


class Methods:
    """All methods of one fleet.

    Args:
        around: The fleet.
        start: Runs a task that outlives the call.
    """

    def __init__(self, around: Surroundings, start: Callable[[Task], object]) -> None:
        self._around = around
        self._acting, self._reading = Acting(around), Reading(around)
        self._changing = Changing(around, start)
        self._asked = self._asking() | self._logs()
        self._acted = self._acts()

    def _asking(self) -> dict[str, Verb]:
        reading, changing = self._reading, self._changing
        return {
            "getAPIVersion": reading.api_version,
            "getVersion": reading.api_version,
            "getSupervisorVersion": reading.version,
            "getIdentification": reading.identification,
            "getState": reading.state,
            "getPID": reading.pid,
            "reloadConfig": changing.reload_config,
            "getAllConfigInfo": lambda: reading.all_config_info(changing.read),
            "getProcessInfo": reading.process_info,
            "getAllProcessInfo": reading.all_process_info,
            "sendRemoteCommEvent": changing.send_remote_event,
        }

    def _logs(self) -> dict[str, Verb]:
        reading = self._reading

        read, tail = reading.read_process_log, reading.tail_process_log
        return {
            "readLog": reading.read_log,
            "readMainLog": reading.read_log,
            "clearLog": reading.clear_log,
            "readProcessStdoutLog": partial(read, stream="stdout"),
            "readProcessLog": partial(read, stream="stdout"),
            "readProcessStderrLog": partial(read, stream="stderr"),
            "tailProcessStdoutLog": partial(tail, stream="stdout"),
            "tailProcessLog": partial(tail, stream="stdout"),
            "tailProcessStderrLog": partial(tail, stream="stderr"),
            "clearProcessLogs": reading.clear_process_logs,
            "clearProcessLog": reading.clear_process_logs,
            "clearAllProcessLogs": reading.clear_all_process_logs,
        }

    def _acts(self) -> dict[str, Verb]:
        acting, changing = self._acting, self._changing
        return {
            "shutdown": changing.shutdown,
            "restart": changing.restart,
            "addProcessGroup": changing.add_group,
            "removeProcessGroup": changing.remove_group,
            "startProcess": acting.start,
            "startProcessGroup": acting.start_group,
            "startAllProcesses": acting.start_all,
            "stopProcess": acting.stop,
            "stopProcessGroup": acting.stop_group,
            "stopAllProcesses": acting.stop_all,
            "signalProcess": acting.signal,
            "signalProcessGroup": acting.signal_group,
            "signalAllProcesses": acting.signal_all,
            "sendProcessStdin": acting.send_stdin,
        }

    async def call(self, who: Principal, name: str, params: tuple[object, ...]) -> object:
        """Make one call and return its value.

        Raises:
            RpcFault: The answer is a fault.
        """
        method = METHODS.get(name)
        if method is None:
            raise RpcFault(Fault.UNKNOWN_METHOD)
        given = _checked(method, params)
        namespace, _, verb = name.partition(".")
        if namespace == "system":
            return await self._system(who, verb, given)
        if verb != "sendRemoteCommEvent":
            self._around.check_open()
        if verb in self._acted:
            return await self._acted[verb](who, *given)
        return await self._asked[verb](*given)

    async def _system(self, who: Principal, verb: str, given: list[object]) -> object:
        if verb == "listMethods":
            return sorted(METHODS)
        if verb == "multicall":
            return await self._multicall(who, cast("list[object]", given[0]))
        method = METHODS.get(str(given[0]))
        if method is None:
            raise RpcFault(Fault.SIGNATURE_UNSUPPORTED)
        return method.help if verb == "methodHelp" else method.signature

    async def _multicall(self, who: Principal, calls: list[object]) -> list[object]:
        if len(calls) > CALLS_LIMIT:
            raise RpcFault(Fault.INCORRECT_PARAMETERS, f"more than {CALLS_LIMIT} calls")
        results: list[object] = []
        size = 0
        for call in calls:
            try:
                if size > ANSWER_LIMIT:
                    raise RpcFault(Fault.FAILED, f"the answers before are more than {ANSWER_LIMIT} bytes")
                value = await self._one_of_several(who, call)
                size += len(encode_value(value))
            except RpcFault as fault:
                value = {"faultCode": int(fault.fault), "faultString": fault.text}
            results.append(value)
        return results

    async def _one_of_several(self, who: Principal, call: object) -> object:
        if not isinstance(call, dict):
            raise RpcFault(Fault.INCORRECT_PARAMETERS)
        said = cast("dict[str, object]", call)
        name, params = said.get("methodName"), said.get("params", [])
        if name is None:
            raise RpcFault(Fault.INCORRECT_PARAMETERS, "No methodName")
        if name == "system.multicall":
            raise RpcFault(Fault.INCORRECT_PARAMETERS, "Recursive system.multicall forbidden")
        if not isinstance(params, list):
            raise RpcFault(Fault.INCORRECT_PARAMETERS)
        return await self.call(who, str(name), tuple(cast("list[object]", params)))


def _checked(method: Method, params: tuple[object, ...]) -> list[object]:
    """Return parameters of the right number and types.

    Raises:
        RpcFault: INCORRECT_PARAMETERS.
    """
    if not method.required <= len(params) <= len(method.parameters):
        raise RpcFault(Fault.INCORRECT_PARAMETERS)
    return [
        _fitting(parameter.kind, parameter.name, value)
        for parameter, value in zip(method.parameters, params, strict=False)
    ]


def _fitting(kind: str, name: str, value: object) -> object:
    match kind, value:
        case "string", str():
            return value
        case "string", int() if name == "signal":
            return value
        case "string", _ if name == "chars":
            return value  # judged by the method, whose fault names it
        case "boolean", _:
            return bool(value)
        case "array", list():
            return cast("list[object]", value)
        case "int", int() | float() if abs(value) < 10**_DIGITS:
            return int(value)
        case "int", str() if (
            value.lstrip("-").isascii() and value.lstrip("-").isdigit() and len(value) < _DIGITS
        ):
            return int(value)
        case _:
            raise RpcFault(Fault.INCORRECT_PARAMETERS)
