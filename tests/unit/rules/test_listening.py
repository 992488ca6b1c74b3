"""Who goes down last, and what is FATAL to supervisord."""

import pytest

from orchestra_supervisor.model.report import ExitReport
from orchestra_supervisor.model.spec import RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.model.supervisord import LISTENERS, SupervisorName
from orchestra_supervisor.rules.listening import is_given_up, is_listener, stop_after
from orchestra_supervisor.rules.service import Service


def service(name: str, *needs: str, is_listener: bool = False) -> Service:
    told = SupervisorName(group=name, process=name, kind="eventlistener" if is_listener else "program")
    needed: dict[str, object] = {need: {} for need in needs}
    return Service(
        ServiceSpec.model_validate(
            {"name": name, "argv": ("x",), "cwd": "/", "depends_on": needed, "supervisor": told}
        )
    )


def by_name(*services: Service) -> dict[str, Service]:
    return {one.spec.name: one for one in services}


def test_listeners_go_down_after_all_others_and_who_speaks_with_them_last() -> None:
    fleet = by_name(service("web", "db"), service("db"), service("rec", is_listener=True), service(LISTENERS))
    assert stop_after(fleet) == {"rec": ("web", "db"), LISTENERS: ("rec",)}
    assert stop_after(by_name(service("web"), service("db"))) == {}
    assert is_listener(fleet["rec"].spec)
    assert not is_listener(fleet["web"].spec)


def test_nobody_waits_for_who_waits_for_him() -> None:
    fleet = by_name(
        service("db"),
        service("rec", "db", is_listener=True),
        service("web", "rec"),
        service("job"),
        service("@gateway"),
    )
    assert stop_after(fleet) == {"rec": ("job",)}, "db stops after it, and web before it in any case"


@pytest.mark.parametrize(
    ("policy", "code", "failed_starts", "given_up"),
    [
        ("never", 3, 0, False),
        ("never", 3, 1, True),
        ("never", None, 0, True),
        ("on-failure", 3, 0, True),
        ("always", 0, 0, True),
    ],
)
def test_fatal_is_what_would_run_again(
    policy: str, code: int | None, failed_starts: int, given_up: bool
) -> None:
    spec = ServiceSpec(
        name="web", argv=("x",), cwd="/", restart=RestartSpec.model_validate({"policy": policy})
    )
    ended = ExitReport(code=code, signal=None, at_wall=1.0, success=False, text="")
    one = Service(spec, state=State.FAILED, exit=ended, failed_starts=failed_starts)
    assert is_given_up(one) is given_up
    assert not is_given_up(Service(spec, state=State.COMPLETED, exit=ended))
