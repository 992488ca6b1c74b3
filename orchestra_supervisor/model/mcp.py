"""MCP in a fleet: the servers behind the gateway, and what the fleet's settings say of the gateway itself."""

import ipaddress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

__all__ = [
    "GATEWAY",
    "GATEWAY_SOCKET",
    "HTTP_SOCKET",
    "OWN_PREFIX",
    "PROFILE_NAME_PATTERN",
    "CacheSpec",
    "CanarySpec",
    "McpBackendSpec",
    "McpSettings",
    "McpSpec",
    "OnHang",
    "Pins",
    "ProfileSpec",
    "Sharing",
    "split_address",
]

OWN_PREFIX = "@"
"""Begins the names of services of our own, which no file can give: only who names one sees it."""
GATEWAY = "@gateway"
"""The service that talks MCP."""
GATEWAY_SOCKET = "mcp"
"""Name of its Unix socket."""
HTTP_SOCKET = "mcp_http"
"""Name of its TCP socket, where the settings want one."""
PROFILE_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
"""A profile's name is a segment of a URL."""

Sharing = Literal["shared", "per_client", "per_session", "pool"]
"""Who gets an instance of a stdio server: all one; each client, or each conversation, its own; whoever calls
one of several."""
Pins = Literal["off", "flag", "block"]
OnHang = Literal["restart", "report"]
"""What becomes of a tool that is not what it was when it was first seen."""
_Seconds = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]


class _Spec(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class CacheSpec(_Spec):
    """How long results of tools that change nothing may be used again; `none` or 0 seconds: not at all."""

    ttl: _Seconds = 0.0
    strategy: Literal["lru", "none"] = "none"


class CanarySpec(_Spec):
    """A call that shows whether a server does what it is for."""

    tool: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class McpBackendSpec(_Spec):
    """An MCP server behind the gateway: a stdio server run as a service here, or one with an address."""

    name: str
    endpoint: str | None = None
    """None: it speaks on its stdin and stdout, and `service` runs it."""
    headers: dict[str, str] = Field(default_factory=dict)
    """As written: variables and secrets in them are filled in when the gateway asks for them."""
    capabilities: tuple[str, ...] = ()
    description: str = ""
    priority: int = 999
    service: str | None = None
    """Of a stdio server: the service, or the name of its replicas, that runs it. Of an address: the service
    of this fleet that owns its port, or None: it is external."""
    sharing: Sharing = "shared"
    size: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Instances at most."""
    lazy: bool = True
    """Started by the first call."""
    idle_stop: _Seconds | None = None
    """Seconds without a call after which a stdio server is stopped; None: as the settings say; 0: never."""
    retry_safe: bool = False
    """A call of a tool that changes nothing is tried once more when the server went away under it."""
    timeout: Annotated[float, Field(ge=0.1, le=86_400)] = 60.0
    """Seconds a call may take."""
    cache: CacheSpec | None = None
    """None: as for all."""
    pins: Pins | None = None
    """None: as the settings say."""
    tools: tuple[str, ...] = ("*",)
    """Globs of the tools that are shown."""
    canary: CanarySpec | None = None
    on_hang: OnHang | None = None
    """restart: the run of one that does not answer is ended, and the restart policy says what follows.
    None: restart of a stdio server, report of an address."""


class McpSpec(_Spec):
    """What `claude_mcp_config.json` and client files say of MCP servers."""

    backends: dict[str, McpBackendSpec] = Field(default_factory=dict)
    routing: dict[str, str] = Field(default_factory=dict)
    cache_ttl: _Seconds = 0.0
    cache_strategy: Literal["lru", "none"] = "none"


class ProfileSpec(_Spec):
    """A choice of servers and tools under a path of its own."""

    servers: tuple[str, ...] = ("*",)
    """Globs of backends."""
    tools: tuple[str, ...] = ("*",)
    """Globs of `server__tool`."""
    search: bool = False
    """Tools are found by search instead of listed."""


class McpSettings(_Spec):
    """The gateway of a fleet."""

    enabled: bool = True
    """False: there is none."""
    http: str | None = None
    """`address:port` on which it serves MCP over HTTP; None: on its Unix socket alone."""
    auth: Literal["token", "none"] = "token"
    pins: Pins = "flag"
    search: bool = False
    idle_stop: _Seconds = 600.0
    """Seconds without a call after which a stdio server is stopped, and without a client after which the
    gateway ends; 0: never."""
    config_apply: bool = False
    """Its callers may change the configuration."""
    rate: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Calls of control tools in a minute, of each caller."""
    profiles: dict[Annotated[str, Field(pattern=PROFILE_NAME_PATTERN)], ProfileSpec] = Field(
        default_factory=dict
    )

    @field_validator("http")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            split_address(value)
        return value

    @property
    def is_open(self) -> bool:
        """True where anybody who reaches the address may call, whoever they are."""
        return self.http is not None and self.auth == "none"


def split_address(text: str) -> tuple[str, int]:
    """Return the IP address and port of `address:port`, `[::1]:port`, `localhost:port` or a port alone.

    Raises:
        ValueError: It is none of these; the message says what it must be.
    """
    host, _, port = text.rpartition(":")
    is_number = port.isascii() and port.isdecimal() and len(port) <= 5
    if not is_number or not 1 <= int(port) <= 65_535:
        raise ValueError('must be "address:port" with a port from 1 to 65535, like "127.0.0.1:8765"')
    if host in ("", "localhost"):
        return "127.0.0.1", int(port)
    try:
        return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        msg = f"must have an IP address or localhost before the port, not {host!r}"
        raise ValueError(msg) from None
