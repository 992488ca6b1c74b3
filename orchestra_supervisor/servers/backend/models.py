"""What the backend's API takes and gives: agents and the tasks they are set."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from orchestra_supervisor.servers.rest import MAX_PAGE

__all__ = [
    "TASK_STEPS",
    "Agent",
    "AgentPatch",
    "AgentQuery",
    "DeleteQuery",
    "NewAgent",
    "NewTask",
    "NoQuery",
    "Task",
    "TaskPatch",
    "TaskQuery",
    "TaskState",
]

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", examples=["writer"])]
Tag = Annotated[str, Field(pattern=r"^[^\s,\x00]{1,64}$")]
Tags = Annotated[list[Tag], Field(max_length=20)]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00\r\n]+$")]
Text = Annotated[str, Field(max_length=256 * 1024)]
Priority = Annotated[int, Field(ge=0, le=9)]


class TaskState(StrEnum):
    """How far a task is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TASK_STEPS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.CANCELLED}),
    TaskState.RUNNING: frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.SUCCEEDED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}
"""State to the states that may follow it."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewAgent(_Model):
    """An agent to be."""

    id: Id | None = Field(
        default=None, description="Chosen by the client: creating it twice creates it once."
    )
    name: Line
    model: Line = Field(description="The model it runs on, as its provider names it.")
    instructions: Text = ""
    tags: Tags = Field(default_factory=list)
    enabled: bool = True


class AgentPatch(_Model):
    """What of an agent changes; a field that is absent stays."""

    name: Line = ""
    model: Line = ""
    instructions: Text = ""
    tags: Tags = Field(default_factory=list)
    enabled: bool = True


class Agent(_Model):
    """An agent."""

    id: str
    name: str
    model: str
    instructions: str
    tags: list[str]
    enabled: bool
    version: int = Field(description="Grows with every change; the ETag is this in quotes.")
    created_at: str
    updated_at: str


class NewTask(_Model):
    """A task to be set."""

    id: Id | None = Field(
        default=None, description="Chosen by the client: creating it twice creates it once."
    )
    title: Line
    input: Text = ""
    priority: Priority = 5


class TaskPatch(_Model):
    """What of a task changes; a field that is absent stays."""

    state: TaskState = TaskState.QUEUED
    title: Line = ""
    priority: Priority = 5
    output: Text = ""
    error: Text = ""


class Task(_Model):
    """A task of one agent."""

    id: str
    agent: str
    title: str
    input: str
    priority: int
    state: TaskState
    output: str
    error: str
    version: int = Field(description="Grows with every change; the ETag is this in quotes.")
    created_at: str
    updated_at: str
    started_at: str | None
    ended_at: str | None


class _Page(_Model):
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, Field(max_length=1000)] | None = None


class AgentQuery(_Page):
    """Which agents, and how many of them."""

    tag: Tag | None = None
    enabled: bool | None = None
    q: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="Part of id or name.")


class TaskQuery(_Page):
    """Which tasks, and how many of them."""

    state: TaskState | None = None


class DeleteQuery(_Model):
    """What goes with an agent."""

    tasks: Annotated[str, Field(pattern="^(keep|delete)$")] = "keep"


class NoQuery(_Model):
    """No parameter at all."""
