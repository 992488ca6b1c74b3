import pytest

from orchestra_supervisor.model.replicas import ReplicaSpec
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.supervisord import SupervisorName
from orchestra_supervisor.surfaces.xmlrpc.faults import RpcFault
from orchestra_supervisor.surfaces.xmlrpc.names import Directory, Group, Process, split_namespec
from tests.unit.surfaces.api_desk import service

SPECS = [
    service("web@1", replica=ReplicaSpec(group="web", number=1, count=2)),
    service("web@2", replica=ReplicaSpec(group="web", number=2, count=2)),
    service("db", priority=5),
    service("back.b", supervisor=SupervisorName(group="back", process="b", priority=1, group_priority=7)),
    service("back.a", supervisor=SupervisorName(group="back", process="a", priority=2, group_priority=7)),
]


def specs() -> list[ServiceSpec]:
    return SPECS


def test_groups_and_processes_are_in_supervisords_order() -> None:
    directory = Directory(specs())
    assert [one.namespec for one in directory.by_priority()] == [
        "db",
        "back:b",
        "back:a",
        "web:web@1",
        "web:web@2",
    ]
    assert [one.namespec for one in directory.by_name()] == [
        "back:a",
        "back:b",
        "db",
        "web:web@1",
        "web:web@2",
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("db", Process("db", "db", "db", 5, 5)),
        ("db:db", Process("db", "db", "db", 5, 5)),
        ("back:a", Process("back.a", "back", "a", 2, 7)),
        ("web:web@2", Process("web@2", "web", "web@2", 999, 999)),
    ],
)
def test_a_process_is_found_by_its_names(name: str, found: Process) -> None:
    directory = Directory(specs())
    assert directory.find(name) == found
    assert directory.process(name) == found


@pytest.mark.parametrize("name", ["back:*", "back:"])
def test_a_group_is_found_and_is_no_process(name: str) -> None:
    directory = Directory(specs())
    found = directory.find(name)
    assert isinstance(found, Group)
    assert [one.name for one in found.processes] == ["b", "a"]
    with pytest.raises(RpcFault, match=f"BAD_NAME: {name[:4]}"):
        directory.process(name)


@pytest.mark.parametrize("name", ["", ":", "back", "back.a", "web@1", "nobody:*", "back:x", "back:a:b", "*"])
def test_other_names_are_bad(name: str) -> None:
    with pytest.raises(RpcFault) as fault:
        Directory(specs()).find(name)
    assert fault.value.text == f"BAD_NAME: {name}"


def test_names_are_split_as_supervisord_splits_them() -> None:
    wanted = {
        "a": ("a", "a"),
        "a:b": ("a", "b"),
        "a:*": ("a", None),
        "a:": ("a", None),
        "a:b:c": ("a", "b:c"),
    }
    assert {name: split_namespec(name) for name in wanted} == wanted
