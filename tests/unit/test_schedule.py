# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a secret is due: age, jitter, window, time zones, wrong clocks."""

from __future__ import annotations

import collections
import datetime
import zoneinfo
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.schedule import MOST_JITTER, Age, age_key, window
from hypothesis import given, settings
from hypothesis import strategies as st

DAY = datetime.timedelta(days=1)
MADE = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.UTC)
LONDON = zoneinfo.ZoneInfo("Europe/London")
NIGHT = {"days": ["sat", "sun"], "from": "22:00", "to": "04:00", "timezone": "Europe/London"}
moments = st.datetimes(datetime.datetime(2024, 1, 1), datetime.datetime(2032, 1, 1), timezones=st.just(datetime.UTC))


def london(*when: int) -> datetime.datetime:
    return datetime.datetime(*when, tzinfo=LONDON)  # type: ignore[misc]


def opened(given: dict[str, Any], now: datetime.datetime) -> bool:
    found = window(given)
    assert found is not None
    return found.is_open(now)


# Age and jitter


def test_without_an_age_nothing_is_due() -> None:
    assert Age().due_at(MADE) is None
    assert not Age().is_due(MADE, MADE + 10_000 * DAY)
    assert not Age().is_due(None, MADE)


def test_due_at_four_fifths_of_its_age() -> None:
    age = Age(100)
    assert age.due_at(MADE) == MADE + 80 * DAY
    assert not age.is_due(MADE, MADE + 80 * DAY - DAY / 86400)
    assert age.is_due(MADE, MADE + 80 * DAY)


@settings(max_examples=200)
@given(st.text(max_size=30), st.floats(0, MOST_JITTER), st.integers(1, 3650))
def test_jitter_stays_within_its_bounds_and_below_the_age(key: str, jitter: float, days: int) -> None:
    age = Age(days, jitter, key=key)
    due = age.due_at(MADE)
    assert due is not None
    part = (due - MADE) / (days * DAY)
    assert 0.8 - jitter / 100 - 1e-6 <= part <= min(1, 0.8 + jitter / 100) + 1e-6
    assert due == Age(days, jitter, key=key).due_at(MADE)


@pytest.mark.parametrize("days", [30, 90, 365])
def test_a_fleet_provisioned_together_is_not_due_together(days: int) -> None:
    fleet = [Age(days, 10, key=f"https://t{number}.example.com Ticket integration") for number in range(1000)]
    due = [age.due_at(MADE) for age in fleet]
    per_day = collections.Counter(int((one - MADE) / DAY) for one in due if one)
    assert sum(per_day.values()) == 1000
    # of the days in which some can be due the two at the ends are not whole
    span = days * 0.2
    assert max(per_day.values()) <= 2 * 1000 / span


@settings(max_examples=200)
@given(moments, moments)
def test_without_a_window_due_at_says_when(made: datetime.datetime, now: datetime.datetime) -> None:
    age = Age(90, 10, key="x")
    due = age.due_at(made)
    assert due is not None
    if made <= now + DAY:
        assert age.is_due(made, now) == (now >= due)


# Clocks


def test_an_unknown_age_is_due() -> None:
    assert Age(90).is_due(None, MADE)


@pytest.mark.parametrize("years", [1, 30])
def test_a_secret_from_the_future_does_not_stop_rotation_for_ever(years: int) -> None:
    assert Age(90).is_due(MADE + years * 365 * DAY, MADE)


def test_clocks_that_differ_a_little_say_nothing_of_the_age() -> None:
    assert not Age(90).is_due(MADE + DAY / 2, MADE)


def test_a_clock_that_was_behind_by_years_makes_it_due() -> None:
    assert Age(90).is_due(MADE - 3650 * DAY, MADE)


