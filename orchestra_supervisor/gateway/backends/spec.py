"""What the daemon says of the gateway's settings and backends, as frozen values.

Source: the answer of `GET /v1/mcp`. The daemon has checked it; what is missing gets the default here, so
that a gateway of another version than its daemon still runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestra_supervisor.gateway.backends.fields import decimal, flag, member, objects, text, texts, whole
from orchestra_supervisor.gateway.messages import Json

__all__ = [
    "BackendSpec",
    "CachePolicy",
    "Canary",
    "GatewaySpec",
    "Pins",
    "Profile",
    "Sharing",
    "parse_gateway",
]

DEFAULT_TIMEOUT = 60.0
"""Seconds for a call where the configuration names no other figure."""


class Sharing(StrEnum):
    """Who uses one instance of a server together."""

    SHARED = "shared"
    PER_CLIENT = "per_client"
    PER_SESSION = "per_session"
    POOL = "pool"


class Pins(StrEnum):
    """What is done about a tool that is not as it was when it was first seen."""

    OFF = "off"
    FLAG = "flag"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long results of safe tools are used again.

    Attributes:
        ttl: Seconds; 0: never.
        strategy: `lru` or `none`.
    """

    ttl: float = 0.0
    strategy: str = "none"

    @property
    def is_on(self) -> bool:
        """True where results are kept at all."""
        return self.strategy == "lru" and self.ttl > 0


@dataclass(frozen=True, slots=True)
class Canary:
    """A call that shows that a server does its work: a tool that changes nothing, and its arguments."""

    tool: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One server behind the gateway.

    Attributes:
        name: As configured; the first half of its tools' names.
        is_stdio: Over pipes that the keeper holds; else over HTTP.
        url: Of an HTTP server.
        service: The service that is it; empty for one that is only checked.
        description: For people and for the model.
        capabilities: What `routing` may send here.
        priority: Lower goes first where several could answer.
        sharing: Who uses one instance together.
        size: Most instances.
        is_lazy: Started by its first call.
        idle_stop: Seconds without a call after which a lazy one is stopped; 0: never.
        is_retry_safe: A safe call that failed because the server went away is made once more.
        timeout: Seconds for a call.
        cache: Of results.
        pins: About changed tools.
        tools: Patterns of the tools that are offered; empty: all.
        is_ended_when_hung: Where it does not answer any more, the daemon is asked to end its run.
        canary: A call that proves that it works, or None.
        members: The services that are its instances.
        header_names: Names of the headers that it is sent; the values are asked for when they are needed.
    """

    name: str
    is_stdio: bool
    url: str = ""
    service: str = ""
    description: str = ""
    capabilities: tuple[str, ...] = ()
    priority: int = 0
    sharing: Sharing = Sharing.SHARED
    size: int = 1
    is_lazy: bool = False
    idle_stop: float = 0.0
    is_retry_safe: bool = False
    timeout: float = DEFAULT_TIMEOUT
    cache: CachePolicy = field(default_factory=CachePolicy)
    pins: Pins = Pins.FLAG
    tools: tuple[str, ...] = ()
    is_ended_when_hung: bool = False
    canary: Canary | None = None
    members: tuple[str, ...] = ()
    header_names: tuple[str, ...] = ()

    @property
    def is_isolated(self) -> bool:
        """True where each client or session has an instance of its own."""
        return self.sharing in {Sharing.PER_CLIENT, Sharing.PER_SESSION}


@dataclass(frozen=True, slots=True)
class Profile:
    """What a path or token may see: patterns of servers, and of `server__tool`; empty: all."""

    servers: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    is_search: bool = False


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """The settings that matter behind the front.

    Attributes:
        backends: In the order in which they are shown: by priority, then as configured.
        profiles: By name.
        routing: Capability to server.
        is_search: The catalog without a profile is in search mode.
    """

    backends: tuple[BackendSpec, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict[str, Profile])
    routing: Mapping[str, str] = field(default_factory=dict[str, str])
    is_search: bool = False


def parse_gateway(answer: Json) -> GatewaySpec:
    """Return what the answer of `GET /v1/mcp` says; of two backends with one name the first holds."""
    settings = member(answer, "settings")
    cache = _cache(member(settings, "cache"), CachePolicy())
    pins = _pins(text(settings, "pins"), Pins.FLAG)
    backends: dict[str, BackendSpec] = {}
    for row in objects(answer, "backends"):
        spec = _backend(row, settings, cache, pins)
        if spec.name:
            backends.setdefault(spec.name, spec)
    profiles = member(settings, "profiles")
    routing = member(settings, "routing")
    return GatewaySpec(
        backends=tuple(sorted(backends.values(), key=lambda spec: spec.priority)),
        profiles={
            name: Profile(texts(one, "servers"), texts(one, "tools"), flag(one, "search"))
            for name, one in profiles.items()
        },
        routing={capability: server for capability, server in routing.items() if isinstance(server, str)},
        is_search=flag(settings, "search"),
    )


def _backend(row: Json, settings: Json, cache: CachePolicy, pins: Pins) -> BackendSpec:
    canary = member(row, "canary")
    sharing = text(row, "sharing")
    return BackendSpec(
        name=text(row, "name"),
        is_stdio=text(row, "transport") == "stdio",
        url=text(row, "url"),
        service=text(row, "service"),
        description=text(row, "description"),
        capabilities=texts(row, "capabilities"),
        priority=whole(row, "priority"),
        sharing=Sharing(sharing) if sharing in set(Sharing) else Sharing.SHARED,
        size=max(1, whole(row, "size", 1)),
        is_lazy=flag(row, "lazy"),
        idle_stop=decimal(row, "idle_stop", decimal(settings, "idle_stop")),
        is_retry_safe=flag(row, "retry_safe"),
        timeout=decimal(row, "timeout") or DEFAULT_TIMEOUT,
        cache=_cache(member(row, "cache"), cache),
        pins=_pins(text(row, "pins"), pins),
        tools=texts(row, "tools"),
        is_ended_when_hung=text(row, "on_hang") == "restart",
        canary=Canary(text(canary, "tool"), member(canary, "arguments")) if text(canary, "tool") else None,
        members=texts(row, "members"),
        header_names=texts(row, "header_names"),
    )


def _cache(row: Json, default: CachePolicy) -> CachePolicy:
    if not row:
        return default
    return CachePolicy(decimal(row, "ttl", default.ttl), text(row, "strategy") or "lru")


def _pins(word: str, default: Pins) -> Pins:
    return Pins(word) if word in set(Pins) else default
