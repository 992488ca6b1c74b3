"""From a probe as it is written to its spec."""

from typing import Any

from pydantic import BaseModel

from orchestra_supervisor.config.form_probes import ProbeForm
from orchestra_supervisor.model.spec import CommandCheck, HttpCheck, PluginCheck, ProbeSpec, TcpCheck

__all__ = ["probe_spec"]

_CHECKS = ("http", "tcp", "command", "plugin")


def probe_spec(form: ProbeForm, timing: dict[str, Any]) -> ProbeSpec:
    """Return what a probe checks, and when.

    Args:
        form: The probe as it is written.
        timing: What holds where it does not say.
    """
    said = {key: value for key, value in _given(form).items() if key not in _CHECKS}
    return ProbeSpec(check=_check(form), **(timing | said))


def _check(form: ProbeForm) -> HttpCheck | TcpCheck | CommandCheck | PluginCheck:
    if form.http is not None:
        http = _given(form.http)
        renamed = {"body_match": http.pop("body")} if "body" in http else {}
        if "status" in http:
            http["status"] = tuple(http["status"])
        return HttpCheck(**http, **renamed)
    if form.tcp is not None:
        return TcpCheck(**_given(form.tcp))
    if form.plugin is not None:
        return PluginCheck(**_given(form.plugin))
    return CommandCheck(argv=tuple(form.command or ()))


def _given(form: BaseModel) -> dict[str, Any]:
    """Return what was said in a form, without what was left out."""
    return {name: value for name in type(form).model_fields if (value := getattr(form, name)) is not None}