# The window


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (london(2026, 3, 7, 21, 59), False),
        (london(2026, 3, 7, 22, 0), True),
        (london(2026, 3, 8, 3, 59), True),
        (london(2026, 3, 8, 4, 0), False),
        (london(2026, 3, 8, 23, 0), True),
        (london(2026, 3, 9, 3, 0), True),
        (london(2026, 3, 9, 22, 30), False),
        # Saturday from midnight on belongs to Friday's night
        (london(2026, 3, 7, 1, 0), False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(now: datetime.datetime, expected: bool) -> None:
    assert opened(NIGHT, now) is expected
    assert opened(NIGHT, now.astimezone(datetime.UTC)) is expected


@pytest.mark.parametrize(
    ("utc_hour", "day", "expected"),
    [
        # winter: London is UTC; summer: an hour ahead
        (22, (2026, 1, 3), True),
        (21, (2026, 1, 3), False),
        (21, (2026, 7, 4), True),
        (20, (2026, 7, 4), False),
    ],
)
def test_local_time_counts_in_summer_too(utc_hour: int, day: tuple[int, int, int], expected: bool) -> None:
    assert opened(NIGHT, datetime.datetime(*day, utc_hour, 30, tzinfo=datetime.UTC)) is expected


@pytest.mark.parametrize("minutes", range(0, 24 * 60, 30))
def test_the_days_on_which_clocks_change_have_their_window(minutes: int) -> None:
    """28 to 29 March 2026: forward; 24 to 25 October: back. Open means local time says so, whatever the offset."""
    for month, day in ((3, 28), (10, 24)):
        now = datetime.datetime(2026, month, day, 12, tzinfo=datetime.UTC) + datetime.timedelta(minutes=minutes)
        local = now.astimezone(LONDON)
        in_it = local.hour >= 22 or local.hour < 4
        assert opened(NIGHT, now) is in_it


def test_a_window_within_a_day_and_one_of_all_day() -> None:
    office = {"days": ["mon"], "from": "09:00", "to": "17:00"}
    assert opened(office, MADE)
    assert not opened(office, MADE + DAY / 3)
    assert not opened(office, MADE + DAY)
    assert all(opened({"days": ["tue"]}, MADE + DAY + hour * DAY / 24) is (hour < 15) for hour in range(24))


@settings(max_examples=300)
@given(moments, st.integers(0, 200))
def test_what_is_due_by_age_alone_waits_for_the_window(now: datetime.datetime, days: int) -> None:
    age = Age(90, 10, window(NIGHT), "x")
    made = now - days * DAY
    due = age.due_at(made)
    assert due is not None
    is_open = opened(NIGHT, now)
    if days >= 90:
        assert age.is_due(made, now)
    else:
        assert age.is_due(made, now) == (is_open and now >= due)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"days": ["someday"]}, "window.days: 'someday' is no day"),
        ({"from": "25:00"}, "window.from: '25:00' is not a time of day"),
        ({"to": "soon"}, "window.to: 'soon' is not a time of day"),
        ({"timezone": "Mars/Olympus"}, "window.timezone: 'Mars/Olympus' is not known here"),
        ({"timezone": "../../etc/passwd"}, "window.timezone"),
    ],
)
def test_a_wrong_window_says_what_is_wrong(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(HaloError, match=message):
        window(wrong)


def test_times_that_yaml_reads_as_numbers() -> None:
    assert window({"from": 22 * 60, "to": 4 * 60}) == window({"from": "22:00", "to": "04:00"})
    assert window(None) is None


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ("00:00", (0, 0)),
        ("7:05", (7, 5)),
        (" 23:59 ", (23, 59)),
        ("24:00", (0, 0)),
        (None, (0, 0)),
        (0, (0, 0)),
        (24 * 60, (0, 0)),
        (23 * 60 + 59, (23, 59)),
    ],
)
def test_a_time_of_day(given: Any, time: tuple[int, int]) -> None:
    found = window({"from": given, "to": given, "days": ["Monday", " WED "]})
    assert found is not None
    assert (found.start, found.end) == (datetime.time(*time), datetime.time(*time))
    assert found.days == {0, 2}
    # which is there without the time zones of the system
    assert found.zone is datetime.UTC


@pytest.mark.parametrize("given", ["24:01", "23:60", "99:00", "1:2", "12:000", "-1:00", True, 24 * 60 + 1, 1.5])
def test_what_is_no_time_of_day(given: Any) -> None:
    with pytest.raises(HaloError, match=r"window\.to: '.*' is not a time of day"):
        window({"to": given})


def test_a_hash_decides_when_it_is_due() -> None:
    """And always the same one: or an upgrade would rotate a fleet at once."""
    keys = [age_key("https://acme.example.com", tenant, name) for tenant, name in ((None, "Sync"), ("acme", " SYNC"))]
    assert keys == ["https://acme.example.com  sync", "https://acme.example.com acme sync"]
    due = [Age(100, 10, key=key).due_at(MADE) for key in (*keys, "\udc80")]
    assert [round((one - MADE) / DAY, 3) for one in due if one] == [73.498, 73.353, 74.3]


def test_a_clock_may_be_wrong_by_a_day() -> None:
    for ahead, due in ((DAY, False), (DAY + DAY / 86400, True)):
        assert Age(100).is_due(MADE + ahead, MADE) is due
