import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.front.guard import HostGuard


@pytest.mark.parametrize(
    ("authority", "allowed"),
    [
        ("localhost", True),
        ("localhost.", True),
        ("localhost:8765", True),
        ("127.0.0.1", True),
        ("127.1.2.3:80", True),
        ("[::1]", True),
        ("[::1]:80", True),
        ("::1", False),
        ("[::1]evil.example.com", False),
        ("[::1", False),
        ("localhost:80:80", False),
        ("localhost:evil", False),
        ("localhost evil.example.com", False),
        ("evil.example.com", False),
        ("192.168.1.5", False),
        ("0.0.0.0", False),
        ("", False),
        (":80", False),
    ],
)
def test_only_names_of_this_host_are_served(authority: str, *, allowed: bool) -> None:
    assert HostGuard().is_allowed_host(authority) is allowed


def test_an_address_that_was_connected_to_may_be_named_and_a_name_may_not() -> None:
    guard = HostGuard(["0.0.0.0", "fleet.lan"])
    hosts = ("192.168.1.5:8765", "192.168.1.6", "fleet.lan", "0.0.0.0", "other.lan")
    assert [guard.is_allowed_host(host, "192.168.1.5") for host in hosts] == [True, False, True, False, False]


@given(st.text())
def test_any_header_is_looked_at_without_a_fault(text: str) -> None:
    guard = HostGuard()
    assert guard.is_allowed_host(text) in {True, False}
    assert guard.is_allowed_origin(text) in {True, False}
