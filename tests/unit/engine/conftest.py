import pytest
import trio.testing


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Trio on a clock that jumps to the next deadline: nothing here waits for real."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
