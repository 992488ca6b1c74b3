"""What a target is asked: from a service's spec to the request that plugins know."""

from collections.abc import Mapping

from orchestra_supervisor.model.equipment import LimitsSpec
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.plugin_api.target import TargetRequest

__all__ = ["request_of"]

_BESIDE = ("ORCHESTRA_HOME", "ORCHESTRA_SERVICE", "ORCHESTRA_REPLICA", "ORCHESTRA_REPLICAS", "PORT")
"""Variables that every service is given."""
_PLAIN = (
    "user",
    "group",
    "groups",
    "umask",
    "nice",
    "oom_score_adj",
    "rlimits",
    "sockets",
    "notify",
    "watchdog",
)
"""Fields that are honoured by a process here, and set where they are not empty."""


def request_of(spec: ServiceSpec, env: Mapping[str, str], *, home: str, run: str = "") -> TargetRequest:
    """Return what a service's target is asked.

    Args:
        spec: The service.
        env: The whole environment of the run, or the service's own.
        home: State directory.
        run: The run's id; empty while a configuration is only checked.
    """
    uses = {name for name in _PLAIN if getattr(spec, name)}
    if spec.limits != LimitsSpec():
        uses.add("limits")
    return TargetRequest(
        service=spec.name,
        home=home,
        run=run,
        argv=spec.argv,
        cwd=spec.cwd,
        env={name: value for name, value in env.items() if name in spec.env or name in _BESIDE},
        options=spec.target.options,
        uses=frozenset(uses),
    )
