"""The two messages of the health service against the library that defines them."""

import pytest
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.probes.health_messages import (
    BadMessage,
    encode_request,
    serving_status,
    status_name,
)


def framed(body: bytes, compressed: int = 0) -> bytes:
    return bytes([compressed]) + len(body).to_bytes(4, "big") + body


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_request_is_what_the_library_reads(service: str) -> None:
    data = encode_request(service)
    assert data == framed(data[5:])
    assert health_pb2.HealthCheckRequest.FromString(data[5:]).service == service


@given(st.sampled_from([0, 1, 2, 3, 200]))
def test_an_answer_of_the_library_is_read(status: int) -> None:
    message = health_pb2.HealthCheckResponse(status=status)  # type: ignore[arg-type]  # an enumeration is open
    assert serving_status(framed(message.SerializeToString())) == status


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    later = b"\x12\x03abc" + b"\x1d\x00\x00\x00\x00" + b"\x21" + bytes(8) + b"\x28\x96\x01"
    assert serving_status(framed(later + b"\x08\x02")) == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the answer has no message"),
        (framed(b"\x08\x01", compressed=1), "the answer is compressed, which was not asked for"),
        (framed(b"\x08\x01")[:-1], "the answer is cut short"),
        (framed(b"\x08"), "the answer is not a health message"),
        (framed(b"\x12\x7f"), "the answer is not a health message"),
        (framed(b"\x0b"), "the answer is not a health message"),
        (framed(b"\x08" + b"\x80" * 11), "the answer is not a health message"),
    ],
)
def test_a_broken_answer_says_why(data: bytes, said: str) -> None:
    with pytest.raises(BadMessage) as caught:
        serving_status(data)
    assert str(caught.value) == said


@given(st.binary(max_size=40))
def test_garbage_is_a_status_or_a_bad_message(body: bytes) -> None:
    try:
        assert serving_status(framed(body)) >= 0
    except BadMessage:
        return


def test_statuses_have_the_names_of_the_definition() -> None:
    assert [status_name(number) for number in (0, 1, 2, 3, 9)] == [
        "UNKNOWN",
        "SERVING",
        "NOT_SERVING",
        "SERVICE_UNKNOWN",
        "status 9",
    ]
