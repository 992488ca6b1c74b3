"""Entries look as their receivers want them, whatever is in them."""

import array
import fcntl
import socket
import struct
from pathlib import Path

import pytest

from orchestra_supervisor.logger.destinations import Destination, Entry, connect, encode, send

JOURNAL = Destination("journald", "unix", "/j")
SYSLOG = Destination("rfc5424", "tcp", ("::1", 5514), 16)


def entry(data: bytes = b"text", stream: str = "stdout") -> Entry:
    return Entry("web", "web-0000000000a1", stream, data, 86_400.25)


def test_nothing_in_a_line_can_pass_for_another_field_of_the_journal() -> None:
    data = b"one\nPRIORITY=0\n"
    assert encode(JOURNAL, entry(data)).endswith(b"MESSAGE\n" + struct.pack("<Q", len(data)) + data + b"\n")


def test_a_message_of_syslog_says_whose_it_is() -> None:
    framed = encode(SYSLOG, entry(stream="stderr"))
    size, message = framed.split(b" ", 1)
    assert int(size) == len(message)
    words = message.split(b" ")
    assert words[:2] == [b"<131>1", b"1970-01-02T00:00:00.250000Z"]
    assert words[3:] == [b"web", b"web-0000000000a1", b"stderr", b"-", b"text"]


def test_a_line_of_ours_is_a_notice_of_no_stream() -> None:
    assert b"<133>1 " in encode(SYSLOG, entry(stream=""))
    assert b" web-0000000000a1 - - text" in encode(SYSLOG, entry(stream=""))


@pytest.mark.parametrize(
    ("destination", "name"),
    [
        (JOURNAL, "/j"),
        (SYSLOG, "tcp://[::1]:5514"),
        (Destination("rfc5424", "udp", ("127.0.0.1", 514)), "udp://127.0.0.1:514"),
    ],
)
def test_a_destination_is_named_as_people_write_it(destination: Destination, name: str) -> None:
    assert destination.name == name


def test_an_entry_too_large_for_a_datagram_goes_as_a_sealed_file(tmp_path: Path) -> None:
    address = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(address)
        destination = Destination("journald", "unix", address)
        with connect(destination) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            data = encode(destination, entry(b"x" * 60_000))
            assert send(sock, destination, data) == len(data)
        journal.settimeout(5)
        text, ancillary, _, _ = journal.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        (fd,) = array.array("i", ancillary[0][2])
        with open(fd, "rb") as file:  # noqa: PTH123  # a descriptor has no path
            file.seek(0)
            assert (text, file.read()) == (b"", data)
            assert fcntl.fcntl(file, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE, "nobody can change it any more"


def test_nobody_at_the_address_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(Destination("rfc3164", "unix", str(tmp_path / "nobody")))
