"""What a service says of itself, and connections that it waits for: the lifecycle's rules for them.

Source: sd_notify(3), sd_listen_fds(3).
"""

from dataclasses import replace

from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.inputs import Called, Effect, Emit, Input, ListenFailed, Notified, Unlisten
from orchestra_supervisor.rules.moves import Step, begin, end, enter, enter_running
from orchestra_supervisor.rules.service import Ending, Moment, Run, Service, Then

__all__ = ["called", "listen_failed", "notified"]

_MICRO = 1_000_000
_LONGEST_EXTENSION = 31_536_000.0  # seconds; a service may ask for more, and means for ever


def notified(service: Service, event: Input, now: Moment) -> Step:
    """Take what the present run says of itself."""
    assert isinstance(event, Notified)
    run = service.run
    if run is None or run.id != event.run or run.leader_ended:
        return Step(service)
    said = dict(event.fields)
    is_ready = said.get("READY") == "1"
    beat = event.beat_mono if event.beat_mono is not None else event.at_mono if is_ready else service.beat
    run = _with_facts(run, said, event.at_mono)
    service = replace(service, run=run, beat=beat, said=said.get("STATUS", service.said))
    effects = _news(said)
    if said.get("WATCHDOG") == "trigger" and service.ending is None and service.state is not State.STOPPING:
        ended = end(service, Ending(Then.POLICY, "it says itself that it has failed", failed=True), now)
        return Step(ended.service, (*effects, *ended.effects))
    if is_ready and service.spec.notify and service.state is State.STARTING and run.pid is not None:
        after = enter_running(service, now)
        return Step(after.service, (*effects, *after.effects))
    return Step(service, effects)


def _with_facts(run: Run, said: dict[str, str], at_mono: float) -> Run:
    extension, watchdog = _seconds(said.get("EXTEND_TIMEOUT_USEC")), _seconds(said.get("WATCHDOG_USEC"))
    if extension is not None:
        run = replace(run, extended_until=at_mono + extension)
    if watchdog is not None:
        run = replace(run, watchdog=watchdog)
    if said.get("MAINPID", "").isdecimal():
        run = replace(run, main_pid=int(said["MAINPID"]))
    return run


def _seconds(text: str | None) -> float | None:
    if text is None or not text.isdecimal() or len(text) > 20:
        return None
    return min(int(text) / _MICRO, _LONGEST_EXTENSION)


def _news(said: dict[str, str]) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    if said.get("RELOADING") == "1" and said.get("READY") != "1":
        effects.append(Emit("service.reloading", "it says that it reads its configuration again"))
    if said.get("STOPPING") == "1":
        effects.append(Emit("service.leaving", "it says that it ends"))
    if "ERRNO" in said:
        effects.append(Emit("service.errno", f"it says that it failed with error {said['ERRNO'][:20]}"))
    return tuple(effects)


def called(service: Service, event: Input, now: Moment) -> Step:
    """Start for the connection that came."""
    assert isinstance(event, Called)
    if not service.listening:
        return Step(service)
    service = replace(service, listening=False, called=True)
    return begin(service, now, f"a connection came to {event.socket}")


def listen_failed(service: Service, event: Input, now: Moment) -> Step:
    """Give up: nobody can ever call."""
    assert isinstance(event, ListenFailed)
    if not service.listening:
        return Step(service)
    text = f"could not listen: {event.message}"
    emit = Emit("service.listen_failed", text)
    return Step(enter(replace(service, listening=False), State.FAILED, text, now), (emit, Unlisten()))
