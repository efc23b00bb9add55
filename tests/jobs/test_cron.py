import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backstay.errors import BadJob
from backstay.jobs.cron import MOST_AT_ONCE, Cron

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = dt.timedelta(minutes=1)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def ticks(cron: Cron, start: dt.datetime, number: int) -> list[dt.datetime]:
    found = [start]
    for _ in range(number):
        found.append(cron.next_after(found[-1]))
    return found[1:]


def on_the_wall(cron: Cron, start: str, number: int, zone: str = "Europe/Berlin") -> list[str]:
    moments = ticks(cron, utc(start), number)
    return [f"{each.astimezone(ZoneInfo(zone)):%d %H:%M %z}" for each in moments]


class TestNextAfter:
    def test_it_is_aware_utc_and_later(self) -> None:
        cron = Cron("0 3 * * *", "Europe/Berlin")
        assert cron.next_after(utc("2024-01-10 01:59:59.999999")) == utc("2024-01-10 02:00")
        assert cron.next_after(utc("2024-01-10 02:00")) == utc("2024-01-11 02:00")
        assert cron.next_after(utc("2024-01-10 02:00:00.5")) == utc("2024-01-11 02:00")
        assert cron.next_after(utc("2024-01-10 02:00")).tzinfo is dt.UTC

    def test_any_aware_moment_will_do(self) -> None:
        moment = dt.datetime(2024, 7, 1, 2, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
        assert Cron("0 3 * * *", "Europe/Berlin").next_after(moment) == utc("2024-07-01 01:00")

    def test_a_naive_moment_is_refused(self) -> None:
        with pytest.raises(ValueError, match="aware"):
            Cron("@daily").next_after(dt.datetime(2024, 1, 1))

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("@hourly", "2024-01-10 13:00"),
            ("@daily", "2024-01-11 00:00"),
            ("@midnight", "2024-01-11 00:00"),
            ("@Weekly", "2024-01-14 00:00"),
            ("@monthly", "2024-02-01 00:00"),
            ("@yearly", "2025-01-01 00:00"),
            ("@annually", "2025-01-01 00:00"),
            ("*/15 * * * *", "2024-01-10 12:45"),
            ("5,50 9-17 * * mon-fri", "2024-01-10 12:50"),
            ("0 0 1 jul *", "2024-07-01 00:00"),
            ("0 0 13 * 5", "2024-01-12 00:00"),  # the 13th or a Friday
            ("0 0 L * *", "2024-01-31 00:00"),
            ("0 0 * * MON#2", "2024-02-12 00:00"),
            ("0 0 29 2 *", "2024-02-29 00:00"),
            ("  0   0  * *  7 ", "2024-01-14 00:00"),
        ],
    )
    def test_the_usual_expressions_are_understood(self, expression: str, expected: str) -> None:
        assert Cron(expression).next_after(utc("2024-01-10 12:34")) == utc(expected)

    def test_a_rare_day_is_found_years_ahead(self) -> None:
        # The only Fridays the 29th of February of that half century are this one and 2052's.
        assert Cron("0 0 29 2 */5").next_after(utc("2024-03-01 00:00")) == utc("2032-02-29 00:00")


class TestWhenClocksChange:
    def test_a_fixed_time_in_the_gap_comes_at_its_end(self) -> None:
        cron = Cron("30 2 * * *", "Europe/Berlin")
        assert on_the_wall(cron, "2024-03-30 12:00", 2) == ["31 03:00 +0200", "01 02:30 +0200"]

    def test_two_fixed_times_in_the_gap_come_once(self) -> None:
        cron = Cron("10,40 2 * * *", "Europe/Berlin")
        assert on_the_wall(cron, "2024-03-30 12:00", 2) == ["31 03:00 +0200", "01 02:10 +0200"]

    def test_a_fixed_time_that_comes_twice_counts_the_first_time(self) -> None:
        cron = Cron("30 2 * * *", "Europe/Berlin")
        assert on_the_wall(cron, "2024-10-26 12:00", 2) == ["27 02:30 +0200", "28 02:30 +0100"]

    def test_asked_in_the_second_hour_of_two_it_does_not_go_back(self) -> None:
        cron = Cron("30 2 * * *", "Europe/Berlin")
        assert on_the_wall(cron, "2024-10-27 01:10", 1) == ["28 02:30 +0100"]

    def test_a_repeating_schedule_goes_on_through_the_hour_that_comes_twice(self) -> None:
        cron = Cron("*/30 * * * *", "Europe/Berlin")
        assert on_the_wall(cron, "2024-10-26 23:59", 5) == [
            "27 02:00 +0200",
            "27 02:30 +0200",
            "27 02:00 +0100",
            "27 02:30 +0100",
            "27 03:00 +0100",
        ]

    def test_a_repeating_schedule_has_nothing_in_the_hour_that_is_left_out(self) -> None:
        cron = Cron("*/30 * * * *", "Europe/Berlin")
        assert on_the_wall(cron, "2024-03-31 00:29", 3) == [
            "31 01:30 +0100",
            "31 03:00 +0200",
            "31 03:30 +0200",
        ]

    def test_a_clock_that_changes_by_half_an_hour_keeps_its_quarters(self) -> None:
        cron = Cron("*/15 12 * * *", "Australia/Lord_Howe")
        assert on_the_wall(cron, "2024-04-06 12:00", 4, "Australia/Lord_Howe") == [
            "07 12:00 +1030",
            "07 12:15 +1030",
            "07 12:30 +1030",
            "07 12:45 +1030",
        ]

    def test_a_midnight_that_does_not_exist_comes_at_one(self) -> None:
        cron = Cron("0 0 * * *", "Africa/Cairo")
        assert on_the_wall(cron, "2024-04-25 12:00", 2, "Africa/Cairo") == [
            "26 01:00 +0300",
            "27 00:00 +0300",
        ]


