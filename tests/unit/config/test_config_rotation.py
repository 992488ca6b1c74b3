import json

import pytest

from orchestra_supervisor.model.rotation import SecretChangeSpec


def load_web(load, wish: object, **body: object):
    return load({"services": {"web": {"command": ["x"], "on_secret_change": wish} | body}}, WISH="restart")


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("ignore", {"action": "ignore"}),
        ("restart", {"action": "restart"}),
        ("reload", {"action": "reload"}),
        ("${WISH}", {"action": "restart"}),
        ("SIGUSR1", {"action": "signal", "signal": "SIGUSR1"}),
        ("hup", {"action": "signal", "signal": "SIGHUP"}),
        ({"signal": "HUP"}, {"action": "signal", "signal": "SIGHUP"}),
        ({"action": "restart"}, {"action": "restart"}),
    ],
)
def test_a_wish_may_be_a_word_a_signal_or_an_object(load, written: object, spec: dict[str, object]) -> None:
    result = load_web(load, written)
    assert result.errors == ()
    web = result.fleet.services["web"]
    assert web.on_secret_change == SecretChangeSpec.model_validate(spec)
    assert type(web).model_validate_json(web.model_dump_json()) == web


def test_nothing_is_done_where_nothing_is_said(load) -> None:
    result = load({"services": {"web": {"command": ["x"]}}})
    assert result.fleet.services["web"].on_secret_change == SecretChangeSpec(action="ignore")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("restrat", "must be ignore, restart, reload or a signal like SIGHUP, not 'restrat'"),
        ({"signal": "SIGNONE"}, "unknown signal 'SIGNONE'"),
        ("EOF", "must be ignore, restart, reload or a signal like SIGHUP, not 'EOF'"),
        ({"signal": "EOF"}, "unknown signal 'EOF'"),
        ({"action": "stop"}, "'ignore', 'restart' or 'reload'"),
        ({"action": "restart", "signal": "HUP"}, "exactly one of action and signal"),
        ({}, "exactly one of action and signal"),
    ],
)
def test_a_bad_wish_is_told_with_its_line(load, wish: object, said: str) -> None:
    text = json.dumps({"command": ["x"], "on_secret_change": wish})
    result = load('{"services": {\n"web": ' + text + "}}")
    (finding,) = result.errors
    assert said in finding.message
    assert finding.where[0].line == 2


def test_a_signal_goes_with_the_action_signal_alone() -> None:
    for wrong in ({"action": "signal"}, {"action": "restart", "signal": "SIGHUP"}):
        with pytest.raises(ValueError, match="exactly where the action is one"):
            SecretChangeSpec.model_validate(wrong)
