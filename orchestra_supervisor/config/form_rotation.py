"""The part of the native form that says what a changed secret means to a service."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestra_supervisor.config.form_parts import AlsoWritten, Form
from orchestra_supervisor.config.values import Text
from orchestra_supervisor.model.rotation import SecretChangeSpec
from orchestra_supervisor.model.spec import known_signal

__all__ = ["SecretChangeForm", "SecretChangeOrWord", "secret_change"]

_ACTIONS = ("ignore", "restart", "reload")


class SecretChangeForm(Form):
    """What is done when a secret of the service has another value: exactly one of action and signal."""

    action: Literal["ignore", "restart", "reload"] | None = Field(
        None, description="ignore: nothing; restart: a new run; reload: as `reload` says, else SIGHUP."
    )
    signal: Text | None = Field(None, description="Sent to the first process, SIGHUP for example.")

    @field_validator("signal")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        return None if value is None else known_signal(value)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.action is None) is (self.signal is None):
            raise ValueError("must have exactly one of action and signal")
        return self


def _to_change(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value in _ACTIONS:
        return {"action": value}
    try:
        return {"signal": known_signal(value)}
    except ValueError:
        msg = f"must be ignore, restart, reload or a signal like SIGHUP, not {value!r}"
        raise ValueError(msg) from None


SecretChangeOrWord = Annotated[
    SecretChangeForm,
    BeforeValidator(_to_change),
    AlsoWritten({"type": "string", "pattern": r"^(ignore|restart|reload|[A-Z0-9]+)$"}),
]


def secret_change(form: SecretChangeForm | None) -> SecretChangeSpec:
    """Return the spec of what was written, or the default."""
    if form is None:
        return SecretChangeSpec()
    return SecretChangeSpec(action=form.action or "signal", signal=form.signal)
