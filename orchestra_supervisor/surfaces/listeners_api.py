"""The part of the control API for who speaks with event listeners: the fleet in supervisord's words."""

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from orchestra_supervisor.control import Control
from orchestra_supervisor.model.caller import Role
from orchestra_supervisor.model.errors import ControlDenied
from orchestra_supervisor.model.supervisord import OutputSpec, SupervisorName
from orchestra_supervisor.rules.naming import visible
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.surfaces.edge import Json, body_of, caller_of, guarded
from orchestra_supervisor.surfaces.requests import ToldRequest
from orchestra_supervisor.surfaces.web import Request, Response, Route
from orchestra_supervisor.surfaces.xmlrpc.names import process_of
from orchestra_supervisor.surfaces.xmlrpc.states import state_of

__all__ = ["listener_routes"]

Routes = Callable[[anyio.Event], Sequence[Route]]

_IDENTIFIER = "supervisor"


def listener_routes(
    control: Control, log_path: Callable[[str], Path], started: float, beside: Routes = lambda _: ()
) -> Routes:
    """Return what makes the routes, once the event says that the services are known.

    Args:
        control: Knows the fleet.
        log_path: Returns the log of a service.
        started: When the keeper started, seconds since the epoch.
        beside: Makes further routes.
    """

    async def listeners(_request: Request) -> Response:
        settings = control.supervisor.fleet.settings.supervisor
        services = visible(control.supervisor.services).values()
        ordered = sorted(services, key=lambda service: process_of(service.spec).group_priority)
        return Json(
            {
                "identifier": settings.identifier if settings is not None else _IDENTIFIER,
                "started": started,
                "last": control.journal.last_seq(),
                "processes": [_process(service, log_path) for service in ordered],
            }
        )

    async def told(request: Request) -> Response:
        who = caller_of(request, control)
        if who.role < Role.ADMIN:
            text = f"{who.name} is {who.role.name.lower()}; what listeners were told is said by `@listeners`"
            raise ControlDenied(text, hint="the owner of the fleet may do this")
        control.supervisor.last_words.told((await body_of(request, ToldRequest)).seq)
        return Json({})

    def routes(known: anyio.Event) -> Sequence[Route]:
        return (
            *beside(known),
            Route("/v1/listeners", guarded(listeners, known)),
            Route("/v1/listeners/told", guarded(told, known), methods=["POST"]),
        )

    return routes


def _process(service: Service, log_path: Callable[[str], Path]) -> dict[str, object]:
    spec, run = service.spec, service.run
    process = process_of(spec)
    told = spec.supervisor or SupervisorName(group=process.group, process=process.name)
    return {
        "service": spec.name,
        "group": process.group,
        "process": process.name,
        "kind": told.kind,
        "state": state_of(service).name,
        "pid": run.pid if run is not None and not run.leader_ended else None,
        "run": None if run is None else run.id,
        "tries": service.failed_starts if spec.start is not None else service.attempts,
        "events": told.events,
        "buffer_size": told.buffer_size,
        "redirect_stderr": told.redirect_stderr,
        "stdout": _output(told.stdout),
        "stderr": _output(told.stderr),
        "log": str(log_path(spec.name)),
    }


def _output(one: OutputSpec) -> dict[str, object]:
    return {"capture_maxbytes": one.capture_maxbytes, "events_enabled": one.events_enabled}
