from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.plugin_api.loader import PluginLoader
from orchestra_supervisor.plugin_api.plugin import Plugin

PLUGINS = Path(__file__).parents[3] / "plugins"
SECRETS = {"secret:hook": "/hook/s3cret-Zm9v"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., Plugin]]:
    """Load a plugin of the repository as a fleet does: its file, in its own thread."""
    base: dict[str, str] = {}

    async def reveal(reference: str) -> str:
        return base.get("url", "") + SECRETS[reference] if reference in SECRETS else reference

    loader = PluginLoader(reveal)

    def load(name: str, base_url: str = "", timeout: float = 5.0, **options: object) -> Plugin:
        base["url"] = base_url
        # A copy: the checkout may be a folder that others can change.
        path = tmp_path / name
        path.write_bytes((PLUGINS / name).read_bytes())
        path.chmod(0o600)
        spec = PluginSpec.model_validate({"source": str(path), "options": options, "timeout": timeout})
        return loader.load([spec])[0]

    yield load
    loader.keep(())
