"""Tells a chat or any HTTP receiver what happened: `{"text": ...}` as Slack and its like take it, or JSON.

Options: `url` (as a rule `secret:NAME`), `format` (`slack`, `json`), `blocks` (true: Slack's layout),
`headers`, and what every notifier has: `on`, `services`, `min_interval`.
"""

import datetime as dt
import email.utils
import random

import anyio
import httpx2

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.events import EventFilter, GiveUp, Notice, TryLater
from orchestra_supervisor.plugin_api.hooks import hookimpl

NAME = "webhook"
VERSION = "1.0"
API_VERSION = 1

_FIRST_PAUSE = 1.0  # seconds; doubled with each failure in a row
_LONGEST_PAUSE = 60.0
_SIGNS = {"service.failed": "\u2717", "service.unhealthy": "\u25b2", "service.ready": "\u25cf"}


class Webhook:
    """One receiver."""

    name = "webhook"

    def __init__(self, context: PluginContext) -> None:
        options = context.options
        context.allow("url", "format", "blocks", "headers", "on", "services", "min_interval")
        self.filter = EventFilter.from_options(options)
        self._url = _text(options.get("url"), "url")
        self._format = _text(options.get("format", "slack"), "format")
        if self._format not in {"slack", "json"}:
            raise ValueError("option `format` must be slack or json")
        headers = options.get("headers", {})
        if not isinstance(headers, dict):
            raise ValueError("option `headers` must be an object")
        self._headers = {key: _text(value, f"headers.{key}") for key, value in headers.items()}
        self._has_blocks = options.get("blocks", False) is True
        self._context = context
        self._failures = 0

    async def notify(self, notice: Notice) -> None:
        """Post one notice."""
        url = await self._context.reveal(self._url)
        headers = {key: await self._context.reveal(value) for key, value in self._headers.items()}
        body = self._body(notice)
        try:
            with anyio.fail_after(self._context.timeout * 0.8):  # to say so before it is given up
                async with httpx2.AsyncClient(timeout=None) as client:
                    response = await client.post(url, json=body, headers=headers)
        except TimeoutError:
            raise TryLater(self._pause(), "no answer in time") from None
        except httpx2.InvalidURL:
            raise GiveUp("option `url` is no address") from None  # its text may be a secret
        except httpx2.UnsupportedProtocol:
            raise GiveUp("option `url` must begin with http:// or https://") from None
        except httpx2.HTTPError as error:
            raise TryLater(self._pause(), f"no answer: {type(error).__name__}") from None
        self._judge(response)

    def _judge(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status < 300:
            self._failures = 0
            return
        if status == 429 or status >= 500:
            pause = self._pause()
            asked = _retry_after(response.headers.get("retry-after", ""))
            raise TryLater(pause if asked is None else asked, f"HTTP {status}")
        raise GiveUp(f"HTTP {status}: the receiver refuses it")

    def _pause(self) -> float:
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 10), _LONGEST_PAUSE)
        self._failures += 1
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing

    def _body(self, notice: Notice) -> dict[str, object]:
        lines = [_line(event) for event in notice.events]
        if notice.held_back:
            lines.append(f"and {notice.held_back} more since the last notice")
        text = "\n".join(lines)
        if self._format == "json":
            events = [event.to_dict() for event in notice.events]
            return {"text": text, "events": events, "held_back": notice.held_back}
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if not self._has_blocks:
            return {"text": escaped}
        section = {"type": "section", "text": {"type": "mrkdwn", "text": escaped[:3000]}}
        return {"text": escaped, "blocks": [section]}


def _line(event: Event) -> str:
    sign = _SIGNS.get(event.kind, "\u2022")
    subject = f"{event.service} " if event.service else ""
    return f"{sign} {subject}{event.kind.rpartition('.')[2]}: {event.message}"


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value:
        msg = f"option `{key}` must be text"
        raise ValueError(msg)
    return value


def _retry_after(text: str) -> float | None:
    """Return the seconds of a Retry-After header: a number, or a date (RFC 9110, section 10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=dt.UTC)
    return max(0.0, (aware - dt.datetime.now(dt.UTC)).total_seconds())


@hookimpl
def register_notifiers(context: PluginContext) -> list[Webhook]:
    """Return the one receiver that the options name."""
    return [Webhook(context)]
