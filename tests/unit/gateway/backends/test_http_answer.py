import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.backends.http_answer import HEAD_LIMIT, Answer, Malformed, head_of_request

OK = b"HTTP/1.1 200 OK\r\n"


def fed(*parts: bytes) -> Answer:
    answer = Answer()
    for part in parts:
        answer.feed(part)
    return answer


def body_of(answer: Answer) -> bytes:
    return b"".join(answer.pieces)


def test_a_request_is_a_line_its_headers_and_an_empty_line() -> None:
    head = head_of_request("POST", "/mcp?a=1", [("Host", "x:1"), ("Mcp-Name", "")])
    assert head == b"POST /mcp?a=1 HTTP/1.1\r\nHost: x:1\r\nMcp-Name: \r\n\r\n"


@pytest.mark.parametrize(
    ("target", "line", "said"),
    [
        ("/a b", ("A", "b"), "the path '/a b'"),
        ("/a\r\nB: c", ("A", "b"), "the path"),
        ("", ("A", "b"), "the path ''"),
        ("/", ("A", "b\r\nSecret: c"), "the header 'A'"),
        ("/", ("A", "b\n"), "the header 'A'"),
        ("/", ("A\r\nB", "c"), "the header"),
        ("/", ("A b", "c"), "the header 'A b'"),
        ("/", ("", "c"), "the header ''"),
        ("/", ("A", "é"), "the header 'A'"),
        ("/", ("A", "\0"), "the header 'A'"),
    ],
)
def test_what_would_be_more_than_its_place_is_refused(target: str, line: tuple[str, str], said: str) -> None:
    with pytest.raises(Malformed, match=re.escape(said)):
        head_of_request("GET", target, [line])


def test_an_answer_of_a_known_length_keeps_its_connection() -> None:
    answer = fed(OK + b"Content-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nab", b"cde")
    assert (answer.status, answer.headers, body_of(answer)) == (
        200,
        {"content-length": "5", "x-a": "2"},
        b"abcde",
    )
    assert answer.is_whole
    assert answer.is_reusable


@pytest.mark.parametrize(
    ("text", "is_reusable"),
    [
        (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nab", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Late: 1\r\n\r\n", True),
        (OK + b"Content-Length: 2\r\n\r\nab" + OK, False),
        (OK + b"Content-Length: 2\r\n\r\nab\0", False),
        (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nabcd", False),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Go on\r\n\r\n" + OK
         + b"Content-Length: 2\r\n\r\nab", True),
    ],
)  # fmt: skip
def test_what_comes_before_and_after_an_answer_is_none_of_it(text: bytes, is_reusable: bool) -> None:
    for parts in ([text], [text[at : at + 1] for at in range(len(text))]):
        answer = fed(*parts)
        assert (answer.status, body_of(answer), answer.is_whole) == (200, b"ab", True)
        assert answer.is_reusable == is_reusable
        assert "link" not in answer.headers
        assert "x-late" not in answer.headers


def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_answer() -> None:
    answer = fed(OK + b"\r\nab", b"c")
    assert (body_of(answer), answer.is_whole) == (b"abc", False)
    answer.feed(b"")
    assert (answer.is_whole, answer.is_reusable) == (True, False)


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    answer = fed(b"HTTP/1.1 %d X\r\n\r\n" % status)
    assert (answer.status, answer.is_whole, answer.is_reusable) == (status, True, True)


@pytest.mark.parametrize(
    "parts",
    [
        [b"SSH-2.0-OpenSSH\r\n"],
        [b"HTTP/1.1 2x0 OK\r\n\r\n"],
        [OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"],
        [OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"],
        [OK + b"A b: c\r\n\r\n"],
        [OK + b"Content-Length: 3\r\n\r\nab", b""],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab", b""],
        [OK + b"Content-Le", b""],
        [b"HTTP/1.1 100 Go on\r\n\r\n", b""],
        [b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nab"],
        [OK] + [b"A: %s\r\n" % (b"b" * 1000)] * (HEAD_LIMIT // 1000 + 1),
        [b"HTTP/1.1 100 Go on\r\n\r\n"] * (HEAD_LIMIT // 20),
    ],
)
def test_what_is_no_answer_or_ends_too_early_is_told(parts: list[bytes]) -> None:
    with pytest.raises(Malformed):
        fed(*parts)


def by_h11(text: bytes) -> tuple[int, bytes, bool] | None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(text)
    status, body = 0, b""
    try:
        while True:
            match connection.next_event():
                case h11.Response() as response:
                    status = response.status_code
                case h11.Data() as data:
                    body += bytes(data.data)
                case h11.EndOfMessage():
                    connection.start_next_cycle()
                    return status, body, True
                case h11.NEED_DATA:
                    return None
                case _:
                    pass
    except h11.LocalProtocolError:  # the connection is not to be used again
        return status, body, False


@given(
    st.sampled_from([200, 202, 204, 304, 400, 404, 500, 503]),
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.booleans(),
    st.sampled_from([b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n"]),
    st.lists(st.integers(1, 60), max_size=8),
)
def test_answers_are_read_as_h11_reads_them(
    status: int, chunks: list[bytes], is_chunked: bool, connection: bytes, cuts: list[int]
) -> None:
    head = b"HTTP/1.1 %d Reason\r\n%s" % (status, connection)
    if status in {204, 304}:
        text = head + b"\r\n"
    elif is_chunked:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        text = head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    else:
        body = b"".join(chunks)
        text = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    answer = Answer()
    rest = text
    for cut in cuts:
        if rest[:cut]:
            answer.feed(rest[:cut])
        rest = rest[cut:]
    if rest:
        answer.feed(rest)
    assert answer.is_whole
    assert (answer.status, body_of(answer), answer.is_reusable) == by_h11(text)
