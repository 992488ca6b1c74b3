"""What was made of an object is kept, and in no more than a bounded number."""

from orchestra_supervisor.probes.identity_cache import IdentityCache


def test_a_value_is_made_once_for_each_object_and_not_for_equal_ones() -> None:
    made: list[list[int]] = []
    cache = IdentityCache[list[int], int](lambda key: made.append(key) or len(made))
    one, same = [1], [1]
    assert [cache.of(one), cache.of(same), cache.of(one)] == [1, 2, 1]


def test_what_is_kept_is_bounded() -> None:
    made: list[object] = []
    cache = IdentityCache[object, None](made.append)
    first = object()
    cache.of(first)
    for _ in range(4096):
        cache.of(object())
    cache.of(first)
    assert made.count(first) == 2
