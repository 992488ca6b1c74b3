import pytest

from orchestra_supervisor.model.errors import ERROR_KINDS, ConfigError, OrchestraError, UnknownService


def test_an_error_says_what_the_way_out_and_the_facts() -> None:
    error = ConfigError("a.json:3: bad port", hint="1 to 65535", path="a.json", line=3)
    assert str(error) == "a.json:3: bad port"
    assert error.to_dict() == {
        "code": "config",
        "message": "a.json:3: bad port",
        "hint": "1 to 65535",
        "context": {"path": "a.json", "line": 3},
    }
    assert (error.kind.http, error.kind.exit) == (422, 3)


def test_every_error_can_be_caught_by_its_root() -> None:
    with pytest.raises(OrchestraError):
        raise UnknownService("no service 'x'")
    assert OrchestraError("x").kind is ERROR_KINDS["internal"]


@pytest.mark.parametrize("code", ERROR_KINDS)
def test_statuses_are_those_of_http_and_of_a_shell(code: str) -> None:
    kind = ERROR_KINDS[code]
    assert 400 <= kind.http < 600
    assert 1 <= kind.exit < 126
    assert kind.meaning
