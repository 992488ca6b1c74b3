"""Named files are watched wherever links lead."""

from pathlib import Path

from orchestra_supervisor.watch.exact import ExactFiles


def test_files_that_are_not_there_are_waited_for_in_the_nearest_folder(tmp_path: Path) -> None:
    exact = ExactFiles((f"{tmp_path}/a.json", f"{tmp_path}/no/b.env"))
    assert exact.folders() == {str(tmp_path): False}
    assert exact.counts(f"{tmp_path}/no/b.env")
    assert not exact.counts(f"{tmp_path}/other")
    before = exact.survey()
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    assert exact.survey() != before
    assert exact.survey()[0] == 1


def test_every_link_on_the_way_counts_and_a_circle_of_links_ends(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    (first / "a.json").write_text("1", encoding="utf-8")
    (tmp_path / "data").symlink_to("first")
    (tmp_path / "a.json").symlink_to("data/a.json")
    (tmp_path / "circle").symlink_to("circle")
    exact = ExactFiles((f"{tmp_path}/a.json", f"{tmp_path}/circle"))
    assert exact.folders() == {str(tmp_path): False, f"{tmp_path}/data": False, str(first): False}
    for path in ("a.json", "data", "data/a.json", "first/a.json", "circle"):
        assert exact.counts(f"{tmp_path}/{path}"), path
    before = exact.content()
    second = tmp_path / "second"
    second.mkdir()
    (second / "a.json").write_text("2", encoding="utf-8")
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").replace(tmp_path / "data")
    assert exact.content() != before


def test_files_that_may_come_by_a_glob_count(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    exact = ExactFiles((), (f"{tmp_path}/conf.d/*.json",))
    assert exact.counts(f"{tmp_path}/conf.d/a.json")
    assert not exact.counts(f"{tmp_path}/conf.d/a.txt")
    before = exact.survey()
    (tmp_path / "conf.d" / "a.json").write_text("{}", encoding="utf-8")
    assert exact.survey() != before


def test_a_file_that_is_only_touched_holds_what_it_held(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("{}", encoding="utf-8")
    exact = ExactFiles((str(file),))
    before = exact.survey()
    file.touch()
    assert exact.survey() == before
