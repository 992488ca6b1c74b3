"""The faults of supervisord's XML-RPC interface. Source: supervisor 4.3, `xmlrpc.py`."""

from enum import IntEnum

from orchestra_supervisor.model.errors import ConflictError, OrchestraError, UnknownService

__all__ = ["FAULT_TEXT_LIMIT", "Fault", "RpcFault", "fault_of"]

FAULT_TEXT_LIMIT = 2048
"""Characters of what a fault quotes: a client's own words do not come back by the megabyte."""


class Fault(IntEnum):
    """Codes and names; 5 is not used, SUCCESS stands in result structs alone."""

    UNKNOWN_METHOD = 1
    INCORRECT_PARAMETERS = 2
    BAD_ARGUMENTS = 3
    SIGNATURE_UNSUPPORTED = 4
    SHUTDOWN_STATE = 6
    BAD_NAME = 10
    BAD_SIGNAL = 11
    NO_FILE = 20
    NOT_EXECUTABLE = 21
    FAILED = 30
    ABNORMAL_TERMINATION = 40
    SPAWN_ERROR = 50
    ALREADY_STARTED = 60
    NOT_RUNNING = 70
    SUCCESS = 80
    ALREADY_ADDED = 90
    STILL_RUNNING = 91
    CANT_REREAD = 92


class RpcFault(Exception):
    """The answer to a call is a fault.

    Args:
        fault: Which.
        extra: What it is about; None: the name says it all.
    """

    def __init__(self, fault: Fault, extra: object = None) -> None:
        self.fault = fault
        self.text = fault.name if extra is None else f"{fault.name}: {_short(str(extra))}"
        super().__init__(self.text)


def _short(text: str) -> str:
    return text if len(text) <= FAULT_TEXT_LIMIT else f"{text[:FAULT_TEXT_LIMIT]}..."


def fault_of(error: OrchestraError, name: str, *, is_stopping: bool) -> RpcFault:
    """Return the fault that says what one of our errors says.

    Args:
        error: What became of a verb.
        name: The name that the client gave.
        is_stopping: The fleet goes down, which is then the reason.
    """
    if is_stopping and isinstance(error, ConflictError):
        return RpcFault(Fault.SHUTDOWN_STATE)
    if isinstance(error, UnknownService):
        return RpcFault(Fault.BAD_NAME, name)
    return RpcFault(Fault.FAILED, error.message)
