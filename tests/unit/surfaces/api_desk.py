"""A control API on a real socket, over an engine whose keeper is on the desk."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio
from anyio import to_thread

from orchestra_supervisor.agent_room import AgentRoom
from orchestra_supervisor.config.load import Sources
from orchestra_supervisor.config.plan import PlanReport, report_plan
from orchestra_supervisor.control import Control
from orchestra_supervisor.control_client import ControlClient
from orchestra_supervisor.model.caller import Principal, Role
from orchestra_supervisor.model.plugin import PluginReport
from orchestra_supervisor.model.spec import Fleet, FleetSettings, ServiceSpec
from orchestra_supervisor.model.states import DownReason
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.surfaces.agent_api import agent_routes
from orchestra_supervisor.surfaces.http_api import ApiContext, make_app
from tests.unit.engine.desk import Desk, FakeKeeper, running
from tests.unit.surfaces.client import serving

__all__ = ["ADMIN", "OPERATOR", "VIEWER", "Api", "api_of", "call", "service"]

ADMIN = Principal("root (uid 0, pid 1)", Role.ADMIN)
OPERATOR = Principal("olga (uid 1000, pid 2)", Role.OPERATOR)
VIEWER = Principal("victor (uid 1001, pid 3)", Role.VIEWER)

P = ParamSpec("P")
T = TypeVar("T")


def service(name: str, *needs: str, **fields: object) -> ServiceSpec:
    depends_on: dict[str, object] = {need: {} for need in needs}
    return ServiceSpec.model_validate(
        {"name": name, "argv": ("x",), "cwd": "/", "depends_on": depends_on, **fields}
    )


@dataclass
class Api:
    desk: Desk
    control: Control
    client: ControlClient
    path: Path


async def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call of the synchronous client in a thread."""
    return await to_thread.run_sync(partial(function, *args, **kwargs))


@asynccontextmanager
async def api_of(
    folder: Path,
    *specs: ServiceSpec,
    keeper: FakeKeeper | None = None,
    down: dict[str, DownReason] | None = None,
    remember_stops: bool = False,
    check: Callable[[str], ProbeOutcome] | None = None,
    known: anyio.Event | None = None,
    plugins: Callable[[], list[PluginReport]] = list,
    room: Callable[[Control, Desk], AgentRoom] | None = None,
) -> AsyncGenerator[Api]:
    settings = FleetSettings(remember_stops=remember_stops)
    fleet = Fleet(services={spec.name: spec for spec in specs}, settings=settings)
    passes = ProbeOutcome(passed=True, detail="ok")
    async with running(fleet, keeper=keeper, down=down, check=check or (lambda _: passes)) as desk:
        more = fleet.model_copy(update={"services": {**fleet.services, "added": service("added")}})

        async def load(_by: str) -> PlanReport:
            return report_plan(desk.verbs.reload(more, {}), Sources())

        async def look(_paths: tuple[Path, ...]) -> PlanReport:
            return report_plan(desk.verbs.plan(more, {}), Sources())

        control = Control(
            supervisor=desk.supervisor,
            verbs=desk.verbs,
            keeper=desk.keeper,
            journal=desk.journal,
            bus=desk.bus,
            clock=desk.clock,
            load=load,
            rescale=desk.rescale,
            look=look,
        )
        desk.supervisor.taken_over = known or desk.supervisor.taken_over
        context = ApiContext(
            control, "1.2.3", lambda: {"pid": 1}, lambda name: folder / f"{name}.log", plugins
        )
        if room is not None:
            context = replace(context, more=agent_routes(room(control, desk)))
        async with serving(make_app(context), folder / "control.sock") as path:
            yield Api(desk, control, ControlClient(path, timeout=5.0), path)
