"""The parts of the native form that stand inside services: restarts, stops, needs.

None means "not said"; defaults are filled in by `resolve`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from orchestra_supervisor.config.values import (
    CommandLine,
    Duration,
    Flag,
    RestartLimit,
    ServiceName,
    Text,
)
from orchestra_supervisor.model.spec import END_OF_INPUT, StopStep

__all__ = [
    "AlsoWritten",
    "BackoffForm",
    "DependenciesForm",
    "DependencyForm",
    "Form",
    "RestartForm",
    "RestartOrPolicy",
    "StopForm",
    "StopStepForm",
    "closes_stdin",
    "spell_out",
]


class Form(BaseModel):
    """What all forms share: exact types, no unknown keys."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, eq=False)
class AlsoWritten:
    """Adds a shorthand to the JSON Schema of a type."""

    shorthand: dict[str, object]

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [self.shorthand, handler(core_schema)]}


def spell_out(key: str) -> BeforeValidator:
    """Take a plain value as an object with this one key."""

    def to_object(value: object) -> object:
        return cast("object", value) if isinstance(value, dict) else {key: value}

    return BeforeValidator(to_object)


def _to_dependency(entry: object) -> object:
    return {"condition": entry} if isinstance(entry, str) else entry


def _to_dependencies(value: object) -> object:
    """Spell out a list of names, and a condition that stands alone."""
    if isinstance(value, list):
        names = cast("list[object]", value)
        if not all(isinstance(name, str) for name in names):
            raise ValueError("must be a list of names, or an object")
        return {str(name): dict[str, object]() for name in names}
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {name: _to_dependency(entry) for name, entry in entries.items()}
    return value


class BackoffForm(Form):
    """How long to wait before the next start: initial * multiplier**n, capped, jittered."""

    initial: Duration | None = Field(None, description="First delay. Default: 500ms.")
    multiplier: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] | None = Field(
        None, description="Growth from one delay to the next. Default: 2."
    )
    cap: Duration | None = Field(None, description="Longest delay. Default: 60s.")
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="Share of a delay added at random, 0 to 1. Default: 0.1."
    )
    first_immediate: Flag | None = Field(
        None, description="The first restart after a stable spell happens at once. Default: true."
    )


class RestartForm(Form):
    """When a run that ended is followed by another."""

    policy: Literal["always", "on-failure", "never"] | None = Field(
        None, description="Default: on-failure for a daemon, never for a once job."
    )
    success_exit_codes: list[Annotated[int, Field(ge=0, le=255)]] | None = Field(
        None, description="Exit codes that are no failure. Default: [0]."
    )
    backoff: BackoffForm | None = Field(None, description="Delays between restarts.")
    max_restarts: RestartLimit | None = Field(
        None,
        description='Restarts within `window` before the service is failed, or "unlimited". Default: 10.',
    )
    window: Duration | None = Field(None, description="Time over which restarts are counted. Default: 5m.")
    stable_after: Duration | None = Field(
        None, description="A run this long resets the backoff. Default: 30s."
    )


class StopStepForm(Form):
    """One signal and the time it is given."""

    signal: Text | None = Field(
        None, description="Name of a signal, or EOF: close the stdin of a stdio service. Default: SIGTERM."
    )
    wait: Duration | None = Field(None, description="Until the next step. Default: 10s.")

    @field_validator("signal")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        return None if value is None else StopStep(signal=value).signal


class StopForm(Form):
    """The stop sequence; SIGKILL to all that is left always follows."""

    signal: Text | None = Field(None, description="Shorthand for one step: its signal. Default: SIGTERM.")
    grace: Duration | None = Field(None, description="Shorthand for one step: its wait. Default: 10s.")
    command: CommandLine | None = Field(
        None, description="Run first, with MAINPID in its environment; the signals follow after its timeout."
    )
    timeout: Annotated[Duration, Field(ge=0.01, le=86_400)] | None = Field(
        None, description="How long the command has to end the run. Default: 60s."
    )
    steps: list[StopStepForm] | None = Field(
        None, description="Signals in order, each with its wait. Instead of signal and grace."
    )
    scope: Literal["group", "leader"] | None = Field(
        None, description="Whom the signals reach: the process group, or its leader alone. Default: group."
    )

    @field_validator("signal")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        return None if value is None else StopStep(signal=value).signal

    @model_validator(mode="after")
    def _is_one_form(self) -> Self:
        if self.steps is not None and (self.signal is not None or self.grace is not None):
            raise ValueError("must have steps, or signal and grace, not both")
        if self.timeout is not None and self.command is None:
            raise ValueError("has a timeout only with a command")
        return self


def closes_stdin(form: StopForm | None) -> bool:
    """Tell whether a stop sequence has a step that only a stdio service can follow."""
    if form is None:
        return False
    return END_OF_INPUT in {form.signal, *(step.signal for step in form.steps or ())}


class DependencyForm(Form):
    """What a service needs of another."""

    condition: Literal["started", "ready", "completed"] | None = Field(
        None, description="What to wait for. Default: ready."
    )
    on_failure: Literal["keep", "stop", "restart"] | None = Field(
        None, description="When the dependency fails while this service runs. Default: keep."
    )


RestartOrPolicy = Annotated[
    RestartForm, spell_out("policy"), AlsoWritten({"enum": ["always", "on-failure", "never"]})
]
DependenciesForm = Annotated[
    dict[ServiceName, DependencyForm],
    BeforeValidator(_to_dependencies),
    AlsoWritten(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {
                    "type": "object",
                    "additionalProperties": {"enum": ["started", "ready", "completed"]},
                },
            ]
        }
    ),
]
