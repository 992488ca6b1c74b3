"""An entry of a list of MCP servers: what clients know of it, and what the gateway does with it.

Clients keep keys of their own beside these, and give some of ours another meaning: such a value is
told and left out, and never keeps a fleet from starting.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from orchestra_supervisor.config.draft import BackendDraft, Body
from orchestra_supervisor.config.findings import Finding, Findings, Severity, shown
from orchestra_supervisor.config.form_parts import Form
from orchestra_supervisor.config.judge import judge
from orchestra_supervisor.config.values import Duration, EnvValue, Flag, Integer, Text
from orchestra_supervisor.model.mcp import CacheSpec, CanarySpec, OnHang, Pins, Sharing

__all__ = ["BackendForm", "CacheForm", "CanaryForm", "HeadForm", "backend_form", "cache_spec", "canary_spec"]

_CallTime = Annotated[Duration, Field(ge=0.1, le=86_400)]
_MOST_SECONDS = 1_000  # a plain number from here on is one of milliseconds, as some clients count


class _Open(BaseModel):
    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)


class CacheForm(_Open):
    """How long results may be used again."""

    ttl: Duration | None = None
    strategy: Literal["lru", "none"] | None = None


class CanaryForm(Form):
    """A call that shows whether the server works."""

    tool: Annotated[Text, Field(min_length=1)]
    arguments: dict[str, JsonValue] | None = None


class BackendForm(_Open):
    """One MCP server."""

    endpoint: Text | None = None
    url: Text | None = None
    command: Annotated[Text, Field(min_length=1)] | None = None
    args: list[Text] | None = None
    env: dict[str, EnvValue | None] | None = None
    cwd: Text | None = None
    headers: dict[str, Text] | None = None
    capabilities: list[Text] | None = None
    description: Text | None = None
    priority: int | None = None
    sharing: Sharing | None = None
    size: Annotated[Integer, Field(ge=1, le=1_000)] | None = None
    lazy: Flag | None = None
    idle_stop: Duration | None = None
    retry_safe: Flag | None = None
    timeout: _CallTime | None = None
    cache: CacheForm | None = None
    pins: Pins | None = None
    tools: list[Text] | None = None
    canary: CanaryForm | None = None
    on_hang: OnHang | None = None
    service: dict[str, JsonValue] | None = None
    """Further keys of the service that runs a stdio server; held to the form of a service as such."""


class HeadForm(_Open):
    """What holds for all servers of a file."""

    routing: dict[str, Text] | None = None
    cache: CacheForm | None = None


_SHARED: dict[str, TypeAdapter[Any]] = {
    "timeout": TypeAdapter(_CallTime | None, config=ConfigDict(defer_build=True, strict=True)),
    "tools": TypeAdapter(list[Text] | None, config=ConfigDict(defer_build=True, strict=True)),
    "cache": TypeAdapter(CacheForm | None),
    "service": TypeAdapter(dict[str, JsonValue] | None, config=ConfigDict(defer_build=True, strict=True)),
}
"""Keys that clients may have for something else."""


def backend_form(draft: BackendDraft, subject: str, findings: Findings) -> BackendForm | None:
    """Check an entry.

    Args:
        draft: As it was written.
        subject: Begins messages.
        findings: Gets what is wrong.

    Returns:
        The form, or None where a key of ours has a fault.
    """
    body = dict(draft.body)
    for key, adapter in _SHARED.items():
        if key not in body:
            continue
        body[key] = _in_seconds(draft, body, subject, findings) if key == "timeout" else body[key]
        try:
            adapter.validate_python(body[key])
        except ValidationError:
            del body[key]
            message = f"{subject}: `{key}` is not what the gateway means by it, and is left out"
            hint = "docs/configuration.md says what each key takes"
            place = draft.origin.where((key,), key=True)
            findings.add(Finding(Severity.WARNING, "mcp.key_ignored", message, (place,), key, hint=hint))
    return judge(BackendForm, body, draft.origin, findings, subject=subject)


def _in_seconds(draft: BackendDraft, body: Body, subject: str, findings: Findings) -> object:
    value = body["timeout"]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < _MOST_SECONDS:
        return value
    message = f"{subject}: `timeout` {shown(value)} is read as milliseconds, as clients write it"
    place = draft.origin.where(("timeout",))
    hint = f'write "{value / 1000:g}s"'
    findings.add(Finding(Severity.INFO, "mcp.timeout_read_as", message, (place,), "timeout", hint=hint))
    return value / 1000


def cache_spec(form: CacheForm | None) -> CacheSpec | None:
    """Return what a form comes to: a time alone means `lru`."""
    if form is None:
        return None
    return CacheSpec(ttl=form.ttl or 0.0, strategy=form.strategy or ("lru" if form.ttl else "none"))


def canary_spec(form: CanaryForm | None) -> CanarySpec | None:
    """Return what a form comes to."""
    return None if form is None else CanarySpec(tool=form.tool, arguments=form.arguments or {})
