"""The table of metrics keeps Prometheus' conventions."""

import re

import pytest

from backstay.observation import Kind
from backstay.telemetry import METRIC_NAMES
from backstay.telemetry.instruments import GAUGES, SEEN


def test_there_is_a_row_for_every_kind() -> None:
    assert set(SEEN) == set(Kind)


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_names_are_ours_and_in_base_units(name: str) -> None:
    assert re.fullmatch(r"backstay_[a-z][a-z_]*[a-z]", name)
    assert not re.search(r"_(ms|millis|minutes|percent|bucket|count|sum)$", name)


def test_names_are_told_once() -> None:
    assert list(METRIC_NAMES) == sorted(set(METRIC_NAMES))


def test_no_label_is_one_that_the_scraper_sets() -> None:
    labels = {label for each in SEEN.values() for label in each.labels}
    labels |= {label for _, each in GAUGES.values() for label in each}
    assert not labels & {"job", "instance", "le", "quantile"}


@pytest.mark.parametrize("kind", list(Kind))
def test_buckets_rise_and_keys_become_as_many_values_as_labels(kind: Kind) -> None:
    how = SEEN[kind]
    assert list(how.buckets) == sorted(set(how.buckets))
    assert 1 <= how.timed_by <= len(how.labels)
    assert len(how.values((None,) * len(how.labels))) == len(how.labels)
