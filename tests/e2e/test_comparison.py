"""The benchmark beside other supervisors: what it plays, what it keeps, and what it writes from that."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # its modules import each other by their bare names

from compare_data import FIGURES, Data, load  # noqa: E402
from compare_others import Supervisord  # noqa: E402
from compare_page import render, targets  # noqa: E402
from compare_peers import Floor, Kit  # noqa: E402
from compare_play import Effort, Sample, play  # noqa: E402
from compare_plots import Line, draw, picture  # noqa: E402
from compare_programs import build  # noqa: E402
from compare_world import marked  # noqa: E402

EFFORT = Effort(3, respawn_time=5, kills=2, idle_time=0.1, looks=1, size=1_000_000, patience=10)


def sample(peer: str, number: int, respawn: float, services: int = 50, **figures: float) -> Sample:
    return Sample(peer, services, number, respawns=[respawn], figures=dict(figures))


@pytest.mark.slow
def test_a_play_takes_every_figure_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    found, folder = Sample("floor", 3, 1), tmp_path / "play"
    play((Floor, Kit("")), build(tmp_path / "programs"), folder, EFFORT, found)
    assert found.faults == []
    assert len(found.respawns) == EFFORT.kills
    assert found.figures["log_missing"] == 0
    for name, figure in FIGURES.items():
        assert name == "log_cpu" or figure.of(found) is not None, name
    assert (marked(str(tmp_path)), folder.exists()) == ({}, False)


def test_a_supervisor_that_does_not_run_is_a_fault_and_no_end_of_the_run(tmp_path: Path) -> None:
    class Missing(Floor):
        def up(self) -> None:
            self.start("false")

    (tmp_path / "programs").mkdir()
    programs = build(tmp_path / "programs")
    for kind, word in ((Missing, "it ended with 1"), (Supervisord, "No such file")):
        found, folder = Sample(kind.name, 3, 1), tmp_path / "play"
        play((kind, Kit("", "/nowhere", {"PATH": "/nowhere:/bin"})), programs, folder, EFFORT, found)
        assert word in found.faults[0]
        assert (found.figures, folder.exists()) == ({}, False)


def test_ratios_are_taken_within_rounds() -> None:
    data = Data(samples=[sample("orchestra", 1, 0.002), sample("orchestra", 2, 0.020)])
    data.samples += [sample("pm2", 1, 0.006), sample("pm2", 2, 0.060), sample("pm2", 3, 9.0)]
    assert data.ratio("pm2", 50, "respawn") == pytest.approx(3)
    assert data.ratio("s6", 50, "respawn") is None


def test_what_is_measured_again_replaces_that_alone(tmp_path: Path) -> None:
    data = Data(samples=[sample("pm2", 1, 0.006, memory=55.0, stop=1.0), sample("s6", 1, 1.0, memory=20.0)])
    data.forget(["pm2"], [50], frozenset({"memory"}))
    data.save(tmp_path / "data.json")
    kept = load(tmp_path / "data.json")
    assert (kept.value("pm2", 50, "memory"), kept.value("pm2", 50, "stop")) == (None, 1.0)
    assert (kept.value("pm2", 50, "respawn"), kept.value("s6", 50, "memory")) == (6.0, 20.0)
    kept.forget(["pm2"], [50], frozenset())
    assert kept.peers() == ["s6"]


def test_the_page_is_what_the_kept_figures_say() -> None:
    page, kept = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks" / "data.json"
    text = page.read_text(encoding="utf-8")
    assert render(text, load(kept) if kept.exists() else None) == text


def test_blocks_of_the_page_are_written_anew_and_the_rest_is_left(tmp_path: Path) -> None:
    data = Data(machine=["a machine"], samples=[sample("orchestra", 1, 0.002), sample("floor", 1, 0.001)])
    page = "before\n<!-- figures: targets -->\nold\n<!-- end -->\nafter\n"
    text = render(page, data)
    assert text.startswith("before\n<!-- figures: targets -->\n| target |")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "| respawn with 50 services, p50 | 2 times the floor, at most 2.5 | yes |" in text
    assert render(text, data) == text
    assert [one.is_met for one in targets(data) if one.reached] == [True]
    assert {path.name for path in draw(data, tmp_path)} >= {"respawn.svg", "memory.svg"}


def test_a_picture_shows_each_line_in_the_order_of_its_values() -> None:
    text = picture("growth & more", [Line("pm2", [(10, 5.0), (1000, 50.0)]), Line("s6", [])], "services")
    assert "growth &amp; more" in text
    assert ">pm2<" in text
    assert ">s6<" not in text
    first, second = (line.split('cy="')[1].split('"')[0] for line in text.splitlines() if "<circle" in line)
    assert float(first) > float(second), "more is higher up"