# ---------------------------------------------------------------------- against brute force


def field(low: int, high: int, named: int = 99) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    every = range(low, high + 1)
    number = st.integers(low, min(high, named))
    return st.one_of(
        st.just(("*", frozenset(every))),
        number.map(lambda n: (str(n), frozenset({n}))),
        st.integers(2, 30).map(lambda n: (f"*/{n}", frozenset(every[::n]))),
        st.lists(number, min_size=2, max_size=3).map(
            lambda found: (",".join(map(str, found)), frozenset(found))
        ),
        st.tuples(number, number).map(
            lambda two: (f"{min(two)}-{max(two)}", frozenset(range(min(two), max(two) + 1)))
        ),
    )


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # by half an hour
    "America/Santiago",  # at midnight, in the south
    "Africa/Cairo",  # at midnight
    "Asia/Kathmandu",  # +05:45, never changed
    "Africa/Casablanca",  # forward and back around Ramadan
)

DAYS_OF_CHANGE = [
    "2024-01-01", "2024-02-28", "2024-03-10", "2024-03-31", "2024-04-06", "2024-04-14",
    "2024-04-26", "2024-09-08", "2024-10-05", "2024-10-27", "2024-10-31", "2024-11-03",
]  # fmt: skip


def matching(wall: dt.datetime, fields: list[tuple[str, frozenset[int]]]) -> bool:
    (_, minutes), (_, hours), (day_text, days), (_, months), (weekday_text, weekdays) = fields
    on_day, on_weekday = wall.day in days, wall.isoweekday() % 7 in {each % 7 for each in weekdays}
    either = not day_text.startswith("*") and not weekday_text.startswith("*")
    return (
        wall.minute in minutes
        and wall.hour in hours
        and wall.month in months
        and ((on_day or on_weekday) if either else (on_day and on_weekday))
    )


def by_brute_force(
    fields: list[tuple[str, frozenset[int]]], zone: ZoneInfo, start: dt.datetime, hours: int
) -> list[dt.datetime]:
    """Every minute of the time asked about, looked at one by one."""
    end = start + dt.timedelta(hours=hours)
    if fields[0][0].startswith("*") or fields[1][0].startswith("*"):
        minutes = (start + n * MINUTE for n in range(1, hours * 60 + 1))
        return [
            each for each in minutes if matching(each.astimezone(zone).replace(tzinfo=None), fields)
        ]
    found: list[dt.datetime] = []
    wall = (start - dt.timedelta(hours=3)).astimezone(zone).replace(tzinfo=None)
    for _ in range((hours + 6) * 60):
        wall += MINUTE
        if matching(wall, fields):
            real = wall
            while (tick := real.replace(tzinfo=zone).astimezone(dt.UTC)).astimezone(zone).replace(
                tzinfo=None
            ) != real:
                real += MINUTE
            if start < tick <= end and tick not in found:
                found.append(tick)
    return found


FIELDS = st.tuples(field(0, 59), field(0, 23), field(1, 31, 28), field(1, 12), field(0, 7))


@given(
    fields=FIELDS,
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(DAYS_OF_CHANGE),
    minute=st.integers(-1440, 1440),
)
@example(
    fields=(("30", frozenset({30})), ("*", frozenset(range(24))), *[("*", frozenset(range(32)))] * 3),
    zone="Australia/Lord_Howe", day="2024-04-06", minute=0,
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_ticks_are_those_that_looking_at_every_minute_finds(
    fields: tuple[tuple[str, frozenset[int]], ...], zone: str, day: str, minute: int
) -> None:
    start = utc(day) + minute * MINUTE
    expected = by_brute_force(list(fields), ZoneInfo(zone), start, 30)[:12]
    cron = Cron(" ".join(text for text, _ in fields), zone)
    found = ticks(cron, start, len(expected))
    assert found == expected
    if len(expected) < 12:
        assert cron.next_after(found[-1] if found else start) > start + dt.timedelta(hours=30)


@given(
    fields=FIELDS,
    zone=st.sampled_from(ZONES),
    start=st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2060, 1, 1)),
)
@settings(max_examples=50, deadline=None)
def test_ticks_are_strictly_increasing_and_always_after_the_moment(
    fields: tuple[tuple[str, frozenset[int]], ...], zone: str, start: dt.datetime
) -> None:
    moment = start.replace(tzinfo=dt.UTC)
    found = ticks(Cron(" ".join(text for text, _ in fields), zone), moment, 5)
    assert all(one < next_ for one, next_ in zip([moment, *found], found, strict=False))


