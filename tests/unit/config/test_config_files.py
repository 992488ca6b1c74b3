import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra_supervisor.config import load as load_module
from orchestra_supervisor.config.check import check
from orchestra_supervisor.config.files import MAX_FILE_SIZE
from orchestra_supervisor.config.findings import Severity
from orchestra_supervisor.config.load import default_files, load_fleet
from orchestra_supervisor.model.errors import ConfigError


def the_error(path: Path):
    result = load_fleet([path], environ={})
    (finding,) = result.findings
    assert finding.severity is Severity.ERROR
    assert finding.where[0].path == str(path)
    assert result.fleet.services == {}
    return finding


def test_a_missing_file_is_an_error(tmp_path):
    assert the_error(tmp_path / "no.json").code == "file.missing"


def test_a_directory_is_an_error(tmp_path):
    assert the_error(tmp_path).code == "file.directory"


def test_a_fifo_is_an_error_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert the_error(tmp_path / "fifo").code == "file.special"


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "f.json").touch()
    assert "empty" in the_error(tmp_path / "f.json").message


def test_a_binary_file_is_an_error(tmp_path):
    path = tmp_path / "f.json"
    path.write_bytes(bytes(range(256)) * 20)
    assert the_error(path).message == "is a binary file"


def test_a_file_that_is_not_utf8_is_an_error_with_its_place(tmp_path):
    path = tmp_path / "f.json"
    path.write_bytes(b'{\n "a": "caf\xe9"}')
    finding = the_error(path)
    assert (finding.where[0].line, finding.where[0].column) == (2, 11)
    assert "0xe9" in finding.message


def test_a_file_of_ten_megabytes_is_refused(tmp_path):
    path = tmp_path / "f.json"
    path.write_text('{"services": {}}' + " " * 10_000_000, encoding="utf-8")
    finding = the_error(path)
    assert finding.code == "file.too_large"
    assert str(MAX_FILE_SIZE) in finding.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_an_error(tmp_path):
    path = tmp_path / "f.json"
    path.write_text("{}", encoding="utf-8")
    path.chmod(0)
    assert the_error(path).code == "file.unreadable"


def test_a_path_with_a_nul_is_an_error():
    result = load_fleet([Path("a\x00b")], environ={})
    assert [finding.code for finding in result.findings] == ["file.unreadable"]


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", '{"other": 1}', '{"servers": {"a": {"x": 1}}}'])
def test_an_unknown_shape_says_what_was_looked_for(write, text):
    finding = the_error(write(text))
    assert finding.code == "file.unknown_shape"
    assert "mcp_servers" in finding.hint


def test_no_files_at_all_is_an_error():
    result = load_fleet([], environ={})
    assert [finding.code for finding in result.findings] == ["file.none"]


def test_the_default_files_of_a_folder_are_those_that_are_there_in_order(tmp_path):
    for name in ("claude_mcp_config.json", "orchestra_autostart.json", "orchestra.json", "package.json"):
        (tmp_path / name).touch()
    names = [path.name for path in default_files(tmp_path)]
    assert names == ["orchestra.json", "orchestra_autostart.json", "claude_mcp_config.json"]


def test_errors_are_raised_together_the_first_one_in_words(write):
    path = write({"services": {"a": {"command": ["x"], "port": 70000, "prot": 1}}})
    result = load_fleet([path], environ={})
    with pytest.raises(ConfigError) as caught:
        result.raise_for_errors()
    assert f"{path}:7:4" in caught.value.message or f"{path}" in caught.value.message
    assert "(and 1 more)" in caught.value.message
    assert caught.value.context["count"] == 2


def test_a_fleet_without_errors_does_not_raise(write):
    load_fleet([write({"services": {}})], environ={}).raise_for_errors()


def test_faults_of_all_files_are_found_in_one_go(write):
    first = write('{"services": {', "a.json")
    second = write({"services": {"x": {"command": 3}}}, "b.json")
    third = write({"services": {"y": {}}}, "c.json")
    result = load_fleet([first, second, third], environ={})
    assert {finding.where[0].path for finding in result.errors} == {str(first), str(second), str(third)}


WORDS = (
    "services settings command port env depends_on probes readiness http type restart health_check "
    "mcp_servers endpoint include dependencies environment env_files defaults"
)
keys = st.sampled_from(WORDS.split())
trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${A}", "$$", "ready"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_garbage_gives_findings_and_never_raises(tmp_path, data):
    path = tmp_path / "garbage.json"
    path.write_bytes(data)
    result = load_fleet([path], environ={})
    assert result.errors or result.fleet.services == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.dictionaries(keys, trees, max_size=4),
    st.dictionaries(st.text(max_size=5), trees, max_size=3),
    st.sampled_from(["services", "mcp_servers", "servers"]),
    st.sampled_from(["orchestra.json", "orchestra_autostart.json", "orchestra_supervisor_config.json"]),
)
def test_any_tree_of_known_keys_gives_findings_and_never_raises(write, head, services, key, name):
    path = write({**head, key: services}, name)
    for finding in check([path], environ={"A": "b"}).findings:
        assert finding.render()
        assert finding.to_dict()


@pytest.mark.parametrize("pattern", ["**x*", "[", "*[", "", "..", "/", "?" * 300, "no/*"])
def test_no_include_pattern_makes_the_load_raise(write, pattern):
    path = write({"services": {}, "include": [pattern]})
    assert load_fleet([path], environ={}).fleet.services == {}


def test_an_include_that_says_too_much_is_stopped(write, monkeypatch):
    monkeypatch.setattr(load_module, "MAX_FILES", 5)
    for number in range(20):
        write({"settings": {}, "services": {f"s{number}": {"command": ["x"]}}}, f"parts/{number}.json")
    result = load_fleet([write({"services": {}, "include": ["parts/*.json"]})], environ={})
    assert [finding.code for finding in result.errors] == ["file.too_many"]
    assert len(result.fleet.services) == 4
