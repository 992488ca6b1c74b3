"""Messages of the daemon: every wrong type is refused with a text, and never shown when it may be secret."""

import resource
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.keeper.fields import BadMessage
from orchestra_supervisor.keeper.request import (
    BadSignal,
    EndOfInput,
    LogTarget,
    parse_plan,
    parse_signal,
    parse_spawn,
)

SPAWN = {"type": "spawn", "run": "a-1", "slot": "a", "argv": ["sleep", "1"], "env": {"A": "1"}}


def test_what_is_not_given_leaves_the_keepers_own_setting():
    request = parse_spawn(SPAWN)
    assert (request.argv, request.env) == ([b"sleep", b"1"], {b"A": b"1"})
    settings = (request.cwd, request.umask, request.user, request.group, request.groups, request.nice)
    assert settings == (None,) * 6
    assert (request.rlimits, request.log, request.oom_score_adj, request.stop_order) == ([], None, None, 0)
    assert request.plan.steps == ((signal.SIGTERM, 10.0),)
    assert (request.stdio, request.channel) == (False, False)


def test_what_is_given_arrives():
    request = parse_spawn(
        {
            **SPAWN,
            "argv": ["caf\u00e9", "\udcff"],
            "user": "1000",
            "group": 5,
            "groups": ["adm", 7],
            "rlimits": {"nofile": [1, None], "RLIMIT_CORE": [0, 2**62]},
            "stop": {"steps": [["EOF", 3], ["SIGINT", 1], ["SIGTERM", 0.5]], "scope": "leader"},
            "stdio": True,
            "channel": True,
            "stop_order": -3,
            "log": {"path": "p", "options": {"max_bytes": "?"}, "secrets": ["hush"]},
        }
    )
    assert request.argv == ["caf\u00e9".encode(), b"\xff"]
    assert (request.user, request.group, request.groups) == (1000, 5, ["adm", 7])
    assert request.rlimits == [
        (resource.RLIMIT_NOFILE, (1, resource.RLIM_INFINITY)),
        (resource.RLIMIT_CORE, (0, 2**62)),
    ]
    assert request.plan.steps == ((EndOfInput(), 3.0), (signal.SIGINT, 1.0), (signal.SIGTERM, 0.5))
    assert (request.stdio, request.channel) == (True, True)
    assert request.plan.leader_only
    assert request.stop_order == -3
    assert request.log == LogTarget("p", {"max_bytes": "?"}, ["hush"])
    assert "hush" not in repr(request)


BAD_SPAWNS = {
    "no argv": {"argv": None},
    "empty argv": {"argv": []},
    "argv of numbers": {"argv": [1]},
    "NUL in argv": {"argv": ["a\0b"]},
    "a surrogate that stands for no byte": {"argv": ["\ud800"]},
    "no env": {"env": None},
    "env with a number": {"env": {"A": 1}},
    "env with = in a name": {"env": {"A=B": "1"}},
    "cwd is a list": {"cwd": []},
    "umask too big": {"umask": 0o1000},
    "nice is text": {"nice": "5"},
    "nice is true": {"nice": True},
    "user is a float": {"user": 1.5},
    "user is negative": {"user": -1},
    "unknown rlimit": {"rlimits": {"NOPE": [1, 1]}},
    "rlimit without hard": {"rlimits": {"NOFILE": [1]}},
    "rlimit too big": {"rlimits": {"NOFILE": [2**70, 2**70]}},
    "log without path": {"log": {}},
    "plan is a list": {"stop": []},
    "plan with endless wait": {"stop": {"steps": [["SIGTERM", float("inf")]]}},
    "plan with nan": {"stop": {"steps": [["SIGTERM", float("nan")]]}},
    "plan with odd scope": {"stop": {"steps": [], "scope": "all"}},
    "step without wait": {"stop": {"steps": [["SIGTERM"]]}},
    "run is empty": {"run": ""},
    "slot is a number": {"slot": 5},
    "slot is too long": {"slot": "x" * 300},
    "stdio is text": {"stdio": "true"},
    "channel is a number": {"channel": 1},
}


@pytest.mark.parametrize("case", BAD_SPAWNS)
def test_a_wrong_spawn_is_refused(case):
    with pytest.raises(BadMessage, match=r"."):
        parse_spawn({**SPAWN, **BAD_SPAWNS[case]})


def test_a_signal_is_known_by_its_name_alone():
    assert parse_signal("SIGTERM") == 15
    for wrong in ("TERM", "SIGNOPE", "EOF", 15, None, ["SIGTERM"]):
        with pytest.raises(BadSignal):
            parse_signal(wrong)


def test_a_plan_has_a_bounded_number_of_steps():
    with pytest.raises(BadMessage, match="at most 64 steps"):
        parse_plan({"steps": [["SIGTERM", 0]] * 65})


@pytest.mark.parametrize("env", [{"KEY": "hunter2\0"}, {"KEY": "hunter2\ud800"}])
def test_a_wrong_value_of_a_variable_is_never_shown(env):
    with pytest.raises(BadMessage) as caught:
        parse_spawn({**SPAWN, "env": env})
    assert "KEY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = "run slot argv env cwd umask user group groups rlimits nice oom_score_adj log stop stop_order"
KEYS += " stdio channel"


@given(st.dictionaries(st.sampled_from(KEYS.split()), values, max_size=5))
def test_whatever_a_spawn_holds_it_is_parsed_or_refused(odd):
    try:
        request = parse_spawn({**SPAWN, **odd})
    except BadMessage:
        return
    assert request.argv
    assert all(isinstance(word, bytes) and b"\0" not in word for word in request.argv)
    assert all(0 <= wait <= 31_536_000 for _, wait in request.plan.steps)
