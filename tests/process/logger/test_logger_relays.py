"""Lines also go to journald and syslog, in their protocols, and never at the cost of the file."""

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.process.logger.logger_driver import DEADLINE, KeeperStandIn, texts

SINK = {"transport": "unix", "facility": 3}


@pytest.fixture
def keeper(tmp_path: Path):
    with KeeperStandIn(tmp_path) as standing_in:
        yield standing_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "web.log"


@contextmanager
def receiver(family: int, kind: int, address: object) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        sock.bind(address)  # type: ignore[arg-type]  # path or host and port, as the family wants it
        sock.settimeout(DEADLINE)
        yield sock


def fields_of(data: bytes) -> dict[bytes, bytes]:
    """Take an entry apart as the native protocol of journald says: NAME=text, or NAME, length and bytes."""
    fields: dict[bytes, bytes] = {}
    while data:
        head, data = data.split(b"\n", 1)
        name, sign, value = head.partition(b"=")
        if not sign:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        fields[name] = value
    return fields


def next_entry(sock: socket.socket) -> dict[bytes, bytes]:
    return fields_of(sock.recv(1 << 20))


def test_a_line_is_an_entry_of_the_journal_with_its_fields(keeper: KeeperStandIn, tmp_path: Path) -> None:
    address = str(tmp_path / "journal.socket")
    with receiver(socket.AF_UNIX, socket.SOCK_DGRAM, address) as journal:
        sinks = [{**SINK, "protocol": "journald", "address": address}]
        out, err = (
            keeper.open(tmp_path / "logs" / "web.log", stream=name, sinks=sinks, secrets=("hunter2",))
            for name in ("stdout", "stderr")
        )
        out.write(b"password hunter2\n")
        assert next_entry(journal) == {
            b"PRIORITY": b"6",
            b"SYSLOG_IDENTIFIER": b"web",
            b"ORCHESTRA_SERVICE": b"web",
            b"ORCHESTRA_RUN": b"web-0000000000a1",
            b"ORCHESTRA_STREAM": b"stdout",
            b"MESSAGE": b"password [redacted]",
        }
        err.write(b"A=\x00\xff\nnext\n")
        entries = [next_entry(journal) for _ in range(2)]
        assert [(each[b"PRIORITY"], each[b"MESSAGE"]) for each in entries] == [
            (b"3", b"A=\x00\xff"),
            (b"3", b"next"),
        ]


def test_syslog_on_a_unix_socket_gets_the_old_form(keeper: KeeperStandIn, path: Path) -> None:
    address = str(keeper.home / "log.socket")
    with receiver(socket.AF_UNIX, socket.SOCK_DGRAM, address) as syslog:
        sinks = [{**SINK, "protocol": "rfc3164", "address": address}]
        stream = keeper.open(path, stream="stderr", sinks=sinks, format="json")
        stream.write(b"line\n")
        assert re.fullmatch(
            rb"<27>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d web\[0000000000a1\]: line", syslog.recv(65_536)
        )


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_syslog_over_udp_gets_the_new_form(keeper: KeeperStandIn, path: Path, family: int, host: str) -> None:
    with ExitStack() as stack:
        try:
            syslog = stack.enter_context(receiver(family, socket.SOCK_DGRAM, (host, 0)))
        except OSError:
            pytest.skip(f"{host} is not there")
        port = syslog.getsockname()[1]
        sink = {"protocol": "rfc5424", "transport": "udp", "address": host, "port": port, "facility": 16}
        stream = keeper.open(path, sinks=[sink])
        stream.write(b"line\n" + b"y" * 20_000 + b"\n")
        assert re.fullmatch(
            rb"<134>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ web web-0000000000a1 stdout - line",
            syslog.recv(65_536),
        )
        assert len(syslog.recv(65_536)) == 8192, "longer ones are cut"


