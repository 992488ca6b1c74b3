from pathlib import Path

from orchestra_supervisor.rules.diagram import render

PAGE = Path(__file__).parents[3] / "docs" / "lifecycle.md"


def test_the_page_in_the_docs_is_what_the_table_draws() -> None:
    drawn = render()
    assert PAGE.read_text(encoding="utf-8") == drawn, (
        "run: python -m orchestra_supervisor.rules.diagram > docs/lifecycle.md"
    )
    assert "stateDiagram-v2" in drawn
    assert "backoff --> starting: Start, Restart, Due" in drawn
