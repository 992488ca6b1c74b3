"""Syslog messages to real sockets: Unix, UDP and TCP, each as its RFC has it."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.events import TryLater
from orchestra_supervisor.plugin_api.plugin import Plugin

pytestmark = pytest.mark.anyio

Load = Callable[..., Plugin]
FAILED = Event("service.failed", "exit\ncode 1 \u2717", 1_700_000_000.25, 'we"b]\\', "web-1", {}, 7)
READY = Event("fleet.ready", "all are ready", 1_700_000_001.0, seq=8)
FORM = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<at>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) "
    rb"(?P<id>[!-~]{1,32}) (?P<data>\[.*?(?<!\\)\]) \xef\xbb\xbf(?P<text>.*)",
    re.DOTALL,
)


async def take(plugin: Plugin, *events: Event) -> None:
    assert plugin.fault is None, plugin.fault
    with anyio.fail_after(10):
        await plugin.call("event sink syslog", plugin.offers.event_sinks["syslog"].take, events)


def parsed(message: bytes) -> dict[str, bytes]:
    match = FORM.fullmatch(message)
    assert match is not None, message
    return match.groupdict()


async def test_a_unix_socket_gets_one_datagram_an_event(load: Load, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind(path)
        await take(load("syslog_events.py", address=path, facility=16, app="ai"), FAILED, READY)
        failed, ready = parsed(server.recv(65536)), parsed(server.recv(65536))
    assert failed | {"host": b""} == {
        "pri": b"131",  # 16 * 8 + 3
        "at": b"2023-11-14T22:13:20.250000Z",
        "host": b"",
        "app": b"ai",
        "proc": b"web-1",
        "id": b"service.failed",
        "data": rb'[orchestra@32473 seq="7" service="we\"b\]\\"]',
        "text": "exit code 1 \u2717".encode(),
    }
    assert (ready["pri"], ready["proc"], ready["data"]) == (b"133", b"-", b'[orchestra@32473 seq="8"]')


async def test_udp_gets_one_datagram_an_event(load: Load) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind(("127.0.0.1", 0))
        await take(load("syslog_events.py", address=f"127.0.0.1:{server.getsockname()[1]}"), FAILED)
        assert parsed(server.recv(65536))["pri"] == b"27"


async def test_tcp_gets_messages_with_their_lengths_before_them(load: Load) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        await take(load("syslog_events.py", address=address, transport="tcp"), FAILED, READY)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            data = b""
            while chunk := connection.recv(65536):
                data += chunk
    kinds: list[bytes] = []
    while data:
        length, _, rest = data.partition(b" ")
        kinds.append(parsed(rest[: int(length)])["id"])
        data = rest[int(length) :]
    assert kinds == [b"service.failed", b"fleet.ready"]


async def test_a_message_is_cut_at_what_every_receiver_takes_between_characters(
    load: Load, tmp_path: Path
) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind(path)
        await take(load("syslog_events.py", address=path), Event("a", "\u2717" * 5_000, 0.0))
        message = server.recv(65536)
    assert 2_040 < len(message) <= 2_048
    assert parsed(message)["text"].decode() == "\u2717" * (len(parsed(message)["text"]) // 3)


@pytest.mark.parametrize("address", ["/nowhere/log", "127.0.0.1:1"])
async def test_a_receiver_that_is_away_is_tried_later(load: Load, address: str) -> None:
    with pytest.raises(TryLater, match="away"):
        await take(load("syslog_events.py", address=address, transport="tcp"), FAILED)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "host"}, "option `address`"),
        ({"address": "host:99999"}, "option `address`"),
        ({"address": 5}, "option `address`"),
        ({"transport": "tls"}, "option `transport`"),
        ({"facility": 24}, "option `facility`"),
        ({"app": "a b"}, "option `app`"),
        ({"port": 514}, "unknown option 'port'"),
    ],
)
async def test_an_option_that_is_wrong_is_named(load: Load, options: dict[str, object], said: str) -> None:
    plugin = load("syslog_events.py", **options)
    assert plugin.fault is not None
    assert said in plugin.fault.message