def frames(data: bytes) -> list[bytes]:
    """Split a stream of counted messages; an unfinished one is left out."""
    found: list[bytes] = []
    while (match := re.match(rb"(\d+) ", data)) and len(data) >= match.end() + int(match[1]):
        found.append(data[match.end() : match.end() + int(match[1])])
        data = data[match.end() + int(match[1]) :]
    return found


def receive(connection: socket.socket, count: int) -> list[bytes]:
    data = b""
    while len(frames(data)) < count:
        part = connection.recv(65_536)
        assert part, "the logger hung up"
        data += part
    return frames(data)


def test_syslog_over_tcp_counts_its_messages_and_finds_a_receiver_that_came_back(
    keeper: KeeperStandIn, path: Path
) -> None:
    with receiver(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)) as syslog:
        port = syslog.getsockname()[1]
        sink = {"protocol": "rfc5424", "transport": "tcp", "address": "127.0.0.1", "port": port}
        stream = keeper.open(path, sinks=[sink])
        stream.write(b"before anybody listens\n")  # bound, not listening: refused
        assert keeper.wait_event("sink_away")[0]["path"] == f"tcp://127.0.0.1:{port}"
        syslog.listen()
        first, _ = syslog.accept()
        with first:
            first.settimeout(DEADLINE)
            assert receive(first, 1)[0].endswith(b" stdout - before anybody listens")
            stream.write(b"".join(b"line %d\n" % number for number in range(5000)))
            got = receive(first, 5000)
            assert [int(each.rsplit(b" ", 1)[1]) for each in got] == list(range(5000))
        stream.write(b"after it hung up\n")
        second, _ = syslog.accept()
        with second:
            second.settimeout(DEADLINE)
            assert receive(second, 1)[0].endswith(b"after it hung up")


def test_a_receiver_that_does_not_read_costs_lines_of_its_own_and_none_of_the_file(
    keeper: KeeperStandIn, path: Path
) -> None:
    address = str(keeper.home / "journal.socket")
    with receiver(socket.AF_UNIX, socket.SOCK_DGRAM, address):  # never read
        stream = keeper.open(path, sinks=[{**SINK, "protocol": "journald", "address": address}])
        text = b"z" * 1000
        for _ in range(6000):
            stream.write(text + b"\n")
        stream.close()
        keeper.wait_eof(stream)
        dropped = keeper.wait_event("sink_dropped")
        assert (dropped[0]["path"], dropped[0]["lines"] > 0) == (address, True)
        assert texts(path) == [text] * 6000


def test_a_sink_that_is_not_there_is_told_once_and_its_lines_go_out_when_it_comes(
    keeper: KeeperStandIn, path: Path
) -> None:
    address = str(keeper.home / "late.socket")
    stream = keeper.open(path, sinks=[{**SINK, "protocol": "rfc3164", "address": address}])
    stream.write(b"early\n")
    keeper.wait_event("sink_away")
    with receiver(socket.AF_UNIX, socket.SOCK_DGRAM, address) as syslog:
        assert syslog.recv(65_536).endswith(b": early")
    assert len(keeper.of("sink_away")) == 1


def test_the_last_lines_go_out_before_the_logger_ends(keeper: KeeperStandIn, path: Path) -> None:
    address = str(keeper.home / "log.socket")
    with receiver(socket.AF_UNIX, socket.SOCK_DGRAM, address) as syslog:
        stream = keeper.open(path, sinks=[{**SINK, "protocol": "rfc3164", "address": address}])
        stream.write(b"last words")
        keeper.send({"type": "quit"})
        assert keeper.wait_end() == 0
        assert syslog.recv(65_536).endswith(b": last words")
    assert path.read_bytes() == b"last words"


def test_sinks_that_make_no_sense_are_told(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, sinks=[{"protocol": "smoke"}, 5, {**SINK, "protocol": "journald"}])
    stream.write(b"line\n")
    stream.close()
    keeper.wait_eof(stream)
    assert texts(path) == [b"line"]
    assert len(keeper.of("misconfigured")) >= 3
