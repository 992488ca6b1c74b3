"""The bodies that the control API takes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from orchestra_supervisor.model.replicas import MAX_REPLICAS

__all__ = [
    "AuditRequest",
    "CheckRequest",
    "DemandRequest",
    "HeadersRequest",
    "PlanRequest",
    "ReloadRequest",
    "RestartRequest",
    "RunRequest",
    "ScaleRequest",
    "ShutdownRequest",
    "SignalRequest",
    "TellRequest",
    "ToldRequest",
    "VerbRequest",
    "WaitRequest",
]

Names = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=5_000)
]
Timeout = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", str_max_length=4_096)


class VerbRequest(_Request):
    """Start, stop or restart services."""

    names: Names
    wait: Literal["ready", "stopped", "none"] = "ready"
    """`none` answers when the verb is taken; the others wait for what the verb leads to."""
    timeout: Timeout = 60.0
    with_dependents: bool = False
    reason: str = ""


class DemandRequest(VerbRequest):
    """Start or stop services, perhaps as one who needs them and does not decide about them."""

    demand: bool = False
    """start: refused where somebody has stopped one by hand; stop: it rests until it is needed again.
    restart: its run was found not to answer: it ends, and its restart policy says what follows."""


class RestartRequest(DemandRequest):
    """Restart services, at once or one replica after the other."""

    rolling: bool = False
    batch: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = 1
    """Of a rolling restart: replicas of one name that may be away at once."""


class ScaleRequest(_Request):
    """Have other numbers of replicas."""

    replicas: Annotated[dict[str, int], Field(min_length=1, max_length=1_000)]
    """Name to number."""
    wait: Literal["ready", "none"] = "ready"
    timeout: Timeout = 60.0
    reason: str = ""


class RunRequest(_Request):
    """Run periodic and once services now."""

    names: Names
    wait: Literal["completed", "none"] = "none"
    """`completed` waits for the end of the run."""
    timeout: Timeout = 60.0
    reason: str = ""


class SignalRequest(_Request):
    """Send a signal."""

    names: Names
    signal: Annotated[str, Field(pattern=r"^(SIG)?[A-Z0-9+]{2,12}$")]
    scope: Literal["leader", "group", "tree"] = "leader"


class TellRequest(_Request):
    """Tell services to read their own configuration again."""

    names: Names


class WaitRequest(_Request):
    """Wait for a condition."""

    model_config = ConfigDict(defer_build=True, extra="forbid", populate_by_name=True)

    names: Names
    goal: Annotated[Literal["ready", "stopped", "completed"], Field(alias="for")]
    timeout: Timeout = 60.0


class PlanRequest(_Request):
    """Say what a reload would do."""

    files: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=1_000)] = []
    """Absolute paths to read in place of the fleet's own files; for its owner alone."""


class ReloadRequest(_Request):
    """Read the configuration anew."""


class CheckRequest(_Request):
    """Run the probes of services now."""

    names: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=5_000)] = []
    """None: nobody is checked, and only ports are looked at."""
    ports: Annotated[list[Annotated[int, Field(ge=1, le=65_535)]], Field(max_length=64)] = []
    """Further TCP ports whose owners are wanted."""


class AuditRequest(_Request):
    """Write down what somebody did."""

    kind: Annotated[str, Field(pattern=r"^mcp\.[a-z_]{1,40}$")]
    message: Annotated[str, Field(min_length=1, max_length=1_000)]
    service: Annotated[str, Field(max_length=64)] = ""
    data: Annotated[dict[str, JsonValue], Field(max_length=50)] = {}


class HeadersRequest(_Request):
    """Tell the headers of an MCP server, with secrets filled in."""

    backend: Annotated[str, Field(min_length=1, max_length=256)]


class ToldRequest(_Request):
    """Say that event listeners were told of everything up to an event."""

    seq: Annotated[int, Field(ge=0)]


class ShutdownRequest(_Request):
    """Take the fleet down."""

    reason: str = ""
