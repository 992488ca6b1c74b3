import time
import xmlrpc.client

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.surfaces.xmlrpc.faults import Fault, RpcFault
from orchestra_supervisor.surfaces.xmlrpc.wire import (
    MAX_DEPTH,
    BadCall,
    Call,
    encode_fault,
    encode_value,
    parse_call,
)

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.text(
        st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff\x7f")
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"\A\w{1,5}\Z"), inner, max_size=3)
    ),
    max_leaves=10,
)


def decoded(body: bytes) -> object:
    return xmlrpc.client.loads(body)[0][0]


@given(st.lists(VALUES, max_size=4))
def test_a_call_arrives_as_it_was_sent(params: list[object]) -> None:
    body = xmlrpc.client.dumps(tuple(params), "supervisor.getState").encode()  # type: ignore[arg-type]
    assert parse_call(body) == Call("supervisor.getState", tuple(params))


@given(VALUES)
def test_an_answer_arrives_as_it_was_meant(value: object) -> None:
    assert decoded(encode_value(value)) == value


def test_a_call_needs_no_params_and_base64_is_text() -> None:
    assert parse_call(b"<methodCall><methodName>a.b</methodName></methodCall>") == Call("a.b", ())
    body = xmlrpc.client.dumps((xmlrpc.client.Binary(b"caf\xc3\xa9"), [xmlrpc.client.Binary(b"\xff")]), "a.b")
    assert parse_call(body.encode()) == Call("a.b", ("café", ["\ufffd"]))


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]><methodCall><methodName>&j;</methodName></methodCall>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no xml",
        b"<methodCall/>",
        b"<methodCall><methodName></methodName></methodCall>",
        b"<methodResponse><params></params></methodResponse>",
        b"<methodCall><methodName>a</methodName>",
        b"<methodCall><a><methodName>a</methodName></a></methodCall>",
        b"<methodCall><methodName>a</methodName><fault><value>x</value></fault></methodCall>",
        b"<methodCall><methodName>a</methodName><params><param><value><int>x</int></value></param></params></methodCall>",
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><methodCall><methodName>a</methodName></methodCall>',
        BOMB.encode(),
        b"<methodCall><methodName>a</methodName><params>" + b"<array>" * MAX_DEPTH,
        b"<methodCall><methodName>a</methodName><params>" + b"<param/>" * 20_000 + b"</params></methodCall>",
        b"<methodCall><methodName>a</methodName><params><param><value><int>"
        + b"9" * 100_000
        + b"</int></value></param></params></methodCall>",
        b"\xff\xfe<\x00",
    ],
)
def test_what_is_no_call_is_refused_at_once(body: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(BadCall):
        parse_call(body)
    assert time.monotonic() - began < 2


@given(st.binary(max_size=200))
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(BadCall):
        parse_call(body)


def test_what_xml_forbids_is_shown_by_its_number() -> None:
    assert decoded(encode_value("\x1b[31mred\x00\ufffe\n\t")) == "\\x1b[31mred\\x00\\ufffe\n\t"
    assert decoded(encode_value({"at": 2**40, "list": [-(2**40)]})) == {"at": 2**31 - 1, "list": [-(2**31)]}
    assert decoded(encode_value("\udcff")) == "\\udcff"


def test_a_fault_has_code_and_words_and_does_not_repeat_a_clients_megabytes() -> None:
    with pytest.raises(xmlrpc.client.Fault) as plain:
        decoded(encode_fault(RpcFault(Fault.SHUTDOWN_STATE)))
    assert (plain.value.faultCode, plain.value.faultString) == (6, "SHUTDOWN_STATE")
    with pytest.raises(xmlrpc.client.Fault) as long:
        decoded(encode_fault(RpcFault(Fault.BAD_NAME, "<&\x01" + "x" * 1_000_000)))
    assert long.value.faultString.startswith("BAD_NAME: <&\\x01xxx")
    assert len(long.value.faultString) < 3_000
