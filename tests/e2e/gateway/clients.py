"""A client's side of a request, as a front would be it: what it is told, and what it answers."""

from collections.abc import Mapping
from typing import cast

from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Endpoint, Era, Role
from orchestra_supervisor.gateway.messages import Json

VERSIONS = {Era.HANDSHAKE: "2025-11-25", Era.STATELESS: "2026-07-28"}


class Client:
    """Calls an endpoint in one era."""

    def __init__(
        self,
        endpoint: Endpoint,
        era: Era = Era.STATELESS,
        *,
        capabilities: Mapping[str, object] | None = None,
        principal: str = "uid 1000",
        session: str = "",
        answers: Mapping[str, Json] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.answers = dict(answers or {})
        self.told: list[tuple[str, Json]] = []
        self.asked: list[tuple[str, Json]] = []
        self.caller = Caller(
            principal=principal,
            role=Role.ADMIN,
            era=era,
            version=VERSIONS[era],
            client={"name": "tester", "version": "1"},
            capabilities=capabilities or {},
            session=session,
        )
        self._meta: Json = {}

    @property
    def meta(self) -> Mapping[str, object]:
        return self._meta

    async def notify(self, method: str, params: Json) -> None:
        self.told.append((method, params))

    async def ask(self, method: str, params: Json) -> Json:
        self.asked.append((method, params))
        if method not in self.answers:
            raise AskRefused("it does not want to")
        return self.answers[method]

    async def request(self, method: str, params: Json | None = None) -> Json:
        asked = dict(params or {})
        self._meta = cast("Json", asked.get("_meta", {}))
        return await self.endpoint.handle(method, asked, self)

    async def call(self, tool: str, meta: Json | None = None, /, **arguments: object) -> Json:
        params: Json = {"name": tool, "arguments": arguments}
        return await self.request("tools/call", {**params, "_meta": meta} if meta else params)

    async def text(self, tool: str, **arguments: object) -> str:
        result = await self.call(tool, **arguments)
        content = cast("list[dict[str, str]]", result["content"])
        return content[0]["text"]

    async def names(self, method: str = "tools/list", key: str = "tools") -> list[str]:
        found: list[str] = []
        params: Json = {}
        while True:
            page = await self.request(method, params)
            found += [str(entry["name"]) for entry in cast("list[Json]", page[key])]
            if "nextCursor" not in page:
                return found
            params = {"cursor": page["nextCursor"]}