class TestDue:
    LAST = utc("2024-01-10 12:00")

    def test_nothing_is_due_before_there_ever_was_a_tick(self) -> None:
        for missed in ("skip", "latest", "all"):
            assert Cron("* * * * *", missed=missed).due(None, self.LAST) == []  # type: ignore[arg-type]

    @pytest.mark.parametrize("missed", ["skip", "latest", "all"])
    def test_a_tick_is_due_once_it_has_come_and_not_before(self, missed: str) -> None:
        cron = Cron("*/10 * * * *", missed=missed)  # type: ignore[arg-type]
        assert cron.due(self.LAST, utc("2024-01-10 12:09:59.9")) == []
        for now in ("12:10", "12:10:00.2", "12:10:59"):
            assert cron.due(self.LAST, utc(f"2024-01-10 {now}")) == [utc("2024-01-10 12:10")]
        assert cron.due(utc("2024-01-10 12:10"), utc("2024-01-10 12:10:30")) == []

    def test_missed_ticks_are_skipped(self) -> None:
        cron = Cron("*/10 * * * *")
        assert cron.due(self.LAST, utc("2024-01-10 12:35")) == []
        assert cron.due(self.LAST, utc("2024-01-10 12:40:05")) == [utc("2024-01-10 12:40")]

    def test_the_latest_of_the_missed_ticks_is_run(self) -> None:
        cron = Cron("*/10 * * * *", missed="latest")
        assert cron.due(self.LAST, utc("2024-01-10 12:35")) == [utc("2024-01-10 12:30")]
        yearly = Cron("@yearly", missed="latest")
        assert yearly.due(utc("2001-05-05 00:00"), self.LAST) == [utc("2024-01-01 00:00")]

    def test_all_missed_ticks_are_run_the_oldest_first(self) -> None:
        cron = Cron("*/10 * * * *", missed="all")
        assert cron.due(self.LAST, utc("2024-01-10 12:35")) == [
            utc("2024-01-10 12:10"),
            utc("2024-01-10 12:20"),
            utc("2024-01-10 12:30"),
        ]

    def test_a_long_absence_is_caught_up_with_in_pieces_that_lose_nothing(self) -> None:
        cron = Cron("* * * * *", missed="all")
        now = self.LAST + 2_500 * MINUTE
        last, sizes = self.LAST, []
        while due := cron.due(last, now):
            assert due == [last + n * MINUTE for n in range(1, len(due) + 1)]
            sizes.append(len(due))
            last = due[-1]
        assert sizes == [MOST_AT_ONCE, MOST_AT_ONCE, 500]
        assert last == now

    @pytest.mark.parametrize("missed", ["skip", "latest", "all"])
    def test_a_clock_that_was_set_back_makes_nothing_due(self, missed: str) -> None:
        cron = Cron("* * * * *", missed=missed)  # type: ignore[arg-type]
        assert cron.due(self.LAST, self.LAST - dt.timedelta(hours=1)) == []


class TestRefused:
    @pytest.mark.parametrize(
        "expression",
        ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
         "* * * * 8", "x * * * *", "*/0 * * * *", "5-1 * * * *", "* * * * MON#6", "1,,2 * * * *",
         "@reboot", "@often", "every day", "\u0665 * * * *"],
    )  # fmt: skip
    def test_nonsense_is_refused_with_what_was_found_and_the_remedy(self, expression: str) -> None:
        with pytest.raises(BadJob, match="cron=") as caught:
            Cron(expression)
        assert repr(expression) in str(caught.value)
        assert "@daily" in str(caught.value)

    @pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"])
    def test_a_day_that_never_comes_is_refused(self, expression: str) -> None:
        with pytest.raises(BadJob, match="cron="):
            Cron(expression)

    @pytest.mark.parametrize("expression", [None, 5, b"@daily"])
    def test_what_is_no_string_is_refused(self, expression: object) -> None:
        with pytest.raises(BadJob, match="is a string"):
            Cron(expression)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "zone", ["Europe/Bielefeld", "", "../etc/passwd", "/etc/passwd", None, "Europe"]
    )
    def test_an_unknown_time_zone_is_refused_with_the_remedy(self, zone: object) -> None:
        with pytest.raises(BadJob, match="Europe/Berlin.*tzdata"):
            Cron("@daily", zone)  # type: ignore[arg-type]

    def test_an_unknown_policy_is_refused(self) -> None:
        with pytest.raises(BadJob, match='"skip", "latest" or "all"'):
            Cron("@daily", missed="some")  # type: ignore[arg-type]
