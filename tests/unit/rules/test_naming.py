import pytest

from orchestra_supervisor.model.errors import InvalidRequest, UnknownService
from orchestra_supervisor.rules.naming import resolve_names, visible

KNOWN = ["backend", "mcp_memory", "mcp_files", "context"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["backend"], ["backend"]),
        (["context", "backend"], ["context", "backend"]),
        (["mcp_*"], ["mcp_memory", "mcp_files"]),
        (["mcp_files", "mcp_*"], ["mcp_files", "mcp_memory"]),
        (["all"], KNOWN),
        (["?ackend"], ["backend"]),
    ],
)
def test_names_globs_and_all_mean_services_each_once_in_order(wanted: list[str], found: list[str]) -> None:
    assert resolve_names(wanted, KNOWN) == found


def test_a_service_that_is_called_all_is_itself() -> None:
    assert resolve_names(["all"], ["all", "other"]) == ["all"]


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownService, match="no service 'bakend'") as caught:
        resolve_names(["backend", "bakend"], KNOWN)
    assert caught.value.hint == "did you mean backend?"
    assert caught.value.context == {"name": "bakend", "nearest": ["backend"]}


def test_a_name_like_no_other_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownService) as caught:
        resolve_names(["zzz"], KNOWN)
    assert caught.value.hint == "known: backend, context, mcp_files, mcp_memory"
    with pytest.raises(UnknownService) as caught:
        resolve_names(["zzz"], [f"s{number:02}" for number in range(20)])
    assert caught.value.hint.endswith("s11 and 8 more")
    with pytest.raises(UnknownService) as caught:
        resolve_names(["zzz"], [])
    assert caught.value.hint == "known: none"


def test_no_name_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="no service named"):
        resolve_names([], KNOWN)


def test_the_name_of_replicas_means_all_of_them() -> None:
    known = ["web@1", "web@2", "api"]
    groups = {"web": ("web@1", "web@2"), "idle": ()}
    assert resolve_names(["web"], known, groups) == ["web@1", "web@2"]
    assert resolve_names(["web@2", "web", "api"], known, groups) == ["web@2", "web@1", "api"]
    with pytest.raises(UnknownService) as caught:
        resolve_names(["wen"], known, groups)
    assert caught.value.hint == "did you mean web?"


def test_a_name_with_no_replicas_is_told_how_to_get_some() -> None:
    with pytest.raises(InvalidRequest, match="idle has no replicas") as caught:
        resolve_names(["idle"], ["api"], {"idle": ()})
    assert caught.value.hint == "orchestra scale idle=1"


def test_a_tag_means_all_that_have_it() -> None:
    groups = {"tag:mcp": ("mcp_memory", "mcp_files")}
    assert resolve_names(["context", "tag:mcp"], KNOWN, groups) == ["context", "mcp_memory", "mcp_files"]
    with pytest.raises(UnknownService, match="no service has the tag of 'tag:mpc'") as caught:
        resolve_names(["tag:mpc"], KNOWN, groups)
    assert caught.value.hint == "did you mean tag:mcp?"


def test_services_of_our_own_are_meant_by_their_name_alone() -> None:
    known = ["a", "@gateway"]
    assert resolve_names(["@gateway"], known) == ["@gateway"]
    assert resolve_names(["all", "*"], known) == ["a"]
    for pattern in ("@*", "@gate", "gateway"):
        with pytest.raises(UnknownService) as caught:
            resolve_names([pattern], known)
        assert caught.value.hint == "known: a"
    assert visible({"a": 1, "@gateway": 2}) == {"a": 1}
