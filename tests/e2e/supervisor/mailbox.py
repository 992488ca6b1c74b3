"""A mail server that keeps what it is sent, and a `sendmail` that sends to it."""

import socketserver
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import Parser
from email.policy import default
from pathlib import Path
from threading import Thread
from typing import cast

__all__ = ["Mailbox", "mailbox"]

_SENDMAIL = """
import smtplib, sys
head, _, body = sys.stdin.read().partition("\\n\\n")
to = next(line[4:] for line in head.splitlines() if line.startswith("To: "))
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=20) as server:
    server.sendmail("sendmail@here", [to], head + "\\n\\n" + body)
"""


class _Session(socketserver.StreamRequestHandler):
    """One client; as much of RFC 5321 as `smtplib` asks for."""

    server: "Mailbox"  # pyright: ignore[reportIncompatibleVariableOverride] - narrower, as documented

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self._say("354 go on")
                lines: list[bytes] = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line.removeprefix(b"."))
                self.server.take(b"".join(lines).decode())
            self._say("221 bye" if word == b"QUIT" else "250 ok")
            if word == b"QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class Mailbox(socketserver.ThreadingTCPServer):
    """The server; `mails` by the address they went to."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: dict[str, list[EmailMessage]] = {}

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def take(self, text: str) -> None:
        """Keep a mail."""
        mail = cast("EmailMessage", Parser(policy=default).parsestr(text.replace("\r\n", "\n")))
        self.mails.setdefault(str(mail["To"]), []).append(mail)

    def sendmail(self, folder: Path) -> str:
        """Return the command line of a `sendmail`."""
        script = folder / "sendmail.py"
        script.write_text(_SENDMAIL, encoding="utf-8")
        return f"{sys.executable} -I {script} {self.port}"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Serve for the time of the block."""
    with Mailbox() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
