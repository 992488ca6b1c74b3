"""Plugins as the settings of a file name them."""

import os
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field, JsonValue

from orchestra_supervisor.config.form_parts import AlsoWritten, Form, spell_out
from orchestra_supervisor.config.values import Duration, Flag, Text
from orchestra_supervisor.model.plugin import PLUGIN_NAME_PATTERN, PluginSpec
from orchestra_supervisor.model.spec import TargetSpec

__all__ = ["PluginForm", "PluginOrSource", "TargetForm", "TargetOrName", "plugin_spec", "target_spec"]


class PluginForm(Form):
    """One plugin."""

    plugin: Text = Field(
        min_length=1,
        description='A file ("./plugins/x.py", relative to this one), a module, or "entry-point:NAME".',
    )
    name: Text | None = Field(
        None,
        pattern=PLUGIN_NAME_PATTERN,
        description="Instead of its own name, where one plugin serves twice.",
    )
    options: dict[str, JsonValue] | None = Field(
        None, description='What the plugin takes; "secret:NAME" is resolved when it is needed.'
    )
    timeout: Annotated[Duration, Field(ge=0.01, le=300)] | None = Field(
        None, description="For its import and each call, 10ms to 5m. Default: 5s."
    )
    enabled: Flag | None = Field(None, description="false: listed, and not loaded. Default: true.")


PluginOrSource = Annotated[PluginForm, spell_out("plugin"), AlsoWritten({"type": "string"})]
"""A plugin, or its source alone."""


class TargetForm(Form):
    """Where a service runs."""

    name: Text = Field(min_length=1, description="process: here; else as a plugin calls it.")
    options: dict[str, JsonValue] | None = Field(None, description="What that target takes.")


TargetOrName = Annotated[TargetForm, spell_out("name"), AlsoWritten({"type": "string"})]
"""A target, or its name alone."""


def target_spec(form: TargetForm | None) -> TargetSpec:
    """Return what a form comes to; a process here where there is none."""
    return TargetSpec() if form is None else TargetSpec(name=form.name, options=form.options or {})


def plugin_spec(form: PluginForm, folder: Path) -> PluginSpec:
    """Return what a form comes to.

    Args:
        form: As written.
        folder: What a relative file name starts from.
    """
    given = {key: getattr(form, key) for key in ("name", "options", "timeout", "enabled")}
    source = str(form.plugin)
    if "/" in source or source.endswith(".py"):
        source = os.path.normpath(folder / source)
    values = {key: cast("object", value) for key, value in given.items() if value is not None}
    return PluginSpec.model_validate({"source": source, **values})
