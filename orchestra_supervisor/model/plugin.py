"""A plugin as the fleet's settings name it, and as it stands."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = [
    "BUILTIN_PROBES",
    "BUILTIN_TARGETS",
    "ENTRY_POINT_PREFIX",
    "PLUGIN_NAME_PATTERN",
    "PluginReport",
    "PluginSpec",
    "PluginState",
]

PLUGIN_NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
"""A plugin's name is what its failures are told and counted under."""
BUILTIN_PROBES = ("http", "tcp", "grpc")
"""Kinds of checks that engine/builtin.py registers; no plugin may take their names."""
BUILTIN_TARGETS = ("process",)
"""Places where services run that it registers."""
ENTRY_POINT_PREFIX = "entry-point:"
"""Begins a `source` that is a name of the entry point group."""


class PluginSpec(BaseModel):
    """One plugin of the fleet. Options are handed on as they stand; secrets in them stay references."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    source: str
    """Absolute path of a file, a module's dotted name, or `entry-point:NAME`."""
    name: str | None = None
    """Instead of the plugin's own, where one plugin serves twice."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    timeout: Annotated[float, Field(ge=0.01, le=300)] = 5.0
    """Seconds for its import, and for each call."""
    enabled: bool = True


class PluginState(StrEnum):
    """Where a plugin stands."""

    OK = "ok"
    SUSPENDED = "suspended"
    """It failed several times in a row and is left alone for a while."""
    STUCK = "stuck"
    """A call does not come back, and cannot be ended: nothing is asked of it until it does."""
    FAILED = "failed"
    """It could not be loaded."""
    DISABLED = "disabled"
    """The settings say `enabled: false`."""


@dataclass(frozen=True, slots=True)
class PluginReport:
    """One plugin for people.

    Attributes:
        name: Its name; the source where it has none yet.
        version: As it says itself, or empty.
        source: Where it comes from.
        state: Where it stands.
        hooks: The hooks it implements.
        calls: Calls so far.
        failures: Calls that failed, its loading included.
        dropped: Events that it did not get, because it was too slow or failed too often.
        last_error: One line, or empty.
    """

    name: str
    version: str
    source: str
    state: PluginState
    hooks: tuple[str, ...]
    calls: int
    failures: int
    dropped: int
    last_error: str

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of the control API."""
        return asdict(self)
