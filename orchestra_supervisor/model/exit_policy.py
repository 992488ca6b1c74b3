"""When a fleet ends by itself."""

from pydantic import BaseModel, ConfigDict

__all__ = ["ExitPolicySpec"]


class ExitPolicySpec(BaseModel):
    """What ends a fleet, besides whoever tells it to; each part on its own is enough."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    ends: tuple[str, ...] = ()
    """Services, or groups of replicas: one of them has ended, and is not started again."""
    required_fails: bool = False
    """A service that is required for the system has failed for good, whenever that is."""
    all_ended: bool = False
    """Nothing runs any more, and nothing is to run."""
