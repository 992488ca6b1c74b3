"""What the daemon says of the gateway is read with defaults, and never raises."""

from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.backends.spec import (
    BackendSpec,
    CachePolicy,
    Canary,
    GatewaySpec,
    Pins,
    Profile,
    Sharing,
    parse_gateway,
)
from orchestra_supervisor.gateway.messages import Json


def test_everything_is_taken_over_and_backends_stand_by_priority() -> None:
    answer: Json = {
        "settings": {
            "pins": "off",
            "search": True,
            "profiles": {"p": {"servers": ["a*"], "tools": ["a__*"], "search": True}},
            "routing": {"memory": "a", "odd": 7},
            "cache": {"ttl": 60, "strategy": "lru"},
        },
        "backends": [
            {"name": "b", "transport": "http", "url": "http://x", "priority": 2},
            {
                "name": "a",
                "transport": "stdio",
                "service": "a",
                "members": ["a", "a-2"],
                "sharing": "pool",
                "size": 2,
                "lazy": True,
                "idle_stop": 300,
                "retry_safe": True,
                "timeout": 5,
                "cache": {"ttl": 1, "strategy": "none"},
                "pins": "block",
                "on_hang": "restart",
                "tools": ["x*"],
                "canary": {"tool": "x", "arguments": {"y": 1}},
                "capabilities": ["memory"],
                "description": "A.",
                "priority": 1,
                "header_names": ["X"],
            },
            {"name": "a", "transport": "http"},
        ],
    }
    assert parse_gateway(answer) == GatewaySpec(
        backends=(
            BackendSpec(
                name="a",
                is_stdio=True,
                service="a",
                description="A.",
                capabilities=("memory",),
                priority=1,
                sharing=Sharing.POOL,
                size=2,
                is_lazy=True,
                idle_stop=300.0,
                is_retry_safe=True,
                timeout=5.0,
                cache=CachePolicy(1.0, "none"),
                pins=Pins.BLOCK,
                is_ended_when_hung=True,
                tools=("x*",),
                canary=Canary("x", {"y": 1}),
                members=("a", "a-2"),
                header_names=("X",),
            ),
            BackendSpec(
                name="b",
                is_stdio=False,
                url="http://x",
                priority=2,
                cache=CachePolicy(60.0, "lru"),
                pins=Pins.OFF,
            ),
        ),
        profiles={"p": Profile(("a*",), ("a__*",), is_search=True)},
        routing={"memory": "a"},
        is_search=True,
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.fixed_dictionaries({"settings": json_values, "backends": json_values}))
def test_nonsense_is_read_as_nothing(answer: Json) -> None:
    assert isinstance(parse_gateway(answer), GatewaySpec)
