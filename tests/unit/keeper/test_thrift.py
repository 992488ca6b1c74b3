"""Requests that share what they have in common are the requests that they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.keeper.request import SpawnRequest, parse_spawn
from orchestra_supervisor.keeper.thrift import Thrift

NAMES = st.sampled_from(["A", "B", "C", "D", "E"])
ENVS = st.lists(st.dictionaries(NAMES, st.sampled_from(["", "1", "2"])), min_size=1, max_size=8)


def request(number: int, env: dict[str, str], options: object = None) -> SpawnRequest:
    log = {"path": f"/l/{number}.log", "options": options, "secrets": None}
    return parse_spawn({"run": f"a-{number}", "slot": "a", "argv": ["x"], "env": env, "log": log})


@given(ENVS)
def test_a_request_that_was_made_slim_is_the_same(envs: list[dict[str, str]]) -> None:
    thrift = Thrift()
    whole = [request(number, env) for number, env in enumerate(envs)]
    slim = [thrift.slim(one) for one in whole]
    for before, after in zip(whole, slim, strict=True):
        assert dict(after.env) == before.env
        assert {name: getattr(after, name) for name in ("run", "slot", "argv", "log", "plan")} == {
            name: getattr(before, name) for name in ("run", "slot", "argv", "log", "plan")
        }
        assert thrift.slim(after) is after


def test_what_all_inherit_is_there_once() -> None:
    thrift = Thrift()
    common = {f"NAME_{number}": "value" for number in range(40)}
    slim = [thrift.slim(request(number, {**common, "OWN": str(number)})) for number in range(5)]
    bases = {id(one.env.maps[-1]) for one in slim[1:]}  # type: ignore[attr-defined]
    assert len(bases) == 1
    assert [len(one.env.maps[0]) for one in slim[1:]] == [1, 1, 1, 1]  # type: ignore[attr-defined]


def test_log_options_that_are_equal_are_one() -> None:
    thrift = Thrift()
    logs = [thrift.slim(request(number, {}, {"backups": 5, "redact": []})).log for number in range(3)]
    other = thrift.slim(request(9, {}, {"backups": 6, "redact": []})).log
    assert other is not None
    assert len({id(log.options) for log in logs}) == 1  # type: ignore[union-attr]
    assert other.options == {"backups": 6, "redact": []}  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [1, 300, 1000])
def test_kinds_of_options_are_not_remembered_without_end(count: int) -> None:
    thrift = Thrift()
    for number in range(count):
        log = thrift.slim(request(number, {}, {"backups": number})).log
        assert log is not None
        assert log.options == {"backups": number}
    assert len(thrift._options) <= 256
