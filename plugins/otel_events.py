"""Sends every event to OpenTelemetry as a log record: OTLP over HTTP with JSON.

Options: `endpoint` (default `http://127.0.0.1:4318`), `headers`, `resource` (attributes, added to
`service.name`). Values may be `secret:NAME`.

Source: OpenTelemetry protocol specification 1.x, OTLP/HTTP; log data model, severity numbers.
"""

import json
from collections.abc import Mapping, Sequence
from typing import cast

import anyio
import httpx2

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.events import GiveUp, TryLater
from orchestra_supervisor.plugin_api.hooks import hookimpl

NAME = "otel-events"
VERSION = "1.0"
API_VERSION = 1

_RETRYABLE = frozenset({429, 502, 503, 504})  # the specification's; anything else is not sent again
_PAUSE = 5.0  # seconds, where the receiver names none
_INFO, _WARN, _ERROR = (9, "INFO"), (13, "WARN"), (17, "ERROR")
_SEVERITIES = {
    "service.failed": _ERROR,
    "fleet.failed": _ERROR,
    "service.spawn_failed": _ERROR,
    "service.unhealthy": _WARN,
    "service.backoff": _WARN,
    "service.probe_failed": _WARN,
    "service.stuck": _WARN,
    "plugin.failed": _WARN,
    "plugin.suspended": _WARN,
}


class OtelEvents:
    """One collector."""

    name = "otel"

    def __init__(self, context: PluginContext) -> None:
        options = context.options
        context.allow("endpoint", "headers", "resource")
        endpoint = options.get("endpoint", "http://127.0.0.1:4318")
        if not isinstance(endpoint, str) or not endpoint.startswith(("http://", "https://", "secret:")):
            raise ValueError("option `endpoint` must be an http:// or https:// address")
        self._endpoint = endpoint
        self._headers = _texts(options.get("headers", {}), "headers")
        self._resource = {"service.name": "orchestra"} | _texts(options.get("resource", {}), "resource")
        self._context = context

    async def take(self, events: Sequence[Event]) -> None:
        """Send one batch."""
        endpoint = (await self._context.reveal(self._endpoint)).rstrip("/")
        headers = {key: await self._context.reveal(value) for key, value in self._headers.items()}
        content = json.dumps(self._request(events), separators=(",", ":"), default=repr).encode()
        try:
            with anyio.fail_after(self._context.timeout * 0.8):  # to say so before it is given up
                async with httpx2.AsyncClient(timeout=None) as client:
                    response = await client.post(
                        f"{endpoint}/v1/logs",
                        content=content,
                        headers={"content-type": "application/json", **headers},
                    )
        except TimeoutError:
            raise TryLater(_PAUSE, "no answer in time") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise GiveUp("option `endpoint` is no http address") from None
        except httpx2.HTTPError as error:
            raise TryLater(_PAUSE, f"no answer: {type(error).__name__}") from None
        self._judge(response)

    def _judge(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status in _RETRYABLE:
            asked = response.headers.get("retry-after", "")
            raise TryLater(float(asked[:9]) if asked.isdigit() else _PAUSE, f"HTTP {status}")
        if status >= 300:
            raise GiveUp(f"HTTP {status}: the collector refuses it")
        rejected, why = _rejected(response.content)
        if rejected:
            self._context.log.warning("the collector rejected %s records: %s", rejected, why)

    def _request(self, events: Sequence[Event]) -> dict[str, object]:
        records = [_record(event) for event in events]
        scope = {"name": "orchestra_supervisor", "version": VERSION}
        resource = {"attributes": _attributes(self._resource)}
        return {
            "resourceLogs": [
                {"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]},
            ]
        }


def _record(event: Event) -> dict[str, object]:
    number, text = _SEVERITIES.get(event.kind, _INFO)
    nanos = str(round(event.at_wall * 1_000_000) * 1_000)  # 64 bits are text in protobuf's JSON
    facts: dict[str, object] = {
        "orchestra.seq": event.seq,
        "orchestra.service": event.service,
        "orchestra.run": event.run,
        "orchestra.data": json.dumps(event.data, default=repr) if event.data else "",
    }
    return {
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": number,
        "severityText": text,
        "eventName": event.kind,
        "body": {"stringValue": event.message},
        "attributes": _attributes({key: value for key, value in facts.items() if value != ""}),
    }


def _attributes(values: Mapping[str, object]) -> list[dict[str, object]]:
    return [
        {
            "key": key,
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)},
        }
        for key, value in values.items()
    ]


def _rejected(content: bytes) -> tuple[str, str]:
    """Return how many records a partial success left out, and why; ("", "") for a whole one."""
    try:
        answer = cast("dict[str, dict[str, object]]", json.loads(content or b"{}"))
        partial = answer.get("partialSuccess") or {}
        count = str(partial.get("rejectedLogRecords") or "")
        return ("" if count == "0" else count), str(partial.get("errorMessage", ""))[:200]
    except (ValueError, AttributeError):
        return "", ""


def _texts(value: object, key: str) -> dict[str, str]:
    entries = cast("dict[str, object]", value) if isinstance(value, dict) else {"": None}
    if not all(isinstance(one, str) for one in entries.values()):
        msg = f"option `{key}` must be an object of texts"
        raise ValueError(msg)
    return {name: str(text) for name, text in entries.items()}


@hookimpl
def register_event_sinks(context: PluginContext) -> list[OtelEvents]:
    """Return the one collector that the options name."""
    return [OtelEvents(context)]
