"""Minutes are counted whole, and nobody can make up names without end."""

from backstay.events.minute import BOUNDS_MS, OTHERS
from backstay.events.tally import BUCKETS, MAX_NAMES, Tally


def test_everything_about_a_minute_is_added_up() -> None:
    tally = Tally()
    for status, duration_s in ((200, 0.0007), (201, 0.001), (302, 0.3), (404, 0.02), (503, 70.0)):
        tally.add("request", "GET /", 7, duration_s, failed=status == 503, status=status)
    (row,) = tally.take()
    buckets = [row.pop(each) for each in BUCKETS]
    assert row == {
        "minute": 7,
        "kind": "request",
        "name": "GET /",
        "count": 5,
        "failed": 1,
        "status_2xx": 2,
        "status_3xx": 1,
        "status_4xx": 1,
        "status_5xx": 1,
        "total_us": 70_321_700,
        "max_us": 70_000_000,
    }
    assert len(buckets) == len(BOUNDS_MS) + 1
    assert {index: count for index, count in enumerate(buckets) if count} == {
        0: 2,  # a bound belongs to its bucket
        BOUNDS_MS.index(25): 1,
        BOUNDS_MS.index(500): 1,
        len(BOUNDS_MS): 1,
    }
    assert tally.take() == []
    assert not tally


def test_statuses_that_are_none_are_not_counted_and_times_that_went_back_are_nothing() -> None:
    tally = Tally()
    for status in (None, 101, 99, 600, 99_999):
        tally.add("request", "GET /", 7, -1.0, failed=False, status=status)
    (row,) = tally.take()
    assert row["count"] == 5
    assert sum(row[f"status_{each}xx"] for each in range(2, 6)) == 0
    assert (row["total_us"], row["max_us"], row["bucket_0"]) == (0, 0, 5)


def test_a_scanner_of_made_up_names_gets_one_row_and_not_thousands() -> None:
    tally = Tally()
    for _ in range(3):  # however often they are taken meanwhile
        for number in range(MAX_NAMES + 500):
            tally.add("request", f"M{number}", 7, 0.001, failed=False, status=404)
        rows = tally.take()
        assert len(rows) == MAX_NAMES + 1
        others = [each for each in rows if each["name"] == OTHERS]
        assert [each["count"] for each in others] == [500]
        assert sum(each["count"] for each in rows) == MAX_NAMES + 500


def test_names_of_other_kinds_and_of_the_next_minute_have_room_of_their_own() -> None:
    tally = Tally()
    for number in range(MAX_NAMES + 1):
        tally.add("request", f"M{number}", 7, 0.001, failed=False, status=404)
    tally.add("task", "send", 7, 0.001, failed=False, status=None)
    tally.add("request", "new", 8, 0.001, failed=False, status=200)
    names = {(each["minute"], each["kind"], each["name"]) for each in tally.take()}
    assert {(7, "task", "send"), (8, "request", "new"), (7, "request", OTHERS)} <= names


def test_what_is_remembered_of_minutes_is_bounded() -> None:
    tally = Tally()
    for minute in range(1_000):
        tally.add("request", "GET /", minute, 0.001, failed=False, status=200)
    assert len(tally._names) <= 64


def test_rows_come_in_one_order_so_that_processes_do_not_lock_each_other_out() -> None:
    tally = Tally()
    for name in ("c", "a", "b"):
        for kind in ("task", "request"):
            tally.add(kind, name, 7, 0.001, failed=False, status=None)
    keys = [(each["minute"], each["kind"], each["name"]) for each in tally.take()]
    assert keys == sorted(keys)
