"""The index: whatever happens to a tree, looks at parts add up to a look at the whole."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.servers.context.feed import MAX_REMEMBERED, Feed
from orchestra_supervisor.servers.context.index import Change, Index
from orchestra_supervisor.servers.context.languages import language_of
from orchestra_supervisor.servers.context.watch import MAX_HINTS, MAX_PIECES, Hints, pieces_of

NAMES = ("a", "b", "c.py", "build", ".gitignore")
PATTERNS = ("build/", "*.py", "!c.py", "/a", "a/b", "**/b", "build", "")


def scan(root: Path, limit: int = 1000) -> Index:
    index = Index(str(root), limit)
    index.apply(index.look({""}))
    return index


def paths(index: Index) -> list[str]:
    return [entry.path for entry in index.entries()]


def write(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


Step = tuple[str, list[str], list[str], list[str]]

steps = st.tuples(
    st.sampled_from(["write", "remove", "move", "rules"]),
    st.lists(st.sampled_from(NAMES[:4]), min_size=1, max_size=3),
    st.lists(st.sampled_from(NAMES[:4]), min_size=1, max_size=3),
    st.lists(st.sampled_from(PATTERNS), max_size=3),
)


def play(root: Path, step: Step) -> set[str]:
    """Do one thing to a tree; return the hints that a watcher would give."""
    kind, source, target, patterns = step
    path, other = "/".join(source), "/".join(target)
    try:
        if kind == "write":
            write(root, path, "x" * len(path))
            return {source[0], path}
        if kind == "rules":
            directory = root / "/".join(source[:-1])
            (directory / ".gitignore").write_text("\n".join(patterns), encoding="utf-8")
            return {"/".join(source[:-1])}
        if kind == "move":
            (root / other).parent.mkdir(parents=True, exist_ok=True)
            (root / path).rename(root / other)
            return {path, other, target[0]}
        if (root / path).is_dir():
            shutil.rmtree(root / path)
        else:
            (root / path).unlink()
    except OSError:
        return {source[0], target[0]}
    return {path}


@given(st.lists(st.lists(steps, max_size=3), max_size=5))
@settings(max_examples=60, deadline=None)
def test_looks_at_the_hints_add_up_to_the_whole(batches: list[list[Step]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        index = scan(root)
        told: set[str] = set()
        for batch in batches:
            hints = {hint for step in batch for hint in play(root, step)}
            for change in index.apply(index.look(hints)):
                if change.kind == "created":
                    assert change.path not in told
                elif change.kind == "renamed":
                    told.remove(change.old_path or "")
                else:
                    assert change.path in told
                (told.discard if change.kind == "deleted" else told.add)(change.path)
            whole = scan(root)
            assert paths(index) == paths(whole) == sorted(told)
            assert index.entries() == whole.entries()


FOREST = (
    *("a/b/c.py", "a/b/build", "a/build/x", "a/build/keep", "a/c.py", "a/x", "b/a/b/x", "b/a/c.py"),
    *("b/build/x", "b/c.py", "build/x", "build/sub/keep", "c.py", "keep", "x", "a/[d]/x y", "a/[d]/d"),
)


def listed_by_git(root: Path) -> list[str]:
    command = ["git", "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", timeout=20, check=True)
    return sorted(done.stdout.split("\0")[:-1])


def make_forest(root: Path, rules: dict[str, list[str]]) -> None:
    (root / ".git" / "objects").mkdir(parents=True)
    (root / ".git" / "refs").mkdir()
    (root / ".git" / "HEAD").write_text("ref: refs/heads/x", encoding="utf-8")
    for path in FOREST:
        write(root, path)
    for place, patterns in rules.items():
        write(root, f"{place}/.gitignore".lstrip("/"), "\n".join(patterns))


@pytest.mark.parametrize(
    ("rules", "is_kept", "is_ignored"),
    [
        ({"": ["build/"]}, "a/b/build", "a/build/x"),  # a file of that name is no directory
        ({"": ["c.py"], "a": ["!c.py"]}, "a/b/c.py", "b/c.py"),  # the deeper file decides
        ({"": ["!x"], "a": ["x"]}, "build/x", "a/x"),
        ({"": ["build", "!keep"]}, "keep", "a/build/keep"),  # nothing comes back out of an ignored directory
        ({"": ["/x"]}, "a/x", "x"),
        ({"a": ["/build/*", "!/build/keep"]}, "a/build/keep", "a/build/x"),
        ({"": ["b/**/x"]}, "a/x", "b/a/b/x"),
        ({"": ["*.py", "!a/*.py"]}, "a/c.py", "a/b/c.py"),
        ({"": ["*", "!*/"], "b": ["!x"]}, "b/a/b/x", "a/x"),  # directories come back, whatever ignored them
    ],
)
def test_each_rule_of_gitignore_is_kept(
    tmp_path: Path, rules: dict[str, list[str]], is_kept: str, is_ignored: str
) -> None:
    make_forest(tmp_path, rules)
    seen = paths(scan(tmp_path))
    assert is_kept in seen
    assert is_ignored not in seen
    assert seen == listed_by_git(tmp_path)


LINES = (
    *(*PATTERNS, "x", "!x", "keep", "!build/", "b/*", "!c.py", "*", "!*/", "**", "**/", "a/**", "a/**/"),
    *("/*/x", "x y", "#x", "\\#x", "d ", "[d]", "\\[d]/d", "!", "/", "a//b"),
)
RULES = st.dictionaries(
    st.sampled_from(["", "a", "b", "a/b", "a/[d]"]),
    st.lists(st.sampled_from(LINES), min_size=1, max_size=4),
    min_size=1,
)


@given(RULES)
@settings(max_examples=25, deadline=None)
def test_what_counts_is_what_counts_for_git(rules: dict[str, list[str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        make_forest(root, rules)
        assert paths(scan(root)) == listed_by_git(root)


def test_rules_above_the_root_count_up_to_the_repository_and_no_further(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", "*.c\n")
    write(tmp_path, "repo/.gitignore", "*.log\n/sub/x.txt\n")
    write(tmp_path, "repo/.git/info/exclude", "*.tmp\n")
    for name in ("a.c", "a.log", "a.tmp", "x.txt", "y.txt"):
        write(tmp_path, f"repo/sub/{name}")
    assert paths(scan(tmp_path / "repo" / "sub")) == ["a.c", "y.txt"]


def test_of_a_tree_in_an_ignored_directory_all_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, ".gitignore", "build/\n")
    write(tmp_path, "build/sub/.gitignore", "!x\n")
    write(tmp_path, "build/sub/x")
    write(tmp_path, "other/x")
    assert paths(scan(tmp_path / "build" / "sub")) == []
    assert paths(scan(tmp_path / "other")) == ["x"]


def test_a_gitignore_with_a_broken_pattern_keeps_its_others(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"*.log\n!\n\xff\xfe\n[\n")
    write(tmp_path, "a.log")
    write(tmp_path, "a.txt")
    assert paths(scan(tmp_path)) == [".gitignore", "a.txt"]


def test_links_are_entries_and_are_never_followed(tmp_path: Path) -> None:
    write(tmp_path, "d/f.py")
    (tmp_path / "d" / "loop").symlink_to("..")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    index = scan(tmp_path)
    assert [(entry.path, entry.language) for entry in index.entries()] == [
        ("broken", "symlink"),
        ("d/f.py", "python"),
        ("d/loop", "symlink"),
    ]


def test_a_tree_over_the_limit_is_cut_and_says_so(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path, f"f{number:02}")
    index = scan(tmp_path, limit=20)
    assert (len(index), index.truncated) == (20, True)
    kept = paths(index)
    write(tmp_path, "late")
    assert index.apply(index.look({"late"})) == []
    assert index.apply(index.look({""})) == []
    assert paths(index) == kept
    (tmp_path / kept[0]).unlink()
    assert index.apply(index.look({kept[0]})) == [Change("deleted", kept[0])]


def test_a_file_that_moved_is_one_change_though_only_its_new_place_is_known(tmp_path: Path) -> None:
    write(tmp_path, "a/x.py", "text")
    index = scan(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x.py").rename(tmp_path / "b" / "y.py")
    assert index.apply(index.look({"b/y.py"})) == [Change("renamed", "b/y.py", "a/x.py")]
    assert index.apply(index.look({"a/x.py"})) == []


def test_a_second_name_of_a_file_is_created_and_not_moved(tmp_path: Path) -> None:
    write(tmp_path, "x.py", "text")
    index = scan(tmp_path)
    os.link(tmp_path / "x.py", tmp_path / "y.py")
    assert index.apply(index.look({"y.py"})) == [Change("created", "y.py")]
    assert paths(index) == ["x.py", "y.py"]


def test_pieces_leave_out_what_is_ignored(tmp_path: Path) -> None:
    for path in ("src/a/x", "src/node_modules/y", "docs/b/z", "node_modules/w"):
        write(tmp_path, path)
    look = Index(str(tmp_path)).look({""})
    assert pieces_of(look.directories, look.mixed) == {"": False, "src": False, "src/a": True, "docs": True}
    assert pieces_of({"", "a"}, set()) == {"": True}
    many = {f"d{number}" for number in range(MAX_PIECES)}
    assert pieces_of({"", *many}, {""}) == {"": True}


def test_too_many_hints_become_one_look_at_everything() -> None:
    woken: list[int] = []
    hints = Hints("/root", lambda: woken.append(1))
    for number in range(MAX_HINTS + 1):
        hints.add(f"f{number}")
    assert hints.take() == {""}
    assert woken == [1]
    hints.add("a/node_modules/x")
    assert hints.take() == set()
    hints.add("a/.gitignore")
    assert hints.take() == {"a"}
    assert len(woken) == 2


@given(st.integers(0, 2 * MAX_REMEMBERED), st.integers(-5, 2 * MAX_REMEMBERED + 5))
@settings(max_examples=40, deadline=None)
def test_a_reader_gets_all_that_follows_its_id_or_learns_of_a_gap(count: int, after: int) -> None:
    feed = Feed()
    feed.publish(Change("created", str(number)) for number in range(1, count + 1))
    items, has_gap = feed.since(f"{feed.start}-{after}")
    numbers = [item.number for item in items]
    assert numbers == list(range(numbers[0], count + 1)) if numbers else True
    if not has_gap:
        assert 0 <= after <= count
        assert numbers == list(range(after + 1, count + 1))
    else:
        assert after < 0 or after > count or count - after > MAX_REMEMBERED


@pytest.mark.parametrize("text", ["", "x", "-", "zz-1", "²", "x-²", "-1", "x-99999999999999999999"])
def test_an_id_of_somebody_else_is_a_gap(text: str) -> None:
    feed = Feed()
    feed.publish([Change("created", "a")])
    items, has_gap = feed.since(text)
    assert has_gap
    assert len(items) == 1


def test_names_stand_for_languages() -> None:
    known = {"a.py": "python", "A.TSX": "typescript", "Makefile": "make", "x": "other", ".env": "config"}
    assert {name: language_of(name) for name in known} == known


def test_a_file_that_is_saved_over_and_over_is_remembered_once(tmp_path: Path) -> None:
    write(tmp_path, "a", "0")
    index = scan(tmp_path)
    for number in range(20):
        write(tmp_path, "new", str(number))
        (tmp_path / f"kept-{number}").hardlink_to(tmp_path / "a")  # so that no inode is used again
        (tmp_path / "new").replace(tmp_path / "a")
        index.apply(index.look({"a"}))
    assert len(index._paths) == len(index) == 1
