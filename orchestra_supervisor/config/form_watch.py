"""The part of the native form that says for which files a service is restarted."""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from orchestra_supervisor.config.form_parts import AlsoWritten, Form
from orchestra_supervisor.config.values import Duration, Flag, Text
from orchestra_supervisor.model.watch import WatchSpec

__all__ = ["WatchForm", "WatchOrPaths", "watch_spec"]

_Pattern = Annotated[Text, Field(min_length=1)]


class WatchForm(Form):
    """Files whose change restarts a service."""

    paths: Annotated[list[_Pattern], Field(min_length=1)] = Field(
        description="Globs and folders, relative to cwd; ** stands for any folders, a folder for all in it."
    )
    ignore: list[_Pattern] | None = Field(None, description="Patterns as of a .gitignore in cwd.")
    gitignore: Flag | None = Field(None, description="The .gitignore in cwd holds as well. Default: false.")
    debounce: Annotated[Duration, Field(ge=0.01, le=60)] | None = Field(
        None, description="Quiet that ends a burst of changes, 10ms to 60s. Default: 300ms."
    )
    action: Literal["restart", "reload"] | None = Field(
        None, description="restart: a new run; reload: the signal of `reload`, else SIGHUP. Default: restart."
    )


def _to_watch(value: object) -> object:
    return {"paths": cast("object", value)} if isinstance(value, list) else value


WatchOrPaths = Annotated[
    WatchForm,
    BeforeValidator(_to_watch),
    AlsoWritten({"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}),
]


def watch_spec(form: WatchForm | None) -> WatchSpec | None:
    """Return the spec of what was written, defaults filled in."""
    if form is None:
        return None
    given: dict[str, Any] = {
        name: value for name in WatchForm.model_fields if (value := getattr(form, name)) is not None
    }
    return WatchSpec.model_validate({**given, "paths": tuple(form.paths), "ignore": tuple(form.ignore or ())})
