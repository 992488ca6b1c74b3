"""The official conformance suite at the front: every scenario that a revision requires, and some more."""

from pathlib import Path

import pytest

from tests.e2e.gateway.conformance import REQUIRED, TASKS, run_suite
from tests.e2e.gateway.front_driver import Front


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", REQUIRED)
def test_the_front_conforms(front: Front, tmp_path: Path, revision: str) -> None:
    verdict = run_suite(front.url, revision, tmp_path)
    assert verdict.status == 0, verdict.said
    assert verdict.failed == (TASKS if revision == "2026-07-28" else set()), verdict.said
    assert verdict.scenarios >= REQUIRED[revision]
