"""Random fleets, and random changes of them: of every class of field, and of who is there."""

import random

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    DependencySpec,
    Fleet,
    ProbeSet,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    StopSpec,
    StopStep,
    TcpCheck,
)
from orchestra_supervisor.model.states import Condition, Kind
from tests.simulation.world import BASE_PORT

__all__ = ["draw_change", "draw_fleet"]

_MOST = 7  # services that reloads make a fleet grow to


def draw_fleet(rng: random.Random) -> Fleet:
    services: dict[str, ServiceSpec] = {}
    for number in range(rng.randint(1, 6)):
        name = f"s{number}"
        others = [f"s{other}" for other in range(number)]
        depends_on = {
            other: DependencySpec(
                condition=_condition(rng, services[other].kind),
                on_failure=rng.choice(["keep", "keep", "stop", "restart"]),
            )
            for other in rng.sample(others, min(len(others), rng.choice([0, 0, 1, 2])))
        }
        services[name] = _draw_service(rng, name, number, depends_on)
    return Fleet(services=services)


def _condition(rng: random.Random, kind: Kind) -> Condition:
    if kind is not Kind.DAEMON:
        return rng.choice([Condition.READY, Condition.COMPLETED])
    return rng.choice([Condition.STARTED, Condition.READY, Condition.READY])


def _draw_service(
    rng: random.Random, name: str, number: int, depends_on: dict[str, DependencySpec]
) -> ServiceSpec:
    probe = ProbeSpec(
        check=TcpCheck(port=BASE_PORT + number),
        period=rng.choice([4.0, 30.0, 30.0]),
        timeout=1.0,
        failure_threshold=rng.choice([1, 3]),
    )
    kind = rng.choice([Kind.DAEMON] * 6 + [Kind.ONCE] * 2 + [Kind.PERIODIC])
    wanted = rng.choice(["", "r", "r", "rl", "srl"]) if kind is Kind.DAEMON else ""
    return ServiceSpec(
        name=name,
        kind=kind,
        schedule=_draw_schedule(rng) if kind is Kind.PERIODIC else None,
        argv=("x",),
        cwd="/",
        enabled=rng.random() < 0.9,
        start_on="demand" if kind is Kind.DAEMON and rng.random() < 0.2 else "boot",
        priority=rng.choice([1, 2, 999]),
        start_delay=rng.choice([0.0, 0.0, 0.0, 2.0]),
        depends_on=depends_on,
        startup_timeout=rng.choice([0.0, 10.0, 60.0]),
        probes=ProbeSet(
            startup=probe if "s" in wanted else None,
            readiness=probe if "r" in wanted else None,
            liveness=probe if "l" in wanted else None,
        ),
        restart=RestartSpec(
            policy=rng.choice(["always", "on-failure", "on-failure", "never"]),
            max_restarts=rng.choice([None, 0, 2, 5]),
            window=rng.choice([20.0, 300.0]),
            backoff=BackoffSpec(first_immediate=rng.random() < 0.7, cap=rng.choice([2.0, 30.0])),
            stable_after=rng.choice([1.0, 20.0]),
        ),
        stop=StopSpec(
            steps=rng.choice([(), (StopStep(wait=2.0),), (StopStep(wait=1.0), StopStep(wait=0.5))])
        ),
    )


def _draw_schedule(rng: random.Random) -> ScheduleSpec:
    return ScheduleSpec(
        every=None if (is_cron := rng.random() < 0.3) else rng.choice([10.0, 20.0, 120.0]),
        cron="* * * * *" if is_cron else None,
        jitter=rng.choice([0.0, 0.0, 3.0]),
        overlap=rng.choice(["skip", "queue", "replace"]),
        missed=rng.choice(["skip", "once", "all"]),
        on_start=rng.random() < 0.3,
    )


def draw_change(rng: random.Random, fleet: Fleet) -> Fleet:
    """Return the fleet with some services changed, and perhaps one more or one less."""
    services = dict(fleet.services)
    for name in rng.sample(sorted(services), min(len(services), rng.choice([0, 1, 1, 3]))):
        services[name] = _changed(rng, services[name], services)
    if rng.random() < 0.3 and len(services) > 1:
        gone = rng.choice(sorted(services))
        del services[gone]
        for name, spec in services.items():
            if gone in spec.depends_on:
                needs = {need: one for need, one in spec.depends_on.items() if need != gone}
                services[name] = spec.model_copy(update={"depends_on": needs})
    if rng.random() < 0.3:
        free = [number for number in range(_MOST) if f"s{number}" not in services]
        if free:
            number = rng.choice(free)  # perhaps one that was there before
            services[f"s{number}"] = _draw_service(rng, f"s{number}", number, {})
    return fleet.model_copy(update={"services": services})


def _changed(rng: random.Random, spec: ServiceSpec, services: dict[str, ServiceSpec]) -> ServiceSpec:
    """Change a service. Its restart limit stays, since what it allows is reckoned over the whole schedule."""
    number = int(spec.name[1:])
    other = _draw_service(rng, spec.name, number, {})
    below = [name for name in services if int(name[1:]) < number]
    needs = {
        name: DependencySpec(
            condition=_condition(rng, services[name].kind), on_failure=rng.choice(["keep", "stop", "restart"])
        )
        for name in rng.sample(below, min(len(below), rng.choice([0, 1, 2])))
    }
    restart = other.restart.model_copy(
        update={"max_restarts": spec.restart.max_restarts, "window": spec.restart.window}
    )
    changes: list[dict[str, object]] = [
        {"env": {"TURN": str(rng.randint(0, 9))}},
        {"env": {"TURN": str(rng.randint(0, 9))}, "title": "another"},
        {"enabled": not spec.enabled},
        {"start_on": other.start_on if spec.kind is Kind.DAEMON else "boot"},
        {"probes": other.probes if spec.kind is Kind.DAEMON else spec.probes},
        {"depends_on": needs},
        {"depends_on": needs, "env": {"TURN": "x"}},
        {"restart": restart},
        {"stop": other.stop, "startup_timeout": other.startup_timeout, "priority": other.priority},
    ]
    return spec.model_copy(update=rng.choice(changes))
