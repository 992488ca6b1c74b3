"""The webhook against a receiver that takes, fails, hangs, is busy, refuses, and is not there."""

import datetime as dt
import email.utils
from collections.abc import Callable

import anyio
import pytest

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.events import GiveUp, Notice, TryLater
from orchestra_supervisor.plugin_api.plugin import Plugin
from tests.unit.plugins.http_receiver import Answer, Receiver, receiving

pytestmark = pytest.mark.anyio

Load = Callable[..., Plugin]
FAILED = Event("service.failed", "exit code 1 <x> & more", 1_700_000_000.0, "web", "web-1", {"code": 1}, 7)
READY = Event("fleet.ready", "2 of 2 services are ready", 1_700_000_001.0, seq=8)


async def notify(plugin: Plugin, notice: Notice) -> None:
    assert plugin.fault is None, plugin.fault
    notifier, _ = plugin.offers.notifiers["webhook"]
    with anyio.fail_after(10):
        await plugin.call("notifier webhook", notifier.notify, notice)


async def deferred(plugin: Plugin, receiver: Receiver, answer: Answer) -> TryLater:
    receiver.answers.append(answer)
    with pytest.raises(TryLater) as caught:
        await notify(plugin, Notice((FAILED,)))
    return caught.value


async def test_a_notice_is_posted_to_a_secret_address_as_chats_take_it(load: Load) -> None:
    with receiving() as receiver:
        plugin = load("webhook.py", receiver.url, url="secret:hook")
        await notify(plugin, Notice((FAILED, READY), held_back=3))
    path, headers, body = receiver.got[0]
    assert path == "/hook/s3cret-Zm9v"
    assert headers["content-type"] == "application/json"
    assert body == {
        "text": "\u2717 web failed: exit code 1 &lt;x&gt; &amp; more\n"
        "\u2022 ready: 2 of 2 services are ready\n"
        "and 3 more since the last notice"
    }


async def test_blocks_and_plain_json_are_for_who_wants_them(load: Load) -> None:
    with receiving() as receiver:
        await notify(load("webhook.py", url=receiver.url, blocks=True), Notice((READY,)))
        headers = {"authorization": "secret:hook"}
        plugin = load("webhook.py", url=receiver.url, format="json", headers=headers)
        await notify(plugin, Notice((FAILED,), held_back=1))
    (_, _, blocks), (_, headers, plain) = receiver.got
    assert blocks["blocks"] == [{"type": "section", "text": {"type": "mrkdwn", "text": blocks["text"]}}]
    assert headers["authorization"] == "/hook/s3cret-Zm9v"
    assert plain["events"] == [FAILED.to_dict()]
    assert plain["held_back"] == 1
    assert "<x>" in plain["text"]


async def test_a_receiver_that_fails_is_tried_later_each_time_a_little_later(load: Load) -> None:
    with receiving() as receiver:
        plugin = load("webhook.py", url=receiver.url)
        pauses = [(await deferred(plugin, receiver, Answer(503))).seconds for _ in range(8)]
        assert [0.8 * 2**n <= pause <= 1.2 * 2**n for n, pause in enumerate(pauses[:6])] == [True] * 6
        assert max(pauses) <= 72.0
        await notify(plugin, Notice((FAILED,)))
        assert (await deferred(plugin, receiver, Answer(500))).seconds <= 1.2, "a success begins anew"
    assert plugin.standing.failures == 0, "its receiver's trouble is not its own"
    assert "HTTP 500" in plugin.standing.last_error


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_says_when_is_tried_then(load: Load, status: int) -> None:
    with receiving() as receiver:
        plugin = load("webhook.py", url=receiver.url)
        assert (await deferred(plugin, receiver, Answer(status, {"Retry-After": "37"}))).seconds == 37.0
        date = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=120), usegmt=True)
        assert 100 < (await deferred(plugin, receiver, Answer(status, {"Retry-After": date}))).seconds <= 120
        odd = await deferred(plugin, receiver, Answer(status, {"Retry-After": "soon"}))
        assert odd.seconds <= 72.0
        endless = await deferred(plugin, receiver, Answer(status, {"Retry-After": "9" * 30}))
        assert endless.seconds == 3_600.0


@pytest.mark.slow
async def test_a_receiver_that_hangs_is_given_up_before_the_plugin_is(load: Load) -> None:
    with receiving() as receiver:
        plugin = load("webhook.py", url=receiver.url, timeout=0.5)
        late = await deferred(plugin, receiver, Answer(hangs=True))
        assert "no answer in time" in str(late)
        receiver.released.set()
    assert plugin.loop.stuck_in == ""


async def test_a_receiver_that_is_not_there_is_tried_later(load: Load) -> None:
    with receiving() as receiver:
        url = receiver.url
    with pytest.raises(TryLater, match="ConnectError"):
        await notify(load("webhook.py", url=url), Notice((FAILED,)))


@pytest.mark.parametrize("status", [301, 400, 404, 410])
async def test_what_a_receiver_refuses_is_given_up_and_its_address_is_in_no_error(
    load: Load, status: int
) -> None:
    with receiving([Answer(status)]) as receiver:
        plugin = load("webhook.py", receiver.url, url="secret:hook")
        with pytest.raises(GiveUp, match=f"HTTP {status}"):
            await notify(plugin, Notice((FAILED,)))
    assert "s3cret" not in plugin.standing.last_error
    assert plugin.standing.failures == 1


@pytest.mark.parametrize("url", ["no address", "ftp://h/x", "http://[::1/x", "secret:hook"])
async def test_an_address_that_is_none_is_given_up_and_not_shown(load: Load, url: str) -> None:
    with pytest.raises(GiveUp) as caught:
        await notify(load("webhook.py", "nohttp:", url=url), Notice((FAILED,)))
    assert "option `url`" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "option `url`"),
        ({"url": "http://h", "format": "xml"}, "option `format`"),
        ({"url": "http://h", "headers": []}, "option `headers`"),
        ({"url": "http://h", "colour": "red"}, "unknown option 'colour'"),
        ({"url": "http://h", "min_interval": "soon"}, "option `min_interval`"),
    ],
)
async def test_an_option_that_is_wrong_is_named(load: Load, options: dict[str, object], said: str) -> None:
    plugin = load("webhook.py", **options)
    assert plugin.fault is not None
    assert said in plugin.fault.message
