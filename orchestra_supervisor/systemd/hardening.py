"""What is taken from the process tree of a fleet before it starts, in two levels.

`services` keeps what a supervisor of other people's programs needs: changing users, limits and priorities,
writing where the services write. `strict` is for a fleet whose services all run as the supervisor's own user.
Source: systemd.exec(5), "Sandboxing", "Capabilities", "System call filtering".
"""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LEVELS", "Restriction", "restrictions"]

LEVELS = ("services", "strict")
"""The levels, the first is the default."""

_CAPABILITIES = (
    "CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SYS_NICE CAP_SYS_RESOURCE "
    "CAP_SYS_PTRACE CAP_NET_BIND_SERVICE"
)


@dataclass(frozen=True, slots=True)
class Restriction:
    """One setting.

    Attributes:
        key: Its name.
        value: Its value.
        why: Why it does no harm, or what it costs.
        needs_system: Only the system's manager can carry it out.
    """

    key: str
    value: str
    why: str
    needs_system: bool = True


_ALWAYS = (
    Restriction("LockPersonality", "yes", "No service changes its execution domain.", needs_system=False),
    Restriction("SystemCallArchitectures", "native", "No calls of another architecture.", needs_system=False),
    Restriction(
        "RestrictSUIDSGID", "yes", "No service makes files that run as somebody else.", needs_system=False
    ),
    Restriction("KeyringMode", "private", "The kernel's keyring of other units is none of ours."),
    Restriction(
        "ProtectKernelModules", "yes", "The kernel stays as it is: modules, variables, messages, clock, name."
    ),
    Restriction("ProtectKernelTunables", "yes", ""),
    Restriction("ProtectKernelLogs", "yes", ""),
    Restriction("ProtectClock", "yes", ""),
    Restriction("ProtectHostname", "yes", ""),
)
_SERVICES = (
    Restriction(
        "CapabilityBoundingSet",
        _CAPABILITIES,
        "Services run as other users, with limits and priorities of their own; we signal and look at them.",
    ),
    Restriction(
        "ProtectSystem",
        "full",
        "Programs and their settings are read, not written; services write elsewhere.",
    ),
)
_STRICT = (
    Restriction(
        "NoNewPrivileges", "yes", "No program of the fleet gains rights, by sudo for one.", needs_system=False
    ),
    Restriction(
        "CapabilityBoundingSet", "", "No rights of root at all: every service runs as the fleet does."
    ),
    Restriction("RestrictRealtime", "yes", "No realtime scheduling.", needs_system=False),
    Restriction(
        "RestrictNamespaces",
        "yes",
        "No sandboxes inside the fleet: browsers need --no-sandbox.",
        needs_system=False,
    ),
    Restriction(
        "RestrictAddressFamilies",
        "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "Network and local sockets; netlink lists addresses and interfaces.",
        needs_system=False,
    ),
    Restriction(
        "SystemCallFilter",
        "@system-service",
        "Calls that ordinary services make; others fail.",
        needs_system=False,
    ),
    Restriction("SystemCallErrorNumber", "EPERM", "", needs_system=False),
    Restriction(
        "ProtectSystem",
        "strict",
        "Nothing is writable but the state directory and what ReadWritePaths= names.",
    ),
    Restriction("ProtectHome", "read-only", "Code may lie in a home; nothing is written there."),
    Restriction("PrivateTmp", "yes", "A /tmp of the fleet's own."),
    Restriction("PrivateDevices", "yes", "No hardware. Take this line out where a service uses a GPU."),
    Restriction("ProtectProc", "invisible", "Processes of other users are not seen."),
    Restriction("RemoveIPC", "yes", "What is left of shared memory goes with the fleet."),
)


def restrictions(level: str, *, is_user: bool) -> Iterator[Restriction]:
    """Yield the settings of a level; for a user's own manager those that it can carry out."""
    for one in (*_ALWAYS, *(_STRICT if level == "strict" else _SERVICES)):
        if not (is_user and one.needs_system):
            yield one
