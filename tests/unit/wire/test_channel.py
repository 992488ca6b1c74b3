"""The channel: framed messages and descriptors over a real socketpair."""

import json
import os
import select
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.wire.channel import FD_VARIABLE, Channel, ChannelClosed, inherited_socket
from orchestra_supervisor.wire.frames import MAX_BODY, MAX_FDS, VERSION, Message, WireError, encode_frame


@pytest.fixture
def pair():
    left, right = (Channel(sock) for sock in socket.socketpair())
    yield left, right
    left.close()
    right.close()


@pytest.fixture
def raw():
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    yield ours, channel
    ours.close()
    channel.close()


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def receive(channel: Channel, count: int = 1) -> list[tuple[Message, list[int]]]:
    """Read until `count` messages came, within five seconds."""
    messages: list[tuple[Message, list[int]]] = []
    while len(messages) < count:
        assert select.select([channel], [], [], 5)[0], f"only {len(messages)} of {count} messages came"
        messages += channel.on_readable()
    return messages


def test_a_message_arrives_as_it_was_sent(pair):
    left, right = pair
    left.send({"type": "ping", "id": 7, "text": "zażółć\x00\ud800"})
    assert receive(right) == [({"type": "ping", "id": 7, "text": "zażółć\x00\ud800"}, [])]


def test_passed_descriptors_work_are_close_on_exec_and_stay_with_the_sender(pair):
    left, right = pair
    read_end, write_end = os.pipe()
    left.send({"type": "open"}, [read_end])
    ((message, fds),) = receive(right)
    assert message == {"type": "open"}
    assert not os.get_inheritable(fds[0])
    os.write(write_end, b"through")
    os.close(write_end)
    assert os.read(fds[0], 100) == b"through"
    assert os.fstat(read_end)
    os.close(read_end)
    os.close(fds[0])


def test_each_frame_gets_its_own_descriptors_when_frames_arrive_together(pair):
    left, right = pair
    files = [os.memfd_create(f"f{n}") for n in range(5)]
    left.send({"type": "a"}, files[:2])
    left.send({"type": "b"})
    left.send({"type": "c"}, files[2:])
    received = receive(right, 3)
    assert [len(fds) for _, fds in received] == [2, 0, 3]
    got = [fd for _, fds in received for fd in fds]
    assert [os.fstat(fd).st_ino for fd in got] == [os.fstat(fd).st_ino for fd in files]
    for fd in files + got:
        os.close(fd)


def test_what_the_socket_does_not_take_waits_and_keeps_order_and_descriptors(pair):
    left, right = pair
    file = os.memfd_create("kept")
    inode = os.fstat(file).st_ino
    for number in range(300):
        left.send({"type": "n", "number": number, "pad": "x" * 10_000}, [file] if number % 50 == 0 else [])
    os.close(file)  # what waits has its own duplicate
    assert left.wants_write
    assert left.queued > 0
    received: list[tuple[Message, list[int]]] = []
    while len(received) < 300:
        left.on_writable()
        received += receive(right)
    assert not left.wants_write
    assert left.queued == 0
    assert [message["number"] for message, _ in received] == list(range(300))
    for message, fds in received:
        assert len(fds) == (1 if message["number"] % 50 == 0 else 0)
        for fd in fds:
            assert os.fstat(fd).st_ino == inode
            os.close(fd)


def test_a_peer_that_does_not_read_is_dead_when_the_bound_is_reached():
    ours, theirs = socket.socketpair()
    channel = Channel(ours, send_limit=1_000_000)

    def flood() -> None:
        for _ in range(10_000):
            channel.send({"type": "n", "pad": "x" * 1_000})

    with pytest.raises(ChannelClosed, match="does not read"):
        flood()
    with pytest.raises(ChannelClosed, match="does not read"):
        channel.send({"type": "more"})
    assert channel.queued <= 1_000_000
    channel.close()
    theirs.close()


def test_a_closed_peer_is_reported_by_reading_and_by_writing(pair):
    left, right = pair
    right.close()
    with pytest.raises(ChannelClosed, match="peer closed"):
        left.on_readable()
    with pytest.raises(ChannelClosed):
        left.send({"type": "x"})


def test_complete_messages_before_the_end_are_delivered_and_a_cut_frame_is_not(raw):
    ours, channel = raw
    ours.sendall(encode_frame({"type": "whole"}) + encode_frame({"type": "cut"})[:-3])
    ours.close()
    assert receive(channel) == [({"type": "whole"}, [])]
    with pytest.raises(ChannelClosed, match="middle of a frame"):
        channel.on_readable()


