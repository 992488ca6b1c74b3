"""Names are within what clients take, each its own, and the same whatever else there is."""

import re

from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.catalog.naming import NAME_LIMIT, assign_names, exposed_name

words = st.text(min_size=1, max_size=90)
pairs = st.sets(st.tuples(words, words), max_size=20)


def test_names_as_they_look() -> None:
    assert exposed_name("memory", "read_graph") == "memory__read_graph"
    assert exposed_name("my server", "a.b/c") == "my_server__a_b_c"
    long = exposed_name("s", "t" * 100)
    assert long == "s__" + "t" * 52 + "_" + long[-8:]
    assert len(long) == NAME_LIMIT


def test_of_several_with_one_name_the_unchanged_one_keeps_it() -> None:
    names = assign_names([("s", "a.b"), ("s", "a_b"), ("s", "a/b")])
    assert names["s", "a_b"] == "s__a_b"
    assert len(set(names.values())) == 3


def test_a_server_with_the_separator_in_its_name_takes_nobodys_tool() -> None:
    names = assign_names([("a__b", "c"), ("a", "b__c")])
    assert len(set(names.values())) == 2
    assert "a__b__c" not in names.values()


@given(pairs)
def test_every_name_is_valid_and_its_own(found: set[tuple[str, str]]) -> None:
    names = assign_names(found)
    assert set(names) == found
    assert len(set(names.values())) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names.values())


@given(pairs)
def test_names_do_not_depend_on_order(found: set[tuple[str, str]]) -> None:
    ordered = sorted(found)
    assert assign_names(ordered) == assign_names(reversed(ordered))
