"""Counts say how often the cache knew the answer, by kind of key."""

from backstay.cache.stats import Counts, Tally


def test_each_outcome_is_counted_once_under_its_prefix() -> None:
    tally = Tally()
    for key, status in (("a:1", "HIT"), ("a:2", "HIT"), ("a:1", "MISS"), ("b", "STALE")):
        tally.add(key, status)  # type: ignore[arg-type]  # one of them
    stats = tally.stats()
    assert stats.by_prefix == {"a": Counts(hits=2, misses=1), "b": Counts(stale=1)}
    assert (stats.hits, stats.misses, stats.stale, stats.bypass) == (2, 1, 1, 0)
    assert stats.asked == 4
    assert stats.hit_ratio == 0.75


def test_nobody_asked_is_no_division_by_zero() -> None:
    assert Tally().stats().hit_ratio == 0.0


def test_kinds_without_end_are_counted_together() -> None:
    tally = Tally()
    for number in range(1000):
        tally.add(f"{number}:x", "BYPASS")
    stats = tally.stats()
    assert stats.bypass == 1000
    assert len(stats.by_prefix) == 201
    assert stats.by_prefix["(others)"].bypass == 800