def test_messages_before_garbage_are_delivered_and_the_next_read_says_what_was_wrong(raw):
    ours, channel = raw
    ours.sendall(encode_frame({"type": "whole"}) + b"GET / HTTP/1.1\r\n\r\n")
    assert receive(channel) == [({"type": "whole"}, [])]
    assert select.select([channel], [], [], 5)[0], "a broken channel must be seen as readable"
    with pytest.raises(ChannelClosed, match="not a frame"):
        channel.on_readable()


def test_a_frame_that_promises_descriptors_it_does_not_bring_breaks_the_channel(raw):
    ours, channel = raw
    ours.sendall(encode_frame({"type": "open"}, fds=1))
    with pytest.raises(ChannelClosed, match="1 descriptors, 0 came"):
        channel.on_readable()


def test_descriptors_without_a_frame_break_the_channel_and_are_closed(raw):
    ours, channel = raw
    file = os.memfd_create("stray")
    before = open_descriptors()
    socket.send_fds(ours, [encode_frame({"type": "x"})], [file] * 3)
    assert [message for message, _ in channel.on_readable()] == [{"type": "x"}]
    with pytest.raises(ChannelClosed, match="no frame speaks of"):
        channel.on_readable()
    channel.close()
    assert len(open_descriptors() - before) == 0
    os.close(file)


def test_close_drops_descriptors_that_wait_to_be_sent(pair):
    left, _ = pair
    file = os.memfd_create("queued")
    before = open_descriptors()
    while left.queued < 10_000:
        left.send({"type": "x", "pad": "x" * 5_000})
    left.send({"type": "x"}, [file, file])
    assert len(open_descriptors() - before) == 2
    left.close()
    left.close()
    assert not open_descriptors() - before
    os.close(file)


def test_a_message_over_a_limit_is_refused_and_the_channel_goes_on(pair):
    left, right = pair
    with pytest.raises(WireError, match="over the limit"):
        left.send({"type": "big", "pad": "x" * MAX_BODY})
    with pytest.raises(WireError, match="descriptors"):
        left.send({"type": "many"}, [0] * (MAX_FDS + 1))
    left.send({"type": "small"})
    assert receive(right) == [({"type": "small"}, [])]


def test_a_length_over_the_limit_is_refused_before_anything_is_stored(raw):
    ours, channel = raw
    ours.sendall(struct.pack(">IBBH", MAX_BODY + 1, VERSION, 0, 0))
    with pytest.raises(ChannelClosed, match="over the limits"):
        channel.on_readable()


def test_reading_without_data_returns_nothing(pair):
    assert pair[0].on_readable() == []


def test_the_inherited_socket_is_taken_from_the_environment_and_kept_from_children():
    ours, theirs = socket.socketpair()
    number = theirs.detach()
    os.set_inheritable(number, True)
    taken = inherited_socket({FD_VARIABLE: str(number)})
    assert taken.fileno() == number
    assert not taken.get_inheritable()
    taken.close()
    ours.close()
    with pytest.raises(KeyError):
        inherited_socket({})
    with pytest.raises(ValueError, match="x"):
        inherited_socket({FD_VARIABLE: "x"})


def test_a_socket_may_be_named_by_another_variable():
    ours, theirs = socket.socketpair()
    with ours, inherited_socket({FD_VARIABLE: "x", "OTHER": str(theirs.detach())}, "OTHER") as taken:
        taken.sendall(b"x")
        assert ours.recv(10) == b"x"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
messages = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.text(min_size=1, max_size=8),
    st.dictionaries(st.text(max_size=8), json_values, max_size=4),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(messages, min_size=1, max_size=6), st.data())
def test_any_split_of_the_stream_gives_the_same_messages(sent, data):
    stream = b"".join(encode_frame(message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    received: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if start < end:
            ours.sendall(stream[start:end])
            received += [message for message, _ in channel.on_readable()]
    assert received == [json.loads(json.dumps(message)) for message in sent]
    ours.close()
    channel.close()


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5), st.integers(0, 3))
def test_garbage_never_raises_anything_but_channel_closed_and_leaks_no_descriptor(chunks, fds):
    before = open_descriptors()
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    try:
        for chunk in chunks:
            socket.send_fds(ours, [chunk], [0] * fds)
            for _, received in channel.on_readable():
                for fd in received:
                    os.close(fd)
    except (ChannelClosed, BrokenPipeError):
        pass
    ours.close()
    channel.close()
    assert open_descriptors() == before
