import json

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.states import ALIVE_STATES, SETTLED_STATES, State


def test_an_event_has_the_keys_of_the_control_api() -> None:
    event = Event("service.ready", "ready", 5.0, "web", "web-1", {"pid": 1}, seq=9)
    assert json.loads(json.dumps(event.to_dict())) == {
        "seq": 9,
        "at": 5.0,
        "kind": "service.ready",
        "service": "web",
        "run": "web-1",
        "message": "ready",
        "data": {"pid": 1},
    }


def test_events_do_not_share_their_data() -> None:
    one, other = Event("a", "", 0.0), Event("b", "", 0.0)
    assert one.data is not other.data


def test_states_are_the_words_of_the_design() -> None:
    words = "stopped waiting starting running ready unhealthy backoff stopping completed failed"
    assert [state.value for state in State] == words.split()
    assert State.STOPPING in ALIVE_STATES
    assert not ALIVE_STATES & (SETTLED_STATES - {State.READY})
