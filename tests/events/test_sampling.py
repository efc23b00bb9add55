"""How much is kept: as the app says, and as its operator says instead."""

from typing import Any

import pytest

from backstay.errors import BadEvents
from backstay.events.sampling import OBSERVED, Sampling
from backstay.observation import Kind
from backstay.testing import FakeClock


def kept(sampling: Sampling, kind: Kind, count: int = 4_000) -> float:
    clock = FakeClock()
    return sum(sampling.takes(kind, clock.new_id(), clock) for _ in range(count)) / count


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_so_many_are_kept(share: float) -> None:
    assert kept(Sampling.of(share), Kind.REQUEST) == pytest.approx(share, abs=0.03)


def test_kinds_that_are_not_named_are_kept_whole() -> None:
    sampling = Sampling.of({Kind.REQUEST: 0.0, "call": 0.25})
    assert kept(sampling, Kind.REQUEST) == 0
    assert kept(sampling, Kind.CALL) == pytest.approx(0.25, abs=0.03)
    assert kept(sampling, Kind.JOB) == 1


def test_what_belongs_together_is_kept_together_on_whatever_machine() -> None:
    one, other, clock = Sampling.of(0.3), Sampling.of(0.3), FakeClock()
    for number in range(300):
        work = f"work-{number}"
        decided = {one.takes(kind, work, clock) for kind in OBSERVED}
        assert decided == {other.takes(Kind.REQUEST, work, clock)}


def test_what_belongs_to_nothing_is_kept_by_chance() -> None:
    assert Sampling.of(0.6).takes(Kind.CALL, None, FakeClock(chance=0.5))
    assert not Sampling.of(0.4).takes(Kind.CALL, None, FakeClock(chance=0.5))


def test_a_correlation_id_that_is_no_utf_8_decides_all_the_same() -> None:
    assert Sampling.of(0.5).takes(Kind.CALL, "\ud800", FakeClock()) in {True, False}


@pytest.mark.parametrize(
    ("setting", "on", "share"),
    [
        (None, True, 0.5),
        ("", True, 0.5),
        ("on", True, 0.5),
        (True, True, 0.5),
        ("OFF", False, 0.5),
        ("false", False, 0.5),
        (False, False, 0.5),
        ("0.1", True, 0.1),
        (" 0.1 ", True, 0.1),
        (0.1, True, 0.1),
        ("0", True, 0.0),
        ("1", True, 1.0),
    ],
)
def test_the_operator_has_the_last_word(setting: Any, on: bool, share: float) -> None:
    sampling = Sampling.of(0.5, setting=setting)
    assert sampling.on is on
    assert set(sampling.shares.values()) == {share}


def test_the_operator_switches_on_what_the_app_has_switched_off() -> None:
    assert not Sampling.of(1.0, on=False).on
    assert Sampling.of(1.0, on=False, setting="on").on
    assert Sampling.of(1.0, on=False, setting="0.5").on


@pytest.mark.parametrize("wrong", ["2", "-0.1", "some", "nan", "10%"])
def test_a_setting_that_makes_no_sense_is_refused(wrong: str) -> None:
    with pytest.raises(BadEvents, match='BACKSTAY_EVENTS is "off", "on", or'):
        Sampling.of(1.0, setting=wrong)


@pytest.mark.parametrize("wrong", [2, -0.1, True, "0.1", None, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(BadEvents, match="between 0 and 1"):
        Sampling.of(wrong)
    with pytest.raises(BadEvents, match=r"sample\[request\].*between 0 and 1"):
        Sampling.of({"request": wrong})


@pytest.mark.parametrize("wrong", ["requests", "fill", "audit", 7])
def test_a_kind_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(
        BadEvents, match=r"the kinds are 'request', 'task', 'job', 'widget', 'call'"
    ):
        Sampling.of({wrong: 0.1})
