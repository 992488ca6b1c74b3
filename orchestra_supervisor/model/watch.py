"""What of the file system a service is restarted for."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["WatchSpec"]


class WatchSpec(BaseModel):
    """Files whose change gives a service a new run, or tells it to read its configuration again."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    """Globs and folders, relative to the working directory; a folder stands for all in it."""
    ignore: tuple[str, ...] = ()
    """Patterns as of a .gitignore in the working directory."""
    gitignore: bool = False
    """The working directory's .gitignore holds as well."""
    debounce: Annotated[float, Field(ge=0.01, le=60)] = 0.3
    """Seconds of quiet that end a burst of changes."""
    action: Literal["restart", "reload"] = "restart"
