"""Which changes count: globs, folders, and what is ignored."""

from pathlib import Path

import pytest

from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.watch.patterns import Selection, nearest_folder


def select(folder: Path, *paths: str, **more: object) -> Selection:
    return Selection(str(folder), WatchSpec.model_validate({"paths": paths, **more}), (f"{folder}/logs",))


@pytest.mark.parametrize(
    ("paths", "path", "wanted"),
    [
        (("src/**/*.py",), "src/a.py", True),
        (("src/**/*.py",), "src/deep/er/a.py", True),
        (("src/**/*.py",), "src/a.txt", False),
        (("src/**/*.py",), "other/a.py", False),
        (("src/**/*.py",), "deep/src/a.py", False),
        (("*.py",), "a.py", True),
        (("*.py",), "deep/a.py", False),
        (("src",), "src/any/thing", True),
        (("src/",), "src/any/thing", True),
        (("config.yaml",), "config.yaml", True),
        (("config.yaml",), "deep/config.yaml", False),
        (("a/*/b.txt",), "a/x/b.txt", True),
        (("a/*/b.txt",), "a/x/y/b.txt", False),
        (("src",), "src/__pycache__/a.pyc", False),
        (("src",), "src/.a.py.swp", False),
        (("src",), "src/4913", False),
        (("src",), "src/a.py~", False),
        (("src",), "src/node_modules/x/y.js", False),
        ((".",), "logs/web.log", False),
        ((".",), "anything", True),
    ],
)
def test_a_path_counts_where_a_pattern_fits_and_nothing_ignores_it(
    tmp_path: Path, paths: tuple[str, ...], path: str, wanted: bool
) -> None:
    assert select(tmp_path, *paths).counts(f"{tmp_path}/{path}") is wanted


def test_what_is_ignored_by_pattern_or_by_gitignore_does_not_count(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("build/\n*.gen.py\n[\n", encoding="utf-8")
    plain = select(tmp_path, "**/*.py", ignore=["tests/", "*_old.py"])
    git = select(tmp_path, "**/*.py", gitignore=True)
    for path, by_plain, by_git in (
        ("a.py", True, True),
        ("tests/a.py", False, True),
        ("x/a_old.py", False, True),
        ("build/a.py", True, False),
        ("x/y.gen.py", True, False),
    ):
        full = f"{tmp_path}/{path}"
        assert (plain.counts(full), git.counts(full)) == (by_plain, by_git), path
    (tmp_path / ".gitignore").write_text("", encoding="utf-8")
    git.refresh()
    assert git.counts(f"{tmp_path}/build/a.py")


def test_a_pattern_may_lead_out_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    selection = select(tmp_path / "web", "../shared/**/*.py", f"{tmp_path}/[odd] name/*.txt")
    assert selection.counts(f"{tmp_path}/shared/a.py")
    assert not selection.counts(f"{tmp_path}/web/shared/a.py")
    assert selection.shown(f"{tmp_path}/web/a.py") == "a.py"


def test_the_folders_that_are_watched_are_those_that_are_there(tmp_path: Path) -> None:
    selection = select(tmp_path, "src/**/*.py", "conf/*.json", "a/b/c")
    assert selection.folders() == {str(tmp_path): False}
    (tmp_path / "src").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "a").mkdir()
    assert selection.folders() == {
        str(tmp_path): False,
        f"{tmp_path}/src": True,
        f"{tmp_path}/conf": False,
        f"{tmp_path}/a": False,
    }
    assert nearest_folder(f"{tmp_path}/src/x/y") == f"{tmp_path}/src"


def test_a_survey_counts_files_sees_changes_and_is_not_led_in_circles(tmp_path: Path) -> None:
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "deep" / "circle").symlink_to(tmp_path / "src")
    for name in ("a.py", "deep/b.py", "c.txt"):
        (tmp_path / "src" / name).write_text("x", encoding="utf-8")
    selection = select(tmp_path, "src/**/*.py")
    files, stamp = selection.survey()
    assert files == 2
    assert selection.survey() == (files, stamp)
    (tmp_path / "src" / "a.py").write_text("longer", encoding="utf-8")
    assert selection.survey() != (files, stamp)
