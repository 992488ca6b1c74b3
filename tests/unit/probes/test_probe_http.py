import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra_supervisor.model.spec import HttpCheck, TcpCheck
from orchestra_supervisor.probes import http as http_probe
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.probes.run import run_check
from tests.unit.probes.probe_servers import answers, serving

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def probe(check: HttpCheck | TcpCheck, within: float = 2.0) -> ProbeOutcome:
    with anyio.fail_after(5):
        return await run_check(check, within)


async def test_a_200_passes_and_says_so() -> None:
    async with serving(answers(OK)) as server:
        outcome = await probe(HttpCheck(url=server.url))
    assert outcome.passed
    assert outcome.detail == "HTTP 200"
    assert 0 < outcome.took < 2


async def test_an_answer_in_single_bytes_passes() -> None:
    async with serving(answers(*[bytes([byte]) for byte in OK])) as server:
        assert (await probe(HttpCheck(url=server.url, body_match="^ok$"))).passed


async def test_a_wrong_status_names_both() -> None:
    async with serving(answers(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")) as server:
        outcome = await probe(HttpCheck(url=server.url))
    assert not outcome.passed
    assert outcome.detail == "HTTP 503 (wanted 200-299)"


async def test_a_redirect_is_not_followed_and_its_status_counts() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with serving(answers(moved)) as server:
        assert (await probe(HttpCheck(url=server.url))).detail == "HTTP 302 (wanted 200-299)"
        assert (await probe(HttpCheck(url=server.url, status=(302, 302)))).passed
        assert len(server.requests) == 2


async def test_interim_answers_are_skipped() -> None:
    async with serving(answers(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK)) as server:
        assert (await probe(HttpCheck(url=server.url))).passed


async def test_the_request_is_well_formed_and_carries_the_checks_headers() -> None:
    async with serving(answers(OK)) as server:
        url = f"http://127.0.0.1:{server.port}/a b/é?q=x y#fragment"
        await probe(HttpCheck(url=url, method="POST", headers={"X-Token": "abc", "user-agent": "mine"}))
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "POST /a%20b/%C3%A9?q=x%20y HTTP/1.1"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["x-token"] == "abc"
    assert headers["user-agent"] == "mine"
    assert headers["connection"] == "close"
    assert headers["content-length"] == "0"


async def test_a_host_header_of_the_check_replaces_ours() -> None:
    async with serving(answers(OK)) as server:
        await probe(HttpCheck(url=server.url, headers={"Host": "virtual.test"}))
    assert server.requests[0].lower().count(b"\r\nhost:") == 1
    assert b"virtual.test" in server.requests[0]


async def test_a_login_in_the_url_becomes_a_header() -> None:
    async with serving(answers(OK)) as server:
        await probe(HttpCheck(url=f"http://me:p%40ss@127.0.0.1:{server.port}/"))
    assert b"authorization: basic bwu6cebzcw==" in server.requests[0].lower()


async def test_a_head_answer_needs_no_body() -> None:
    async with serving(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) as server:
        assert (await probe(HttpCheck(url=server.url, method="HEAD"))).passed
    assert server.requests[0].startswith(b"HEAD ")


async def test_ipv6_addresses_are_reached_and_named_in_brackets() -> None:
    try:
        async with serving(answers(OK), host="::1") as server:
            outcome = await probe(HttpCheck(url=server.url))
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    assert outcome.passed
    assert f"host: [::1]:{server.port}".encode() in server.requests[0].lower()


async def test_localhost_reaches_a_server_of_either_family() -> None:
    async with serving(answers(OK)) as server:
        assert (await probe(HttpCheck(url=f"http://localhost:{server.port}/"))).passed
    try:
        async with serving(answers(OK), host="::1") as server:
            assert (await probe(HttpCheck(url=f"http://localhost:{server.port}/"))).passed
    except OSError:
        pytest.skip("this host has no IPv6 loopback")


async def test_a_closed_port_is_refused_and_named(closed_port: int) -> None:
    outcome = await probe(HttpCheck(url=f"http://127.0.0.1:{closed_port}/"))
    assert not outcome.passed
    assert outcome.detail == f"connection refused at 127.0.0.1:{closed_port}"


async def test_a_name_that_does_not_resolve_says_so() -> None:
    outcome = await probe(HttpCheck(url="http://no-such-host.invalid/"), within=4)
    assert not outcome.passed
    assert "no-such-host.invalid" in outcome.detail


async def test_a_silent_server_fails_at_the_deadline() -> None:
    async def silent(_stream: SocketStream) -> None:
        await anyio.sleep_forever()

    async with serving(silent) as server:
        outcome = await probe(HttpCheck(url=server.url), within=0.1)
    assert outcome.detail == "no answer within 0.1 s"
    assert not outcome.passed
    assert 0.1 <= outcome.took < 1


async def test_headers_that_dribble_for_ever_fail_at_the_deadline() -> None:
    async def dribble(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send(b"X-A: b\r\n")
            await anyio.sleep(0.01)

    async with serving(dribble) as server:
        assert (await probe(HttpCheck(url=server.url), within=0.15)).detail == "no answer within 0.15 s"


async def test_a_head_without_end_is_refused_before_it_fills_memory() -> None:
    async def endless(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nX-A: ")
        while True:
            await stream.send(b"a" * 10_000)

    async with serving(endless) as server:
        outcome = await probe(HttpCheck(url=server.url))
    assert not outcome.passed
    assert outcome.detail.startswith("not a valid HTTP answer")


async def test_an_endless_body_is_searched_in_its_first_64_kib_only() -> None:
    async def endless(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\nstart")
        while True:
            await stream.send(b"x" * 8192)

    async with serving(endless) as server:
        assert (await probe(HttpCheck(url=server.url, body_match="^start"))).passed
        outcome = await probe(HttpCheck(url=server.url, body_match="never"))
    assert outcome.detail == "body does not match /never/"


async def test_a_match_beyond_64_kib_does_not_count() -> None:
    size = http_probe.BODY_LIMIT
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + 4)
    async with serving(answers(head + b"x" * size + b"late")) as server:
        assert not (await probe(HttpCheck(url=server.url, body_match="late"))).passed
        assert (await probe(HttpCheck(url=server.url, body_match="x$"))).passed


async def test_a_body_that_never_ends_fails_a_match_but_not_a_status() -> None:
    async def dribble(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        while True:
            await stream.send(b"1\r\n.\r\n")
            await anyio.sleep(0.01)

    async with serving(dribble) as server:
        outcome = await probe(HttpCheck(url=server.url, body_match="ok"), within=0.2)
        assert outcome.detail == "HTTP 200, but its body did not end within 0.2 s"
        # The deadline falls into the courtesy after the verdict, which must not turn it round.
        assert (await probe(HttpCheck(url=server.url), within=0.05)).passed


async def test_bytes_that_are_not_utf8_are_searched_all_the_same() -> None:
    async with serving(answers(b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe status: up")) as server:
        assert (await probe(HttpCheck(url=server.url, body_match="status: up"))).passed


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 200", "connection closed in the middle of an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not a valid HTTP answer"),
        (b"\x00\x01\x02\x03\r\n\r\n", "not a valid HTTP answer"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "not a valid HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "broken body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "broken body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not a valid HTTP answer"),
    ],
)
async def test_a_broken_answer_is_described(answer: bytes, detail: str) -> None:
    async with serving(answers(answer)) as server:
        outcome = await probe(HttpCheck(url=server.url, body_match="ok"))
    assert not outcome.passed
    assert outcome.detail.startswith(detail)


async def test_a_reset_connection_is_described() -> None:
    async def reset(stream: SocketStream) -> None:
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with serving(reset) as server:
        outcome = await probe(HttpCheck(url=server.url))
    assert outcome.detail == "connection reset without an answer"


@pytest.mark.parametrize(
    ("check", "detail"),
    [
        (HttpCheck(url="ftp://127.0.0.1/"), "not an http:// or https:// URL with a host"),
        (HttpCheck(url="http://"), "not an http:// or https:// URL with a host"),
        (HttpCheck(url="http://127.0.0.1:99999/"), "not a URL"),
        (HttpCheck(url="http://[::1/"), "not a URL"),
        (
            HttpCheck(url="http://127.0.0.1/", headers={"X": "s3cret\r\nY: z"}),
            "a header of the check is malformed",
        ),
        (HttpCheck(url="http://127.0.0.1/", body_match="("), "body_match is not a regular expression"),
    ],
)
async def test_a_malformed_check_is_a_negative_result(check: HttpCheck, detail: str) -> None:
    outcome = await probe(check)
    assert not outcome.passed
    assert outcome.detail.startswith(detail)
    assert "s3cret" not in outcome.detail


async def test_cancellation_from_outside_passes_through() -> None:
    async def silent(_stream: SocketStream) -> None:
        await anyio.sleep_forever()

    async with serving(silent) as server:
        with anyio.move_on_after(0.05) as scope:
            await run_check(HttpCheck(url=server.url), 3.0)
    assert scope.cancelled_caught


async def test_https_needs_a_trusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = plain.extra(anyio.abc.SocketAttribute.local_port)
    listener = TLSListener(plain, server_side, standard_compatible=False)

    async def handle(stream: anyio.abc.AnyByteStream) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
            await stream.receive()
            await stream.send(OK)
        await anyio.aclose_forcefully(stream)

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        untrusted = await probe(HttpCheck(url=f"https://127.0.0.1:{port}/"))
        assert not untrusted.passed
        assert untrusted.detail.startswith(f"certificate of 127.0.0.1:{port} is not trusted")
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(http_probe, "_tls_context", lambda: trusting)
        trusted = await probe(HttpCheck(url=f"https://127.0.0.1:{port}/", body_match="ok"))
        assert trusted.passed, trusted.detail
        group.cancel_scope.cancel()


async def test_https_to_a_plain_server_fails_and_says_so() -> None:
    async with serving(answers(OK)) as server:
        check = HttpCheck(url=f"https://127.0.0.1:{server.port}/")
        outcome = await probe(check, within=0.3)
    assert not outcome.passed
    assert "TLS" in outcome.detail


def self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback test")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "loopback.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda noise: OK[:40] + noise)))
async def test_whatever_a_server_says_the_outcome_is_a_value(answer: bytes) -> None:
    async with serving(answers(answer)) as server:
        outcome = await probe(HttpCheck(url=server.url, body_match="ok"), within=0.5)
    assert isinstance(outcome.passed, bool)
    assert outcome.detail


async def test_a_unix_socket_is_asked_in_place_of_the_urls_host(tmp_path: Path) -> None:
    listener = await anyio.create_unix_listener(tmp_path / "s")
    heads: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            heads.append(await stream.receive())
            await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        outcome = await probe(HttpCheck(url="http://service.test/health", unix=str(tmp_path / "s")))
        tasks.cancel_scope.cancel()
    assert outcome.detail == "HTTP 204"
    assert heads[0].startswith(b"GET /health HTTP/1.1\r\nHost: service.test\r\n")


async def test_a_unix_socket_that_nobody_serves_says_why(tmp_path: Path) -> None:
    for name in ("dead", "stream"):
        kind = socket.SOCK_STREAM if name == "dead" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_UNIX, kind) as bound:
            bound.bind(str(tmp_path / name))
    (tmp_path / "file").touch()
    details: list[str] = []
    for name in ("none", "dead", "file"):
        outcome = await probe(HttpCheck(url="http://localhost/", unix=str(tmp_path / name)))
        assert not outcome.passed
        details.append(outcome.detail.removesuffix(f" at {tmp_path / name}"))
    assert details == ["no such socket", "connection refused", "connection refused"]


async def test_a_pattern_that_explodes_holds_up_nobody_and_is_told() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 5001\r\n\r\n" + b"a" * 5_000 + b"b"
    async with serving(answers(text)) as server, anyio.create_task_group() as tasks:
        late: list[float] = []

        async def beat() -> None:
            while True:
                before = anyio.current_time()
                await anyio.sleep(0.005)
                late.append(anyio.current_time() - before)

        tasks.start_soon(beat)
        outcome = await probe(HttpCheck(url=server.url, body_match="(a+)+$"), within=5.0)
        tasks.cancel_scope.cancel()
    assert (outcome.passed, outcome.detail) == (False, "/(a+)+$/ was not found in the body within 0.5 s")
    assert max(late) < 0.4
