"""What is served at which path: `/mcp`, `/gw/mcp`, `/gw/<profile>/mcp`, `/s/<server>/mcp`."""

from orchestra_supervisor.gateway.endpoint import Endpoint
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.parts import Parts

__all__ = ["GatewayPlaces"]


class GatewayPlaces:
    """Finds what answers at a path, as it is now.

    Args:
        parts: Those who answer.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._served: dict[str, Served] = {}

    def find(self, path: str) -> Served | None:
        """Return what is served at a path; the same object for as long as the same endpoint answers."""
        path = path.rstrip("/")
        endpoint, served = self._endpoint(path), self._served.get(path)
        if served is not None and served.endpoint is endpoint:
            return served
        if served is not None:
            served.close()
            del self._served[path]
        if endpoint is None:
            return None
        self._served[path] = served = Served(path, endpoint)
        return served

    def _endpoint(self, path: str) -> Endpoint | None:
        catalog = self._parts.catalog
        match path.split("/"):
            case ["", "mcp"]:
                return self._parts.control
            case ["", "gw", "mcp"]:
                return None if catalog is None else catalog.profile(None)
            case ["", "gw", profile, "mcp"] if profile:
                return None if catalog is None else catalog.profile(profile)
            case ["", "s", server, "mcp"] if server:
                return None if catalog is None else catalog.server(server)
            case _:
                return None
