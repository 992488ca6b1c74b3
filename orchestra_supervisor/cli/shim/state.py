"""What a session with the gateway rests on, kept so that the next gateway can be told all of it."""

from orchestra_supervisor.cli.shim.messages import Json, encode, key_of, notification_line, object_of

__all__ = ["Conversation", "listened"]

_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_LISTS = ("tools", "prompts", "resources")


class Conversation:
    """A session as the client sees it: how it began, to what it is subscribed, its log level."""

    def __init__(self) -> None:
        self.is_begun = False
        """The client has said `notifications/initialized`."""
        self._initialize: Json = {}
        self._capabilities: Json = {}
        self._subscriptions: dict[str, None] = {}
        self._level: object = None

    @property
    def is_open(self) -> bool:
        """Tell whether the client's `initialize` was answered."""
        return bool(self._initialize)

    def opened(self, initialize: Json, capabilities: Json) -> None:
        """Note that `initialize` has been answered, and what was promised with it."""
        self._initialize, self._capabilities = initialize, capabilities

    def note(self, request: Json, result: Json) -> None:
        """Note a request that succeeded; `result` is needed for `initialize` alone."""
        params, method = object_of(request.get("params")), request.get("method")
        if method == "initialize":
            self.opened(request, object_of(result.get("capabilities")))
        elif method == "resources/subscribe":
            self._subscriptions[str(params.get("uri"))] = None
        elif method == "resources/unsubscribe":
            self._subscriptions.pop(str(params.get("uri")), None)
        elif method == "logging/setLevel":
            self._level = params.get("level")

    def initialize_again(self, id_: str) -> bytes | None:
        """Return the client's `initialize` under another id; None where there is no session."""
        return encode({**self._initialize, "id": id_}) if self._initialize else None

    def resume(self, id_: str) -> list[bytes]:
        """Return what follows an answered `initialize` to make the session what it was."""
        asked: list[tuple[str, Json]] = [("resources/subscribe", {"uri": uri}) for uri in self._subscriptions]
        if self._level is not None:
            asked.append(("logging/setLevel", {"level": self._level}))
        lines = [notification_line("notifications/initialized")] if self.is_begun else []
        for number, (method, params) in enumerate(asked):
            lines.append(
                encode({"jsonrpc": "2.0", "id": f"{id_}-{number}", "method": method, "params": params})
            )
        return lines

    def missed_by_session(self) -> list[bytes]:
        """Return what a client is told that was away: to look again, where it was promised to be told."""
        if not self.is_begun:
            return []
        lists = [
            name for name in _LISTS if object_of(self._capabilities.get(name)).get("listChanged") is True
        ]
        return [notification_line(f"notifications/{name}/list_changed") for name in lists] + [
            notification_line("notifications/resources/updated", {"uri": uri}) for uri in self._subscriptions
        ]

    @staticmethod
    def missed(acknowledged: Json) -> list[bytes]:
        """Return the same for a stream of `subscriptions/listen`, by what was acknowledged of it."""
        meta = {"_meta": {_SUBSCRIPTION: object_of(acknowledged.get("_meta")).get(_SUBSCRIPTION)}}
        honored = object_of(acknowledged.get("notifications"))
        uris = honored.get("resourceSubscriptions")
        return [
            notification_line(f"notifications/{name}/list_changed", dict(meta))
            for name in _LISTS
            if honored.get(f"{name}ListChanged") is True
        ] + [
            notification_line("notifications/resources/updated", {**meta, "uri": uri})
            for uri in (uris if isinstance(uris, list) else [])  # pyright: ignore[reportUnknownVariableType]
        ]


def listened(params: Json) -> str:
    """Return the key of the request that a message on a stream belongs to."""
    return key_of(object_of(params.get("_meta")).get(_SUBSCRIPTION))
