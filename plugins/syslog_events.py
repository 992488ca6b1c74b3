"""Sends every event to syslog, as RFC 5424 has it.

Options: `address` (a Unix socket such as `/dev/log`, or `host:port`; default `/dev/log`), `transport` (`udp`,
`tcp`; for `host:port` alone, default `udp`), `facility` (0 to 23, default 3: daemons), `app` (default
`orchestra`).

Source: RFC 5424 (messages), RFC 6587 section 3.4.1 (octet counting over TCP), RFC 5426 (UDP).
"""

import datetime as dt
import re
import socket
from collections.abc import Sequence

import anyio

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.events import TryLater
from orchestra_supervisor.plugin_api.hooks import hookimpl

NAME = "syslog-events"
VERSION = "1.0"
API_VERSION = 1

_DATA_ID = "orchestra@32473"  # the enterprise number that RFC 5612 sets aside for documentation
_LONGEST = 2_048  # bytes of a message: what every receiver should take (RFC 5424, section 6.1)
_PAUSE = 5.0  # seconds before a receiver that is away is tried again
_NOTICE, _WARNING, _ERROR = 5, 4, 3
_SEVERITIES = {
    "service.failed": _ERROR,
    "fleet.failed": _ERROR,
    "service.spawn_failed": _ERROR,
    "service.unhealthy": _WARNING,
    "service.backoff": _WARNING,
    "service.probe_failed": _WARNING,
    "service.stuck": _WARNING,
}


class SyslogEvents:
    """One receiver."""

    name = "syslog"

    def __init__(self, context: PluginContext) -> None:
        options = context.options
        context.allow("address", "transport", "facility", "app")
        address = options.get("address", "/dev/log")
        transport = options.get("transport", "udp")
        facility = options.get("facility", 3)
        app = options.get("app", "orchestra")
        if transport not in {"udp", "tcp"}:
            raise ValueError("option `transport` must be udp or tcp")
        if not isinstance(facility, int) or not 0 <= facility <= 23:
            raise ValueError("option `facility` must be a number from 0 to 23")
        if not isinstance(app, str) or not re.fullmatch(r"[!-~]{1,48}", app):
            raise ValueError("option `app` must be a word of up to 48 printable characters")
        if not isinstance(address, str):
            raise ValueError("option `address` must be text")
        self._path = address if address.startswith("/") else ""
        self._host, self._port = ("", 0) if self._path else _host_and_port(address)
        self._is_tcp = transport == "tcp"
        self._facility, self._app = facility, app
        self._hostname = re.sub(r"[^!-~]", "", socket.gethostname())[:255] or "-"

    async def take(self, events: Sequence[Event]) -> None:
        """Send one batch."""
        messages = [self._message(event) for event in events]
        try:
            if self._path:
                await self._send_unix(messages)
            elif self._is_tcp:
                await self._send_tcp(messages)
            else:
                await self._send_udp(messages)
        except (OSError, anyio.BrokenResourceError) as error:
            raise TryLater(_PAUSE, f"the receiver is away: {error}") from error

    async def _send_unix(self, messages: Sequence[bytes]) -> None:
        async with await anyio.create_connected_unix_datagram_socket(self._path) as receiver:
            for message in messages:
                await receiver.send(message)

    async def _send_udp(self, messages: Sequence[bytes]) -> None:
        async with await anyio.create_connected_udp_socket(self._host, self._port) as receiver:
            for message in messages:
                await receiver.send(message)

    async def _send_tcp(self, messages: Sequence[bytes]) -> None:
        async with await anyio.connect_tcp(self._host, self._port) as receiver:
            await receiver.send(b"".join(b"%d %s" % (len(message), message) for message in messages))
            await receiver.send_eof()

    def _message(self, event: Event) -> bytes:
        priority = self._facility * 8 + _SEVERITIES.get(event.kind, _NOTICE)
        at = dt.datetime.fromtimestamp(event.at_wall, dt.UTC)
        stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        kind = re.sub(r"[^!-~]", "", event.kind)[:32] or "-"
        run = re.sub(r"[^!-~]", "", event.run)[:128] or "-"
        facts = {"seq": str(event.seq), "service": event.service}
        data = " ".join(f'{key}="{_escaped(value)}"' for key, value in facts.items() if value)
        head = f"<{priority}>1 {stamp} {self._hostname} {self._app} {run} {kind} [{_DATA_ID} {data}] \ufeff"
        text = " ".join(event.message.split())
        return _cut(head.encode() + text.encode("utf-8", "replace"))


def _cut(message: bytes) -> bytes:
    return message[:_LONGEST].decode("utf-8", "ignore").encode()


def _escaped(value: str) -> str:
    return re.sub(r'([\\"\]])', r"\\\1", value)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError('option `address` must be the path of a socket, or "host:port"')
    return host.removeprefix("[").removesuffix("]"), int(port)


@hookimpl
def register_event_sinks(context: PluginContext) -> list[SyslogEvents]:
    """Return the one receiver that the options name."""
    return [SyslogEvents(context)]
