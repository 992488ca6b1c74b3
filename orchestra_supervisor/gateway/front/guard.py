"""Whom an HTTP request is addressed to, and which web page it comes from: checked on every address.

A page in a browser on this machine may send requests to any port of it, and by DNS rebinding read the answers
under a name of its own. So a request is served only where it is addressed to a loopback name, to the name or
address that was configured, or to the very address that it arrived at (an address cannot be rebound), and
comes from no page or from one of such a host.
"""

import ipaddress
from collections.abc import Collection

__all__ = ["HostGuard"]

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class HostGuard:
    """Knows the names that requests may be addressed to.

    Args:
        names: Beside those of the loopback interface; wildcard addresses are no names.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = _LOOPBACK_NAMES | ({name.lower() for name in names} - {"0.0.0.0", "::", ""})  # noqa: S104

    def is_allowed_host(self, authority: str, arrived_at: str = "") -> bool:
        """Return whether `name`, `name:port` or `[address]:port` is one of ours.

        Args:
            authority: As in the header Host.
            arrived_at: The address that the connection was made to; empty where there is none.
        """
        name = _host_of(authority.strip().lower())
        if not name:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or (bool(arrived_at) and str(address) == arrived_at)

    def is_allowed_origin(self, origin: str, arrived_at: str = "") -> bool:
        """Return whether a page of this origin may send requests; `null` may not."""
        scheme, separator, authority = origin.partition("://")
        return bool(separator) and scheme in {"http", "https"} and self.is_allowed_host(authority, arrived_at)


def _host_of(authority: str) -> str:
    """Return the host of an authority; empty where it is none."""
    if authority.startswith("["):
        name, closed, rest = authority[1:].partition("]")
        return name if closed and (not rest or _is_port(rest)) else ""
    if authority.count(":") > 1:
        return ""
    name, separator, port = authority.partition(":")
    if separator and not _is_port(":" + port):
        return ""
    return name.removesuffix(".")


def _is_port(text: str) -> bool:
    return text.startswith(":") and (text[1:] == "" or (text[1:].isascii() and text[1:].isdigit()))
