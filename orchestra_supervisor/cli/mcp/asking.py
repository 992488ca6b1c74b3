"""Asking the gateway from a terminal: a stateless client of HOME/mcp.sock, one question after the other."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.cli.connection import RETRY_FOR, no_answer
from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.shim.messages import Json, encode, items_of, object_of
from orchestra_supervisor.control_client import NoDaemon
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.model.errors import InvalidRequest, WaitTimeout
from orchestra_supervisor.unix_http import connect

__all__ = ["Gateway"]

_VERSION = "2026-07-28"
_META: Json = {
    "io.modelcontextprotocol/protocolVersion": _VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "orchestra-cli", "version": VERSION},
    # None: what a tool has to ask its user for has to be given as an argument.
    "io.modelcontextprotocol/clientCapabilities": {},
}
_INVALID = (-32600, -32601, -32602)
_MAX_LINE = 64 * 1024 * 1024  # bytes
_PAGES = 1_000


class Gateway:
    """One connection; use it as a context manager.

    Args:
        home: The state directory.
        hello: What is wanted: `endpoint`, and `profile` or `server` with it.
        timeout: Seconds for each answer.

    Raises:
        NoDaemon: Nobody takes the connection.
    """

    def __init__(self, home: Path, hello: Json, timeout: float) -> None:
        self._home = home
        self._timeout = timeout
        self._next = 0
        self._rest = b""
        until = time.monotonic() + RETRY_FOR
        while True:
            try:
                self._connection = connect(socket_path(home, "mcp"), timeout)
                break
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
                if keeper_pid_of(home) is None:
                    raise no_answer(home) from error
                if time.monotonic() >= until:
                    hint = "`orchestra status @gateway` tells more; a fleet of an older version has none"
                    raise NoDaemon(f"the fleet on {home} runs, and its gateway does not", hint) from error
                time.sleep(0.05)
        self._connection.sendall(encode({"orchestra": 1, "profile": None, "server": None, **hello}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, params: Json) -> Json:
        """Send a request and return its result.

        Raises:
            InvalidRequest: The gateway does not know what is meant.
            ActionFailed: It answered with another error, or went away.
            WaitTimeout: It did not answer in time.
        """
        self._next += 1
        request: Json = {"jsonrpc": "2.0", "id": self._next, "method": method}
        until = time.monotonic() + self._timeout
        try:
            # A gateway that does not serve what the hello asked for is gone by now; its reason is there.
            with suppress(BrokenPipeError, ConnectionResetError):
                self._connection.sendall(encode({**request, "params": {**params, "_meta": _META}}))
            for message in self._messages(until):
                if message.get("id") == self._next or ("id" in message and message["id"] is None):
                    return self._result(message)
        except TimeoutError as error:
            hint = "--timeout S waits longer; it may go on meanwhile"
            raise WaitTimeout(f"{method}: no answer within {self._timeout:g} s", hint=hint) from error
        except OSError as error:
            raise self._gone(method) from error
        raise self._gone(method)

    def tools(self) -> list[Json]:
        """Return all tools, page after page."""
        found: list[Json] = []
        params: Json = {}
        for _ in range(_PAGES):
            result = self.ask("tools/list", params)
            found += map(object_of, items_of(result.get("tools")))
            if not result.get("nextCursor"):
                break
            params = {"cursor": result["nextCursor"]}
        return found

    def _result(self, message: Json) -> Json:
        if "result" in message:
            return object_of(message["result"])
        error = object_of(message.get("error"))
        text = str(error.get("message", "an error without a message"))
        if error.get("code") in _INVALID:
            raise InvalidRequest(text, hint="`orchestra mcp tools` lists what there is")
        raise ActionFailed(text)

    def _gone(self, method: str) -> ActionFailed:
        return ActionFailed(
            f"the gateway on {self._home} went away before it answered {method}",
            hint="look whether it was done, then ask again",
        )

    def _messages(self, until: float) -> Iterator[Json]:
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                try:
                    yield object_of(json.loads(line))
                except ValueError as error:
                    raise ActionFailed("the gateway sent a line that is not JSON") from error
            if len(self._rest) > _MAX_LINE:
                raise ActionFailed(f"the gateway sent a line of over {_MAX_LINE} bytes")
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            data = self._connection.recv(1 << 20)
            if not data:
                return
            self._rest += data
