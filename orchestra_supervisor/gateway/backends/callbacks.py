"""What the gateway has done by the daemon: the composition root gives these, tests give their own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Callbacks", "NotDone"]


class NotDone(Exception):
    """The daemon refused or failed; the message says why and what to do."""


async def _refuse(service: str) -> None:
    raise NotDone(f"nobody here can start or stop {service}")


async def _leave(service: str, why: str) -> None:  # noqa: ARG001 - the signature of the callback
    raise NotDone(f"nobody here can end {service}")


async def _keep(service: str, replicas: int) -> Sequence[str]:
    raise NotDone(f"nobody here can have {replicas} of {service}")


async def _no_headers(backend: str) -> Mapping[str, str]:  # noqa: ARG001 - the signature of the callback
    return {}


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Verbs of the daemon. Each raises NotDone where it does not come about.

    Attributes:
        start: Starts a service and returns when it is started (it need not be ready).
        stop: Stops a service and returns when it is stopped.
        hung: Ends the run of a service that does not answer, for a reason; its restart policy goes on.
        scale: Has that many replicas of a service; returns the names of all of them.
        headers: Returns the headers of a backend, with its secrets.
    """

    start: Callable[[str], Awaitable[None]] = _refuse
    stop: Callable[[str], Awaitable[None]] = _refuse
    hung: Callable[[str, str], Awaitable[None]] = _leave
    scale: Callable[[str, int], Awaitable[Sequence[str]]] = _keep
    headers: Callable[[str], Awaitable[Mapping[str, str]]] = _no_headers
