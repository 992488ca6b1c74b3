"""How a stdio server is restarted and stopped where nobody says otherwise: as MCP servers want it.

It ends when its stdin does, so that comes first. It is never given up: somebody's conversation waits
for it, and after a while of crashes it is only tried now and then.
"""

from orchestra_supervisor.config.form_parts import RestartForm, StopForm
from orchestra_supervisor.model.spec import END_OF_INPUT, Seconds

__all__ = ["STDIO_RESTART", "STDIO_STOP"]

_GRACE: Seconds = 2.0  # the MCP specification, `basic/transports`: close stdin, wait, SIGTERM, wait, SIGKILL
_SLOWEST: Seconds = 300.0
_STABLE: Seconds = 60.0

STDIO_STOP = StopForm.model_validate(
    {"steps": [{"signal": END_OF_INPUT, "wait": _GRACE}, {"signal": "SIGTERM", "wait": _GRACE}]}
)
"""Close stdin, wait, SIGTERM, wait."""

STDIO_RESTART = RestartForm.model_validate(
    {
        "policy": "always",
        "backoff": {"initial": 1.0, "multiplier": 2.0, "cap": _SLOWEST},
        "max_restarts": "unlimited",
        "stable_after": _STABLE,
    }
)
"""At once, then after 1, 2, 4, 8, 16 ... 300 s; a run of a minute is a new beginning."""
