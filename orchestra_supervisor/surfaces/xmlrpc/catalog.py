"""The 41 methods: their names, what they take and return, and what they are for.

`system.methodSignature` and `system.methodHelp` answer from here, and whatever a client sends is held to it.
"""

from dataclasses import dataclass

__all__ = ["METHODS", "Method", "Parameter"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its type in XML-RPC's words, and its name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    Attributes:
        name: With its namespace.
        returns: The type of what it returns.
        parameters: What it takes.
        required: How many of them must be given.
        text: What it is for.
    """

    name: str
    returns: str
    parameters: tuple[Parameter, ...]
    required: int
    text: str

    @property
    def signature(self) -> list[str]:
        """Return the types: of what it returns, then of what it takes."""
        return [self.returns, *(one.kind for one in self.parameters)]

    @property
    def help(self) -> str:
        """Return the description, in the form that supervisord's has."""
        lines = [f" {self.text}", ""]
        lines += [f"        @param {one.kind} {one.name}" for one in self.parameters]
        return "\n".join([*lines, f"        @return {self.returns} result", "        "])


_NAME, _GROUP = Parameter("string", "name"), Parameter("string", "name")
_WAIT, _SIGNAL = Parameter("boolean", "wait"), Parameter("string", "signal")
_PART = (Parameter("int", "offset"), Parameter("int", "length"))
_STRUCTS = "An array of structs {name, group, status, description}"

_TABLE: tuple[tuple[str, str, tuple[Parameter, ...], int, str], ...] = (
    ("getAPIVersion", "string", (), 0, "The version of this interface."),
    ("getVersion", "string", (), 0, "The same as getAPIVersion."),
    ("getSupervisorVersion", "string", (), 0, "The version of supervisord whose interface this is."),
    ("getIdentification", "string", (), 0, "The identifier of this fleet."),
    ("getState", "struct", (), 0, "The state of the fleet: {statecode, statename}."),
    ("getPID", "int", (), 0, "The pid to which signals for the fleet are sent."),
    ("readLog", "string", _PART, 2, "Bytes of the main log."),
    ("readMainLog", "string", _PART, 2, "The same as readLog."),
    ("clearLog", "boolean", (), 0, "Empty the main log."),
    ("shutdown", "boolean", (), 0, "Stop every process and end."),
    ("restart", "boolean", (), 0, "Read the files anew and restart every process."),
    ("reloadConfig", "array", (), 0, "Read the files; the names of groups: [[added, changed, removed]]."),
    ("addProcessGroup", "boolean", (_GROUP,), 1, "Take in a group of the files as last read."),
    ("removeProcessGroup", "boolean", (_GROUP,), 1, "Let go of a group of which nothing runs."),
    (
        "startProcess",
        "boolean",
        (_NAME, _WAIT),
        1,
        "Start a process; waits until it runs unless told not to.",
    ),
    ("startProcessGroup", "array", (_GROUP, _WAIT), 1, f"Start a group's processes. {_STRUCTS}."),
    ("startAllProcesses", "array", (_WAIT,), 0, f"Start all processes. {_STRUCTS}."),
    (
        "stopProcess",
        "boolean",
        (_NAME, _WAIT),
        1,
        "Stop a process; waits until it is down unless told not to.",
    ),
    ("stopProcessGroup", "array", (_GROUP, _WAIT), 1, f"Stop a group's processes. {_STRUCTS}."),
    ("stopAllProcesses", "array", (_WAIT,), 0, f"Stop all processes. {_STRUCTS}."),
    ("signalProcess", "boolean", (_NAME, _SIGNAL), 2, "Send a signal to a process, by name or number."),
    ("signalProcessGroup", "array", (_GROUP, _SIGNAL), 2, f"Signal a group's processes. {_STRUCTS}."),
    ("signalAllProcesses", "array", (_SIGNAL,), 1, f"Signal all processes. {_STRUCTS}."),
    ("getAllConfigInfo", "array", (), 0, "How all processes of the files are configured."),
    ("getProcessInfo", "struct", (_NAME,), 1, "How a process stands."),
    ("getAllProcessInfo", "array", (), 0, "How all processes stand."),
    ("readProcessStdoutLog", "string", (_NAME, *_PART), 3, "Bytes of a process's stdout."),
    ("readProcessLog", "string", (_NAME, *_PART), 3, "The same as readProcessStdoutLog."),
    ("readProcessStderrLog", "string", (_NAME, *_PART), 3, "Bytes of a process's stderr."),
    (
        "tailProcessStdoutLog",
        "array",
        (_NAME, *_PART),
        3,
        "The end of a process's stdout: [bytes, offset, overflow].",
    ),
    ("tailProcessLog", "array", (_NAME, *_PART), 3, "The same as tailProcessStdoutLog."),
    (
        "tailProcessStderrLog",
        "array",
        (_NAME, *_PART),
        3,
        "The end of a process's stderr: [bytes, offset, overflow].",
    ),
    ("clearProcessLogs", "boolean", (_NAME,), 1, "Empty a process's log."),
    ("clearProcessLog", "boolean", (_NAME,), 1, "The same as clearProcessLogs."),
    ("clearAllProcessLogs", "array", (), 0, f"Empty the logs of all processes. {_STRUCTS}."),
    (
        "sendProcessStdin",
        "boolean",
        (_NAME, Parameter("string", "chars")),
        2,
        "Write to a process's stdin.",
    ),
    (
        "sendRemoteCommEvent",
        "boolean",
        (Parameter("string", "type"), Parameter("string", "data")),
        2,
        "Send an event to event listeners.",
    ),
)
_SYSTEM: tuple[tuple[str, str, tuple[Parameter, ...], int, str], ...] = (
    ("listMethods", "array", (), 0, "The names of all methods."),
    ("methodHelp", "string", (_NAME,), 1, "What a method is for."),
    ("methodSignature", "array", (_NAME,), 1, "The types of what a method returns and takes."),
    ("multicall", "array", (Parameter("array", "calls"),), 1, "Make several calls, one after the other."),
)

METHODS = {
    f"{namespace}.{name}": Method(f"{namespace}.{name}", returns, parameters, required, text)
    for namespace, table in (("supervisor", _TABLE), ("system", _SYSTEM))
    for name, returns, parameters, required, text in table
}
"""Every method by its name."""
