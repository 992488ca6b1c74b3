"""Results are kept within their bounds and no longer than they are good."""

import pytest

from orchestra_supervisor.gateway.backends.spec import CachePolicy
from orchestra_supervisor.gateway.catalog.results import ResultCache, result_key

pytestmark = pytest.mark.anyio

LONG = CachePolicy(60.0, "lru")
KEY = result_key("t", {"a": 1, "b": 2}, "")


async def test_the_same_call_is_found_in_whatever_order_its_arguments_stand() -> None:
    cache = ResultCache()
    cache.put(KEY, {"content": []}, LONG, cache.version)
    assert cache.get(result_key("t", {"b": 2, "a": 1}, "")) == {"content": []}
    assert cache.get(result_key("t", {"b": 2, "a": 1}, "uid 7")) is None
    assert (cache.hits, cache.misses) == (1, 1)


async def test_what_was_asked_before_something_changed_is_not_kept() -> None:
    cache = ResultCache()
    version = cache.version
    cache.clear()
    cache.put(KEY, {"content": []}, LONG, version)
    assert cache.get(KEY) is None


@pytest.mark.parametrize(
    "result",
    [{"isError": True}, {"resultType": "input_required"}, {"content": "x" * 2_000_000}],
    ids=["error", "asks", "large"],
)
async def test_some_results_are_never_kept(result: dict[str, object]) -> None:
    cache = ResultCache()
    cache.put(KEY, result, LONG, cache.version)
    assert len(cache) == 0


async def test_results_expire() -> None:
    cache = ResultCache()
    cache.put(KEY, {"content": []}, CachePolicy(0.0, "lru"), cache.version)
    assert cache.get(KEY) is None


async def test_the_least_recently_used_goes_first() -> None:
    cache = ResultCache()
    for number in range(1024):
        cache.put(number, {"n": number}, LONG, cache.version)
    assert cache.get(0) == {"n": 0}
    cache.put(1024, {"n": 1024}, LONG, cache.version)
    assert cache.get(0) == {"n": 0}
    assert cache.get(1) is None
    assert len(cache) == 1024
