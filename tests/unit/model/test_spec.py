import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestra_supervisor.model.log import LogSpec
from orchestra_supervisor.model.spec import (
    END_OF_INPUT,
    BackoffSpec,
    Fleet,
    HttpCheck,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    StopSpec,
    StopStep,
    TcpCheck,
    known_signal,
)
from orchestra_supervisor.model.states import Condition, Kind

WEB: dict[str, object] = {"name": "web", "argv": ("x",), "cwd": "/"}


def refused(**fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        ServiceSpec.model_validate({**WEB, **fields})
    return str(caught.value)


@pytest.mark.parametrize("name", ["web", "a", "_x", "mcp_memory", "web-1.2@eu", "A" * 64])
def test_a_name_is_a_file_name_and_a_url_segment(name: str) -> None:
    assert ServiceSpec.model_validate({**WEB, "name": name}).name == name


@pytest.mark.parametrize(
    "name", ["", ".hidden", "-x", "a/b", "a b", "..", "é", "A" * 65, "a:b", "a\n", "a\x00", "probe:a"]
)
def test_anything_else_is_not_a_name(name: str) -> None:
    assert "name" in refused(name=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("argv", ()),
        ("argv", ("a\x00b",)),
        ("cwd", "/\x00"),
        ("env", {"A": "\x00"}),
        ("port", 0),
        ("port", 65536),
        ("nice", 20),
        ("oom_score_adj", -1001),
        ("umask", 0o1000),
        ("startup_timeout", -1.0),
        ("startup_timeout", float("inf")),
        ("startup_timeout", float("nan")),
        ("surprise", 1),
    ],
)
def test_a_value_that_cannot_be_is_refused_under_its_name(field: str, value: object) -> None:
    assert field in refused(**{field: value})


def test_the_defaults_are_those_that_the_documents_promise() -> None:
    spec = ServiceSpec.model_validate(WEB)
    assert (spec.kind, spec.enabled, spec.startup_timeout) == (Kind.DAEMON, True, 60.0)
    assert spec.restart == RestartSpec(
        policy="on-failure", success_exit_codes=(0,), max_restarts=10, window=300.0
    )
    assert spec.restart.backoff == BackoffSpec(initial=0.5, multiplier=2.0, cap=60.0, jitter=0.1)
    assert spec.stop == StopSpec(steps=(StopStep(signal="SIGTERM", wait=10.0),), scope="group")
    assert spec.log == LogSpec(max_bytes=50 * 1024 * 1024, backups=5, compress=True)
    needs = ServiceSpec.model_validate({**WEB, "depends_on": {"db": {}}}).depends_on["db"]
    assert (needs.condition, needs.on_failure) == (Condition.READY, "keep")


@pytest.mark.parametrize(
    ("given", "wanted"), [("term", "SIGTERM"), ("INT", "SIGINT"), ("SIGKILL", "SIGKILL"), ("eof", "EOF")]
)
def test_a_signal_may_be_written_in_short(given: str, wanted: str) -> None:
    assert StopStep(signal=given).signal == wanted


@pytest.mark.parametrize("name", ["", "SIG", "SIGNOPE", "15", "_IGN"])
def test_a_signal_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="unknown signal"):
        StopStep(signal=name)


def test_the_end_of_input_is_a_step_and_no_signal() -> None:
    with pytest.raises(ValueError, match="unknown signal 'EOF'"):
        known_signal("EOF")
    assert StopStep(signal="EOF").signal == END_OF_INPUT


def test_a_spec_is_frozen_and_equal_to_its_like() -> None:
    one, other = ServiceSpec.model_validate(WEB), ServiceSpec.model_validate(WEB)
    assert one == other
    with pytest.raises(ValidationError):
        one.name = "other"  # type: ignore[misc]  # that it is refused is the point


PROBES = st.builds(
    ProbeSpec,
    check=st.one_of(
        st.builds(TcpCheck, host=st.just("127.0.0.1"), port=st.integers(1, 65535)),
        st.builds(HttpCheck, url=st.just("http://127.0.0.1:1/"), body_match=st.none() | st.just("ok")),
    ),
    period=st.floats(0.01, 86_400),
    timeout=st.floats(0.01, 3_600),
    failure_threshold=st.integers(1, 100),
)


@given(PROBES, st.lists(st.tuples(st.sampled_from(["SIGTERM", "SIGINT"]), st.floats(0, 100)), max_size=3))
def test_a_fleet_is_the_same_after_json(probe: ProbeSpec, steps: list[tuple[str, float]]) -> None:
    spec = ServiceSpec.model_validate(
        {
            **WEB,
            "probes": {"readiness": probe},
            "stop": {"steps": tuple({"signal": name, "wait": wait} for name, wait in steps)},
        }
    )
    fleet = Fleet(services={"web": spec}, files=("/a.json",))
    assert Fleet.model_validate_json(fleet.model_dump_json()) == fleet
