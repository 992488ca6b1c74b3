"""Replicas: one service that runs several times, and how many of it are wanted."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MAX_REPLICAS", "MAX_SERVICES", "GroupSpec", "ReplicaSpec", "replica_name"]

MAX_REPLICAS = 1_000
"""Replicas of one service."""
MAX_SERVICES = 2_000
"""Services of a fleet that has replicas, each replica counted: twice what a host is designed for."""


def replica_name(group: str, number: int) -> str:
    """Return the name of a replica: `web@2`."""
    return f"{group}@{number}"


class ReplicaSpec(BaseModel):
    """Which replica a service is."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    group: str
    """The name that the files give to all of them."""
    number: Annotated[int, Field(ge=1, le=MAX_REPLICAS)]
    count: Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
    """How many there are. A run is told at its start; another number is no reason for another run."""


class GroupSpec(BaseModel):
    """One service with replicas, as a whole; with none of them it is known here alone."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    configured: Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
    """What the file says."""
    count: Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
    """What holds: `configured`, or what somebody scaled it to since."""
    update: Literal["all", "rolling"] = "all"
    """How a changed configuration reaches them: all at once, or one after the other."""
