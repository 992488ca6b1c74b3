"""The methods over an engine whose keeper is on the desk; tests/e2e/supervisor has real processes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.model.supervisord import SupervisorName, SupervisorSpec
from orchestra_supervisor.surfaces.xmlrpc import methods as methods_module
from orchestra_supervisor.surfaces.xmlrpc import surroundings as surroundings_module
from orchestra_supervisor.surfaces.xmlrpc.acting import signal_number
from orchestra_supervisor.surfaces.xmlrpc.catalog import METHODS
from orchestra_supervisor.surfaces.xmlrpc.changing import (
    REMOTE_EVENT,
    REMOTE_LIMIT,
    with_group,
    without_group,
)
from orchestra_supervisor.surfaces.xmlrpc.describe import config_info
from orchestra_supervisor.surfaces.xmlrpc.faults import RpcFault
from orchestra_supervisor.surfaces.xmlrpc.logs import empty_log, read_part, tail_part
from orchestra_supervisor.surfaces.xmlrpc.methods import Methods
from orchestra_supervisor.surfaces.xmlrpc.names import Directory
from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings
from tests.unit.surfaces.api_desk import ADMIN, Api, api_of, service

pytestmark = pytest.mark.anyio


class Desk:
    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self.around = Surroundings(
            api.control,
            cast("Any", None),
            SupervisorSpec(),
            lambda name: folder / f"{name}.log",
            folder / "main",
            7,
        )
        self.methods = Methods(self.around, lambda _task: None)

    async def call(self, name: str, *params: object) -> object:
        try:
            with anyio.fail_after(5):
                return await self.methods.call(ADMIN, name, params)
        except RpcFault as fault:
            return fault.text


@asynccontextmanager
async def desk_of(folder: Path, *specs: ServiceSpec) -> AsyncGenerator[Desk]:
    async with api_of(folder, *specs) as api:
        yield Desk(api, folder)


PROGRAM = {"argv": ("/bin/sh",)}


async def test_there_are_forty_one_methods_and_each_can_be_asked_about(folder: Path) -> None:
    async with desk_of(folder, service("web")) as desk:
        names = cast("list[str]", await desk.call("system.listMethods"))
        assert len(names) == 41
        for name in names:
            signature = cast("list[str]", await desk.call("system.methodSignature", name))
            assert signature == METHODS[name].signature
            assert str(await desk.call("system.methodHelp", name)).count("@param") == len(signature) - 1
        assert await desk.call("system.methodHelp", "x") == "SIGNATURE_UNSUPPORTED"


@pytest.mark.parametrize(
    ("name", "params", "fault"),
    [
        ("getState", (), "UNKNOWN_METHOD"),
        ("supervisor.__init__", (), "UNKNOWN_METHOD"),
        ("supervisor.control.stop", (), "UNKNOWN_METHOD"),
        ("supervisor.getState", (1,), "INCORRECT_PARAMETERS"),
        ("supervisor.startProcess", (), "INCORRECT_PARAMETERS"),
        ("supervisor.startProcess", (1,), "INCORRECT_PARAMETERS"),
        ("supervisor.startProcess", (["web"],), "INCORRECT_PARAMETERS"),
        ("supervisor.readProcessLog", ("web", "x", 0), "INCORRECT_PARAMETERS"),
        ("supervisor.readProcessLog", ("web", 10**30, 0), "INCORRECT_PARAMETERS"),
        ("supervisor.readProcessLog", ("web", float("inf"), 0), "INCORRECT_PARAMETERS"),
        ("supervisor.sendProcessStdin", ("web", 5), "INCORRECT_PARAMETERS: 5"),
        ("system.multicall", ("x",), "INCORRECT_PARAMETERS"),
        ("system.methodHelp", (None,), "INCORRECT_PARAMETERS"),
    ],
)
async def test_a_call_that_does_not_fit_is_a_fault(
    folder: Path, name: str, params: tuple[object, ...], fault: str
) -> None:
    async with desk_of(folder, service("web")) as desk:
        assert await desk.call(name, *params) == fault


@pytest.mark.parametrize(
    ("refusal", "fault"),
    [
        ("no_input", "NO_FILE: web"),
        ("unknown_type", "NO_FILE: web"),  # a keeper that was started by an older version
        ("no_such_run", "NOT_RUNNING: web"),
        ("input_full", "FAILED: web"),
        ("bad_message", "BAD_ARGUMENTS: web"),
    ],
)
async def test_input_that_the_keeper_refuses_is_a_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch, refusal: str, fault: str
) -> None:
    async with desk_of(folder, service("web")) as desk:

        async def refuse(_run: str, _text: str) -> None:
            raise ConflictError("no", refusal=refusal)

        monkeypatch.setattr(desk.around.control.keeper, "input", refuse)
        assert await desk.call("supervisor.sendProcessStdin", "web", "x") == fault


async def test_several_calls_are_made_in_order_each_with_its_own_fault(folder: Path) -> None:
    async with desk_of(folder, service("web", **PROGRAM)) as desk:
        calls = [
            {"methodName": "supervisor.stopProcess", "params": ["web"]},
            {"methodName": "supervisor.stopProcess", "params": ["web"]},
            {"methodName": "system.multicall", "params": [[]]},
            {"params": []},
            {"methodName": "supervisor.getPID", "params": {"a": 1}},
            "no call",
            {"methodName": "supervisor.getPID"},
        ]
        assert await desk.call("system.multicall", calls) == [
            True,
            {"faultCode": 70, "faultString": "NOT_RUNNING: web"},
            {"faultCode": 2, "faultString": "INCORRECT_PARAMETERS: Recursive system.multicall forbidden"},
            {"faultCode": 2, "faultString": "INCORRECT_PARAMETERS: No methodName"},
            {"faultCode": 2, "faultString": "INCORRECT_PARAMETERS"},
            {"faultCode": 2, "faultString": "INCORRECT_PARAMETERS"},
            7,
        ]


async def test_what_several_calls_may_cost_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods_module, "ANSWER_LIMIT", 5_000)
    async with desk_of(folder, service("web")) as desk:
        calls = [{"methodName": "system.listMethods"}] * 3
        first, second, third = cast("list[Any]", await desk.call("system.multicall", calls))
        assert len(first) == 41
        assert second == first or second["faultCode"] == 30
        assert third["faultCode"] == 30
        assert (
            await desk.call("system.multicall", [{}] * 1_001) == "INCORRECT_PARAMETERS: more than 1000 calls"
        )


async def test_nobody_is_answered_while_the_fleet_goes_down_but_listeners_get_their_word(
    folder: Path,
) -> None:
    async with desk_of(folder, service("web", **PROGRAM)) as desk:
        desk.around.restarting = True
        for name in ("getState", "getAPIVersion", "shutdown", "getAllProcessInfo"):
            assert await desk.call(f"supervisor.{name}") == "SHUTDOWN_STATE"
        assert await desk.call("supervisor.startProcess") == "INCORRECT_PARAMETERS"
        assert await desk.call("supervisor.sendRemoteCommEvent", "kind", "data") is True
        assert len(cast("list[str]", await desk.call("system.listMethods"))) == 41
        desk.around.restarting = False
        too_much = await desk.call("supervisor.sendRemoteCommEvent", "kind", "x" * REMOTE_LIMIT)
        assert str(too_much).startswith("BAD_ARGUMENTS")
        events = await desk.api.control.events(EventQuery(kind_prefix=REMOTE_EVENT))
        assert [one.data for one in events] == [{"type": "kind", "data": "data"}]


async def test_a_service_of_ours_is_told_in_supervisords_shape(folder: Path) -> None:
    async with desk_of(folder, service("web", **PROGRAM), service("off", enabled=False, **PROGRAM)) as desk:
        until_ready = desk.api.desk.supervisor.core
        while until_ready.services["web"].state is not State.READY:
            await until_ready.wait_changed()
        info = cast("dict[str, Any]", await desk.call("supervisor.getProcessInfo", "web"))
        log = str(folder / "web.log")
        assert {**info, "start": 0, "now": 0, "pid": 0, "description": ""} == {
            "name": "web",
            "group": "web",
            "start": 0,
            "stop": 0,
            "now": 0,
            "state": 20,
            "statename": "RUNNING",
            "spawnerr": "",
            "exitstatus": 0,
            "logfile": log,
            "stdout_logfile": log,
            "stderr_logfile": log,
            "pid": 0,
            "description": "",
        }
        assert len(cast("list[Any]", await desk.call("supervisor.getAllProcessInfo"))) == 2


def test_a_configuration_has_all_of_supervisords_keys() -> None:
    names = SupervisorName(group="g", process="p", user="0", redirect_stderr=True, stopsignal="SIGUSR1")
    plain, told = service("web", user="nobody-there"), service("g.p", supervisor=names)
    infos = [
        config_info(one, in_use=True, log_path=lambda name: Path("/logs") / name) for one in (plain, told)
    ]
    assert [len(info) for info in infos] == [29, 29]
    assert infos[0].keys() == infos[1].keys()
    assert [info["uid"] for info in infos] == ["none", 0]
    assert infos[1]["stopsignal"] == 10
    assert (infos[1]["stdout_logfile"], infos[1]["stderr_logfile"]) == ("/logs/g.p", "none")
    assert config_info(told, in_use=False, log_path=Path)["stdout_logfile"] == "auto"


@pytest.mark.parametrize(
    ("signal", "number"), [("HUP", 1), ("sighup", 1), (" 15 ", 15), (9, 9), ("0", 0), ("SIGRTMIN", 34)]
)
def test_signals_are_known_by_name_and_number(signal: str | int, number: int) -> None:
    assert signal_number(signal) == number


@pytest.mark.parametrize("signal", ["", "HUPP", "99", "-1", "1.5", "٣", "9" * 5000])
def test_other_signals_are_bad(signal: str) -> None:
    with pytest.raises(RpcFault, match="BAD_SIGNAL"):
        signal_number(signal)


class Text:
    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]


@pytest.mark.parametrize(
    ("offset", "length", "data"),
    [
        (0, 0, b"0123456789"),
        (3, 0, b"3456789"),
        (3, 2, b"34"),
        (-3, 0, b"789"),
        (-99, 0, b"0123456789"),
        (99, 5, b""),
    ],
)
def test_a_part_of_a_log_is_what_supervisord_would_read(offset: int, length: int, data: bytes) -> None:
    assert read_part(Text(b"0123456789"), offset, length) == data


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1)])
def test_a_part_that_makes_no_sense_is_a_fault(offset: int, length: int) -> None:
    with pytest.raises(RpcFault, match="BAD_ARGUMENTS"):
        read_part(Text(b"0123456789"), offset, length)


@pytest.mark.parametrize(
    ("offset", "length", "answer"),
    [
        (0, 3, (b"789", 10, True)),
        (0, 10, (b"0123456789", 10, False)),
        (5, 5, (b"56789", 10, False)),
        (5, 90, (b"0123456789", 10, False)),
        (10, 5, (b"", 10, False)),
        (99, 5, (b"", 10, False)),
    ],
)
def test_the_end_of_a_log_is_what_supervisord_would_tail(
    offset: int, length: int, answer: tuple[bytes, int, bool]
) -> None:
    assert tail_part(Text(b"0123456789"), offset, length) == answer


def test_a_log_is_emptied_with_its_index(tmp_path: Path) -> None:
    log, index = tmp_path / "web.log", tmp_path / "web.log.idx"
    empty_log(log)
    assert not log.exists()
    log.write_bytes(b"text")
    index.write_bytes(b"index")
    before = log.stat().st_ino
    empty_log(log)
    assert (log.read_bytes(), index.exists()) == (b"", False)
    assert log.stat().st_ino != before
    assert [one.name for one in tmp_path.iterdir()] == ["web.log"]


def test_groups_come_and_go_with_their_services_alone() -> None:
    fleet = Fleet(services={"a": service("a"), "b": service("b", "a")})
    read = Fleet(services={"c": service("c", "b"), "a": service("a", "c")})
    assert without_group(fleet, "a").services == {"b": service("b", "a")}
    grown = with_group(fleet, read, "c")
    assert list(grown.services) == ["a", "b", "c"]
    with pytest.raises(Exception, match="dependencies form a cycle"):
        with_group(without_group(grown, "a"), read, "a")
    with pytest.raises(Exception, match="a is in the fleet already"):
        with_group(fleet, read, "a")


async def test_the_logs_of_all_are_emptied_with_one_look_at_who_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def counted(specs: Any) -> Directory:
        nonlocal looks
        looks += 1
        return Directory(specs)

    async with desk_of(tmp_path, *(service(f"s{number}") for number in range(20))) as desk:
        monkeypatch.setattr(surroundings_module, "Directory", counted)
        results = cast("list[dict[str, object]]", await desk.call("supervisor.clearAllProcessLogs"))
    assert [one["description"] for one in results] == ["OK"] * 20
    assert looks == 1
