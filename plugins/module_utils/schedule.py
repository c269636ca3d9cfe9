# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PURE: when a secret is to be replaced because of its age.

A secret is due at 80 % of its age, more or less by a jitter that a hash of tenant and binding decides, so that a fleet
that was provisioned in one day is not rotated in one. A window holds back what is due, not what has expired in full.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import re
import typing as t
import zoneinfo

from .errors import HaloError
from .spec import fold

DUE_PERCENT = 80.0
DEFAULT_JITTER = 10.0
MOST_JITTER = 100.0 - DUE_PERCENT
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# a clock may be wrong by so much without anything being said of the age
CLOCKS_DIFFER = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Window:
    """The hours in which what is due may be done: from ``start`` to ``end`` of the days on which it begins.

    :param days: 0 for Monday to 6 for Sunday
    :param zone: whose local time counts; where clocks are put forward, an hour that does not exist is not waited for
    """

    days: frozenset[int]
    start: datetime.time
    end: datetime.time
    zone: datetime.tzinfo

    def is_open(self, now: datetime.datetime) -> bool:
        """Whether ``now`` is in it; one that ends before it begins ends on the next day, as does one of 24 hours."""
        local = now.astimezone(self.zone)
        day, time = local.weekday(), local.time()
        if self.start < self.end:
            return day in self.days and self.start <= time < self.end
        return (day in self.days and time >= self.start) or ((day - 1) % 7 in self.days and time < self.end)


def window(given: t.Mapping[str, t.Any] | None) -> Window | None:
    """The window that a user describes: ``{days: [sat, sun], from: "22:00", to: "04:00", timezone: Europe/London}``.

    :raises HaloError: names what is wrong
    """
    if given is None or all(value is None for value in given.values()):
        return None
    days = set()
    for day in given.get("days") or DAYS:
        short = str(day).strip().lower()[:3]
        if short not in DAYS:
            raise HaloError(f"window.days: '{day}' is no day.", hint=f"The days are {', '.join(DAYS)}.")
        days.add(DAYS.index(short))
    name = str(given.get("timezone") or "UTC")
    try:
        zone: datetime.tzinfo = datetime.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise HaloError(
            f"window.timezone: '{name}' is not known here.",
            hint="Give a name such as Europe/London; the system's time zone data (tzdata) must be installed.",
        ) from None
    return Window(frozenset(days), _time("from", given.get("from")), _time("to", given.get("to")), zone)


def _time(key: str, given: t.Any) -> datetime.time:
    if given is None:
        return datetime.time()
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", str(given).strip())
    hour, minute = (int(part) for part in found.groups()) if found else (99, 99)
    if isinstance(given, int) and not isinstance(given, bool):
        # YAML 1.1 reads 22:00 without quotes as a number to the base of 60
        hour, minute = divmod(given, 60)
    if hour == 24 and minute == 0:
        hour = 0
    if hour > 23 or minute > 59:
        raise HaloError(f"window.{key}: '{given}' is not a time of day.", hint='Write it like "22:00", in quotes.')
    return datetime.time(hour, minute)


@dataclasses.dataclass(frozen=True)
class Age:
    """What the user wants of the age of one binding's secret.

    :param max_age_days: None where its age does not matter
    :param jitter: per cent of that age, up to ``MOST_JITTER``
    :param key: what tells this binding from all others of the fleet
    """

    max_age_days: int | None = None
    jitter: float = 0.0
    window: Window | None = None
    key: str = ""

    def due_at(self, made: datetime.datetime | None) -> datetime.datetime | None:
        """When a secret made then is due; None where nothing says so."""
        if made is None or self.max_age_days is None:
            return None
        percent = DUE_PERCENT + self.jitter * _spread(self.key)
        return made + datetime.timedelta(days=self.max_age_days) * (percent / 100)

    def is_due(self, made: datetime.datetime | None, now: datetime.datetime) -> bool:
        """Whether a secret made then is to be replaced now.

        One of unknown age is, and so is one that a clock wrong by more than a day has made in the future, for its age
        would never be reached.
        """
        if self.max_age_days is None:
            return False
        in_time = self.window is None or self.window.is_open(now)
        due = self.due_at(made)
        if made is None or due is None or made > now + CLOCKS_DIFFER:
            return in_time
        full = made + datetime.timedelta(days=self.max_age_days)
        return now >= full or (now >= due and in_time)


def age_key(instance: str, tenant: str | None, binding: str) -> str:
    """What tells a binding from all others of a fleet."""
    return f"{instance} {tenant or ''} {fold(binding)}"


def _spread(key: str) -> float:
    """A number from -1 to 1 that depends on the key alone."""
    number = int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:8], "big")
    return 2 * number / (2**64 - 1) - 1
