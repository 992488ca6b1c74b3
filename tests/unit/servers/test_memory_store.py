"""The memory store under texts that nobody chose kindly."""

import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.servers.memory.store import Store

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
SYNTAX = st.lists(
    st.sampled_from([*"\"*()^:-+{},'", "AND", "OR", "NOT", "NEAR", "a", "key"]), max_size=12
).map(" ".join)


def test_any_text_may_be_kept_and_any_text_may_be_searched() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "m.sqlite3")
        with closing(store.database):
            store.remember("a witness", ["tag"], "key")

            @given(TEXT, TEXT | SYNTAX)
            @settings(max_examples=150, deadline=None)
            def search_anything(text: str, query: str) -> None:
                kept, _ = store.remember(text, [], "other")
                assert store.get(kept.id) == kept
                assert kept.text == text
                found, _ = store.search(query, [], 5)
                assert len(found) <= 5
                assert [hit.record.key for hit in store.search("witness", ["tag"], 5)[0]][:1] == ["key"]

            search_anything()
            assert store.count() == 2


@given(st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_a_text_is_found_by_its_own_words(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "m.sqlite3")
        with closing(store.database):
            record, _ = store.remember(" ".join(words), [], None)
            found, has_all = store.search(" ".join(reversed(words)), [], 5)
            assert [hit.record for hit in found] == [record]
            assert has_all


def test_better_matches_come_first_and_all_tags_must_fit(tmp_path: Path) -> None:
    store = Store(tmp_path / "m.sqlite3")
    with closing(store.database):
        store.remember("heron " + "filler " * 50, ["x", "y"], "weak")
        store.remember("heron heron", ["x"], "strong")
        found, _ = store.search("heron", [], 10)
        assert [hit.record.key for hit in found] == ["strong", "weak"]
        assert found[0].score > found[1].score
        assert [hit.record.key for hit in store.search("heron", ["x", "y"], 10)[0]] == ["weak"]
        assert store.search("heron", ["z"], 10) == ([], True)
        assert [record.key for record in store.page(["y"], 10, None)[0]] == ["weak"]
