"""Events into the systemd journal, beside our own: for `journalctl ORCHESTRA_SERVICE=web`."""

import errno
import json
from collections.abc import Callable

import anyio
import anyio.abc

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.journald import ERROR, INFO, NOTICE, WARNING, encode_entry
from orchestra_supervisor.model.events import Event

__all__ = ["JOURNAL_SOCKET", "MESSAGE_IDS", "entry_of", "feed_journald"]

JOURNAL_SOCKET = "/run/systemd/journal/socket"
"""Where the journal listens; of every host the same."""

MESSAGE_IDS = {
    "fleet.ready": "21fde151e66b47fea0058f11d1d0c58c",
    "fleet.failed": "236f7c349330480a8bd8eb5c9de3e8e7",
    "fleet.stopped": "d2a0c5d3bc00443cb9199d1a7078d498",
    "service.failed": "012a0e4e78614c119527ff5b72349767",
    "service.unhealthy": "b92dcbd9d6a94e40a68b36349d3d28be",
    "service.backoff": "01f2adefad384e95a9a573578d13b580",
    "config.reloaded": "4362abd252ac42d894125c3a9ed46eb5",
    "config.refused": "37bd5b1b81d543dfbeeec1523e486f92",
    "daemon.started": "9f8eb144f20a43e9801d35aa9627631e",
}
"""Ids of the kinds that a person may want to be called for: `journalctl MESSAGE_ID=...`."""

_PRIORITIES = {
    "failed": ERROR,
    "damaged": ERROR,
    "unhealthy": WARNING,
    "backoff": WARNING,
    "refused": WARNING,
    "dropped": WARNING,
    "unwritable": WARNING,
    "found": WARNING,
}
_SEND_LIMIT = 1.0  # seconds; a journal that hangs costs entries, and holds up nothing


async def feed_journald(
    bus: EventBus,
    *,
    is_wanted: Callable[[], bool],
    home: str,
    say: Callable[[str], None],
    path: str = JOURNAL_SOCKET,
) -> None:
    """Send every event to the journal, for as long as it is not cancelled.

    What the journal does not take is dropped and counted: the events are in our own journal.

    Args:
        bus: Where events come from.
        is_wanted: Asked at each event, as a reload may change it.
        home: Tells the entries of several fleets apart.
        say: Told once when the journal cannot be reached, and once when it can again.
        path: Where the journal listens.
    """
    missed = 0
    async with await anyio.create_unix_datagram_socket() as socket:
        while True:
            async with bus.subscribe(lambda _: is_wanted()) as events:
                async for event in events:
                    fault = await _send(socket, path, entry_of(event, home))
                    if fault and not missed:
                        say(f"events do not reach the journal at {path}: {fault}")
                    elif missed and not fault:
                        say(f"events reach the journal again; {missed} did not")
                    missed = missed + 1 if fault else 0
            # The bus cut us off, as we lagged behind: what was missed is in our own journal.
            say("events came faster than the journal took them; some are in our own alone")


async def _send(socket: anyio.abc.UNIXDatagramSocket, path: str, fields: dict[str, str]) -> str:
    """Send one entry. Returns what went wrong, or an empty text."""
    try:
        with anyio.fail_after(_SEND_LIMIT):
            await socket.sendto(encode_entry(fields), path)
    except TimeoutError:
        return f"it does not read for {_SEND_LIMIT:g} s"
    except anyio.BrokenResourceError as error:
        fault = error.__cause__
        if not isinstance(fault, OSError):
            raise
        if fault.errno == errno.EMSGSIZE and fields.pop("ORCHESTRA_DATA", ""):
            return await _send(socket, path, fields)
        return fault.strerror or str(fault)
    return ""


def entry_of(event: Event, home: str) -> dict[str, str]:
    """Return the fields of an event."""
    what = event.kind.partition(".")[2]
    is_fleets = event.kind.startswith(("fleet.", "config.", "daemon."))
    fields = {
        "MESSAGE": f"{event.service}: {what}: {event.message}" if event.service else event.message,
        "PRIORITY": str(_PRIORITIES.get(what, NOTICE if is_fleets else INFO)),
        "SYSLOG_IDENTIFIER": "orchestra",
        "ORCHESTRA_EVENT": event.kind,
        "ORCHESTRA_SEQ": str(event.seq),
        "ORCHESTRA_HOME": home,
    }
    optional = {
        "MESSAGE_ID": MESSAGE_IDS.get(event.kind, ""),
        "ORCHESTRA_SERVICE": event.service,
        "ORCHESTRA_RUN": event.run,
        "ORCHESTRA_DATA": json.dumps(event.data, default=repr) if event.data else "",
    }
    return fields | {name: value for name, value in optional.items() if value}
