"""A line comes out of its object as it went in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.logfile.envelope import encode_envelope, open_envelope


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_what_is_put_in_comes_out(text: str, complete: bool) -> None:  # drawn
    data = text.encode()
    wrapped = encode_envelope(
        service="web", run="web-1", stream="stdout", at_wall=1.5, data=data, complete=complete
    )
    assert wrapped.count(b"\n") == 1
    assert open_envelope(wrapped[:-1]) == (data, complete)


def test_an_object_says_when_and_whose() -> None:
    wrapped = encode_envelope(
        service="web", run="web-1", stream="stderr", at_wall=1.5, data=b"\xff\x00", complete=True
    )
    assert json.loads(wrapped) == {
        "time": "1970-01-01T00:00:01.500000Z",
        "service": "web",
        "run": "web-1",
        "stream": "stderr",
        "message": "\\xff\x00",
    }


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"message": 5}', b"\xff", b"plain"])
def test_what_is_no_such_object_is_none(data: bytes) -> None:
    assert open_envelope(data) is None
