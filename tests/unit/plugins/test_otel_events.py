"""OTLP log records against a real receiver, held to the shape that the protocol's JSON has."""

from collections.abc import Callable

import anyio
import pytest

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.events import GiveUp, TryLater
from orchestra_supervisor.plugin_api.plugin import Plugin
from tests.unit.plugins.http_receiver import Answer, receiving

pytestmark = pytest.mark.anyio

Load = Callable[..., Plugin]
FAILED = Event("service.failed", "exit code 1", 1_700_000_000.25, "web", "web-1", {"code": 1}, 7)
READY = Event("fleet.ready", "all are ready", 1_700_000_001.0, seq=8)


async def take(plugin: Plugin, *events: Event) -> None:
    assert plugin.fault is None, plugin.fault
    with anyio.fail_after(10):
        await plugin.call("event sink otel", plugin.offers.event_sinks["otel"].take, events)


async def test_events_arrive_as_log_records_of_one_resource(load: Load) -> None:
    with receiving() as receiver:
        plugin = load(
            "otel_events.py",
            endpoint=f"{receiver.url}/",
            resource={"host.name": "h1"},
            headers={"x-key": "k"},
        )
        await take(plugin, FAILED, READY)
    path, headers, body = receiver.got[0]
    assert (path, headers["content-type"], headers["x-key"]) == ("/v1/logs", "application/json", "k")
    [resource] = body["resourceLogs"]
    assert resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "orchestra"}},
        {"key": "host.name", "value": {"stringValue": "h1"}},
    ]
    [scope] = resource["scopeLogs"]
    assert scope["scope"]["name"] == "orchestra_supervisor"
    failed, ready = scope["logRecords"]
    assert failed == {
        "timeUnixNano": "1700000000250000000",
        "observedTimeUnixNano": "1700000000250000000",
        "severityNumber": 17,
        "severityText": "ERROR",
        "eventName": "service.failed",
        "body": {"stringValue": "exit code 1"},
        "attributes": [
            {"key": "orchestra.seq", "value": {"intValue": "7"}},
            {"key": "orchestra.service", "value": {"stringValue": "web"}},
            {"key": "orchestra.run", "value": {"stringValue": "web-1"}},
            {"key": "orchestra.data", "value": {"stringValue": '{"code": 1}'}},
        ],
    }
    assert (ready["severityText"], len(ready["attributes"])) == ("INFO", 1)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_the_protocol_calls_retryable_is_tried_later(load: Load, status: int) -> None:
    with receiving([Answer(status, {"Retry-After": "12"}), Answer(status)]) as receiver:
        plugin = load("otel_events.py", endpoint=receiver.url)
        with pytest.raises(TryLater) as caught:
            await take(plugin, FAILED)
        assert caught.value.seconds == 12.0
        with pytest.raises(TryLater) as caught:
            await take(plugin, FAILED)
        assert caught.value.seconds == 5.0


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_anything_else_is_not_sent_again(load: Load, status: int) -> None:
    with receiving([Answer(status)]) as receiver, pytest.raises(GiveUp, match=f"HTTP {status}"):
        await take(load("otel_events.py", endpoint=receiver.url), FAILED)


async def test_a_collector_that_is_away_is_tried_later(load: Load) -> None:
    with receiving() as receiver:
        url = receiver.url
    with pytest.raises(TryLater, match="ConnectError"):
        await take(load("otel_events.py", endpoint=url), FAILED)


async def test_records_that_were_left_out_are_told_in_the_log(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}'
    with receiving([Answer(body=body), Answer(body=b"[]"), Answer(body=b"{}")]) as receiver:
        plugin = load("otel_events.py", endpoint=receiver.url)
        for _ in range(3):
            await take(plugin, FAILED)
    assert [record.getMessage() for record in caplog.records] == ["the collector rejected 2 records: too old"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"endpoint": "collector:4318"}, "option `endpoint`"),
        ({"headers": {"a": 1}}, "option `headers`"),
        ({"resource": []}, "option `resource`"),
        ({"protocol": "grpc"}, "unknown option 'protocol'"),
    ],
)
async def test_an_option_that_is_wrong_is_named(load: Load, options: dict[str, object], said: str) -> None:
    plugin = load("otel_events.py", **options)
    assert plugin.fault is not None
    assert said in plugin.fault.message
