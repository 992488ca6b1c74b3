"""Lines and entries for the systemd journal."""

import os
import struct
from pathlib import Path

import pytest

from orchestra_supervisor.journald import ERROR, encode_entry, is_journal, with_priority


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that stands for the journal's stream."""
    with (tmp_path / "stream").open("w", encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        yield file


def test_only_the_descriptor_that_the_variable_names_is_the_journal(stream, monkeypatch) -> None:
    assert is_journal(stream.fileno())
    with Path(os.devnull).open("rb") as other:
        assert not is_journal(other.fileno())
    assert not is_journal(9999)
    for value in ("", "1", "nonsense", "1:2"):
        monkeypatch.setenv("JOURNAL_STREAM", value)
        assert not is_journal(stream.fileno())


def test_each_line_has_its_priority_where_the_journal_reads_and_none_elsewhere(stream) -> None:
    text = "orchestra keeper: a fault:\n  line 1\n\nend\n"
    assert with_priority(text, ERROR, stream.fileno()) == (
        "<3>orchestra keeper: a fault:\n<3>  line 1\n\n<3>end\n"
    )
    assert with_priority(text, ERROR, 9999) == text


def test_an_entry_frames_what_has_several_lines() -> None:
    entry = encode_entry({"MESSAGE": "a\nb", "PRIORITY": "3", "X": "= \udcff"})
    assert entry == b"MESSAGE\n" + struct.pack("<Q", 3) + b"a\nb\nPRIORITY=3\nX== \xff\n"
    with pytest.raises(AssertionError):
        encode_entry({"_PID": "1"})
