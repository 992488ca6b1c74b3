"""`GET /v1/listeners`: the fleet in supervisord's words, and that who reads it understands it."""

from pathlib import Path

import pytest

from orchestra_supervisor.control_client import ControlClient, ControlError
from orchestra_supervisor.listeners.directory import Directory, Entry, Output, parse_directory
from orchestra_supervisor.listeners.pools import PoolSpec
from orchestra_supervisor.model.supervisord import OutputSpec, SupervisorName
from orchestra_supervisor.surfaces.edge import http_error
from orchestra_supervisor.surfaces.listeners_api import listener_routes
from orchestra_supervisor.surfaces.web import Application
from tests.unit.surfaces.api_desk import api_of, call, service
from tests.unit.surfaces.client import serving

pytestmark = pytest.mark.anyio


def listener(number: int) -> SupervisorName:
    return SupervisorName(
        group="rec",
        process=f"rec_{number}",
        kind="eventlistener",
        group_priority=-1,
        events=("TICK_5", "PROCESS_STATE"),
        buffer_size=7,
    )


def test_of_a_listener_all_is_said_that_its_pool_needs() -> None:
    answer: dict[str, object] = {"identifier": "x", "started": 1.5, "last": 3, "processes": []}
    assert parse_directory(answer) == Directory("x", 1.5, 3, (), ())
    with pytest.raises(KeyError):
        parse_directory({})


async def test_processes_and_pools_are_told_in_the_order_of_their_groups(folder: Path) -> None:
    web = SupervisorName(
        group="web",
        process="web",
        redirect_stderr=True,
        stdout=OutputSpec(events_enabled=True, capture_maxbytes=10),
    )
    specs = (
        service("web", supervisor=web),
        service("native"),
        service("rec.0", supervisor=listener(0)),
        service("rec.1", supervisor=listener(1), enabled=False),
        service("@gateway"),
    )
    async with api_of(folder, *specs) as api:
        services = api.desk.supervisor.services
        make = listener_routes(api.control, lambda name: folder / f"{name}.log", 12.5)
        app = Application(make(api.desk.supervisor.taken_over), http_error)
        async with serving(app, folder / "listeners.sock") as path:
            answer = await call(ControlClient(path, timeout=5.0).request, "GET", "/v1/listeners")
        last = api.control.journal.last_seq()
        runs = {name: one.run for name, one in services.items()}
    found = parse_directory(answer)
    assert (found.identifier, found.fleet, found.last) == ("supervisor", 12.5, last)
    members = (("rec.0", "rec_0"), ("rec.1", "rec_1"))
    assert found.pools == (PoolSpec("rec", ("TICK_5", "PROCESS_STATE"), 7, members),)
    assert [entry.service for entry in found.entries] == ["rec.0", "rec.1", "native", "web"]
    run = runs["web"]
    assert run is not None
    assert run.pid is not None
    assert found.entries[3] == Entry(
        service="web",
        group="web",
        process="web",
        is_listener=False,
        state="RUNNING",
        pid=run.pid,
        run=run.id,
        tries=0,
        outputs={"stdout": Output(is_told=True, limit=10), "stderr": Output()},
        is_merged=True,
        log=f"{folder}/web.log",
    )
    assert (found.entries[2].group, found.entries[2].process) == ("native", "native")


async def test_only_the_owner_says_how_far_listeners_were_told(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        make = listener_routes(api.control, lambda name: folder / f"{name}.log", 12.5)
        app = Application(make(api.desk.supervisor.taken_over), http_error)
        async with serving(app, folder / "listeners.sock") as path:
            client = ControlClient(path, timeout=5.0)
            assert await call(client.request, "POST", "/v1/listeners/told", body={"seq": 3}) == {}
            for body, wrong in (({"seq": -1}, "seq"), ({}, "seq"), ({"seq": 1, "x": 1}, "x")):
                with pytest.raises(ControlError, match=wrong):
                    await call(client.request, "POST", "/v1/listeners/told", body=body)
            operator = ControlClient(path, timeout=5.0, caller={"name": "joe", "role": "operator"})
            with pytest.raises(ControlError, match="is operator; what listeners were told"):
                await call(operator.request, "POST", "/v1/listeners/told", body={"seq": 3})
