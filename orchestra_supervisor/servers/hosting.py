"""How an embedded server listens, serves and ends.

It says one line on stdout when it listens, and ends with exit code 0 some tenths of a second after SIGTERM.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.servers.guard import AccessLog, HostGuard, write_line
from orchestra_supervisor.servers.settings import ServerError, Settings, is_loopback

__all__ = ["configure_logging", "serve"]

_GRACE = 3  # seconds that running requests and streams get after SIGTERM
_MAX_REQUESTS = 512  # requests and streams at a time; further ones are answered 503
_BACKLOG = 256  # connections that wait for accept


def configure_logging() -> None:
    """Send warnings and worse to stderr, a line each; a second call does nothing."""
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )


def serve(settings: Settings, app: ASGIApp, on_stop: Callable[[], None] | None = None) -> int:
    """Serve an ASGI app until SIGTERM or SIGINT.

    Args:
        settings: Where.
        app: What; it stands behind the Host guard.
        on_stop: Called in the event loop when a stop is asked for: ends open streams.

    Returns:
        The exit status: 0 after SIGTERM, 130 after SIGINT.

    Raises:
        ServerError: The address cannot be bound.
    """
    configure_logging()
    guarded: ASGIApp = HostGuard(app, settings.allowed_hosts)
    if settings.access_log:
        guarded = AccessLog(guarded)
    config = uvicorn.Config(
        guarded,
        log_config=None,
        access_log=False,
        http="h11",
        ws="none",
        loop="asyncio",
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=_MAX_REQUESTS,
        timeout_graceful_shutdown=_GRACE,
    )
    # uvicorn raises the signal again after its shutdown: these say what that means, and an early one
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    listener = _listen(settings)
    try:
        host, port = listener.getsockname()[:2]
        if not is_loopback(host):
            logging.getLogger(settings.name).warning("listens on %s, where other machines can reach it", host)
        where = f"[{host}]" if ":" in host else host
        write_line(f"{settings.name} {VERSION} on http://{where}:{port} (data {settings.data})")
        _Server(config, on_stop).run(sockets=[listener])
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    finally:
        listener.close()
    return 0


class _Server(uvicorn.Server):
    """uvicorn, and a word to the app's streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._on_stop is not None and self._loop is not None:
            # A signal may come in the middle of a task's step; a stream that is closed there never wakes up.
            self._loop.call_soon_threadsafe(self._on_stop)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(0 if number == signal.SIGTERM else 128 + number)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {settings.host} port {settings.port}: {os.strerror(error.errno or 0)}",
            f"free the port, or choose another with --port or $ORCHESTRA_{settings.name.upper()}_PORT",
        ) from error
