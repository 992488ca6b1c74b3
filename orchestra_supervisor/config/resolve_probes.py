"""From a probe as it is written to its spec."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestra_supervisor.config.form_probes import CHECK_KEYS, ProbeForm
from orchestra_supervisor.model.checks import GrpcCheck, LogCheck
from orchestra_supervisor.model.spec import Check, CommandCheck, HttpCheck, PluginCheck, ProbeSpec, TcpCheck

__all__ = ["probe_spec"]


def probe_spec(form: ProbeForm, timing: dict[str, Any], directory: Path) -> ProbeSpec:
    """Return what a probe checks, and when.

    Args:
        form: The probe as it is written.
        timing: What holds where it does not say.
        directory: The folder of its file, from which paths start.
    """
    said = {key: value for key, value in _given(form).items() if key not in CHECK_KEYS}
    return ProbeSpec(check=_check(form, directory), **(timing | said))


def _check(form: ProbeForm, directory: Path) -> Check:
    if form.http is not None:
        http = _placed(form.http, directory)
        renamed = {"body_match": http.pop("body")} if "body" in http else {}
        if "status" in http:
            http["status"] = tuple(http["status"])
        return HttpCheck(**http, **renamed)
    if form.tcp is not None:
        return TcpCheck(**_given(form.tcp))
    if form.grpc is not None:
        return GrpcCheck(**_placed(form.grpc, directory))
    if form.log is not None:
        return LogCheck(**_given(form.log))
    if form.plugin is not None:
        return PluginCheck(**_given(form.plugin))
    return CommandCheck(argv=tuple(form.command or ()))


def _placed(form: BaseModel, directory: Path) -> dict[str, Any]:
    """Return what was said in a form, the path of its socket absolute."""
    given = _given(form)
    if "unix" in given:
        given["unix"] = os.path.normpath(directory / given["unix"])
    return given


def _given(form: BaseModel) -> dict[str, Any]:
    """Return what was said in a form, without what was left out."""
    return {name: value for name in type(form).model_fields if (value := getattr(form, name)) is not None}
