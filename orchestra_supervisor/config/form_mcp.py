"""The part of the settings that says how the gateway talks MCP.

None means "not said"; defaults are filled in by `mcp_settings`.
"""

import ipaddress
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestra_supervisor.config.form_parts import AlsoWritten, Form
from orchestra_supervisor.config.values import Duration, Flag, Integer, Text
from orchestra_supervisor.model.mcp import PROFILE_NAME_PATTERN, McpSettings, ProfileSpec, split_address

__all__ = ["McpForm", "McpOrFlag", "ProfileForm", "mcp_settings"]


def _to_address(value: object) -> object:
    """Take a port for an address of this host."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class ProfileForm(Form):
    """Some servers and tools under a path of their own."""

    servers: list[Text] | None = Field(None, description="Names or globs of MCP servers. Default: all.")
    tools: list[Text] | None = Field(None, description="Globs of server__tool. Default: all.")
    search: Flag | None = Field(None, description="Find tools by search instead of listing them all.")


class McpForm(Form):
    """How the fleet talks MCP."""

    enabled: Flag | None = Field(None, description="false: there is no gateway. Default: true.")
    http: Annotated[
        Text | None,
        BeforeValidator(_to_address),
        AlsoWritten({"type": "integer", "minimum": 1, "maximum": 65535}),
    ] = Field(
        None, description='"address:port" to serve MCP over HTTP on. Default: on the Unix socket alone.'
    )
    auth: Literal["token", "none"] | None = Field(
        None, description="none: whoever reaches the HTTP address may call; loopback only. Default: token."
    )
    pins: Literal["off", "flag", "block"] | None = Field(
        None, description="What becomes of a tool that has changed since it was first seen. Default: flag."
    )
    search: Flag | None = Field(
        None, description="Find tools by search instead of listing them all. Default: false."
    )
    idle_stop: Duration | None = Field(
        None, description="A stdio server that nobody calls is stopped after this; 0: never. Default: 10m."
    )
    config_apply: Flag | None = Field(
        None, description="MCP clients may change the configuration. Default: false."
    )
    rate: Annotated[Integer, Field(ge=1, le=100_000)] | None = Field(
        None, description="Calls of control tools in a minute, of each caller. Default: 60."
    )
    profiles: dict[Annotated[Text, Field(pattern=PROFILE_NAME_PATTERN)], ProfileForm] | None = Field(
        None, description="Name to a choice of servers and tools, under /gw/NAME/mcp."
    )

    @field_validator("http")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            split_address(value)
        return value

    @model_validator(mode="after")
    def _is_closed(self) -> Self:
        if self.http is not None and self.auth == "none":
            host, _ = split_address(self.http)
            if not ipaddress.ip_address(host).is_loopback:
                msg = f"has auth: none on {host}, where others reach it: bind 127.0.0.1, or use tokens"
                raise ValueError(msg)
        return self


def _to_form(value: object) -> object:
    return {"enabled": value} if isinstance(value, bool) else value


McpOrFlag = Annotated[McpForm, BeforeValidator(_to_form), AlsoWritten({"type": "boolean"})]
"""An object, or whether there is a gateway."""


def mcp_settings(form: McpForm) -> McpSettings:
    """Return what a form comes to."""
    values: dict[str, Any] = {
        name: value
        for name in McpForm.model_fields
        if name != "profiles" and (value := getattr(form, name)) is not None
    }
    if form.http is not None:
        host, port = split_address(form.http)
        values["http"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    values["profiles"] = {name: _profile(one) for name, one in (form.profiles or {}).items()}
    return McpSettings(**values)


def _profile(form: ProfileForm) -> ProfileSpec:
    values: dict[str, Any] = {}
    if form.servers is not None:
        values["servers"] = tuple(form.servers)
    if form.tools is not None:
        values["tools"] = tuple(form.tools)
    if form.search is not None:
        values["search"] = form.search
    return ProfileSpec(**values)
