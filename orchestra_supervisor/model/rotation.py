"""What a service wants done when a secret that it was started with has another value."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["SecretChangeSpec"]


class SecretChangeSpec(BaseModel):
    """Nothing, a new run, its own way to reload, or a signal to its first process."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    action: Literal["ignore", "restart", "reload", "signal"] = "ignore"
    signal: str | None = None
    """Of the action `signal`, and of no other."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.action == "signal") is not (self.signal is not None):
            raise ValueError("has a signal exactly where the action is one")
        return self
