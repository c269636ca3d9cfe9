# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a stored secret: the decision over all combinations of facts, and each step as a table."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import (
    HALO_REASONS,
    LABEL_KEYS,
    REASONS,
    Decision,
    Facts,
    amend,
    begin,
    decide,
    entry,
    expired,
    finish,
    settle,
    withdraw,
)

VALUES: dict[str, tuple[Any, ...]] = {
    "halo": (*HALO_REASONS, "none"),
    "has_pending": (False, True),
    "pending_valid": (False, True),
    "pending_reason": REASONS,
    "has_current": (False, True),
    "current_valid": (None, False, True),
    "requested": (False, True),
    "expired": (False, True),
    "hosted": (False, True),
}
EVERYTHING = [
    (Facts(**dict(zip(VALUES, values, strict=True))), verify)
    for values in itertools.product(*VALUES.values())
    for verify in (False, True)
]


def test_the_table_holds_every_fact() -> None:
    assert list(VALUES) == [field.name for field in dataclasses.fields(Facts)]
    assert len(EVERYTHING) > 10_000


def failures(rule: Any) -> list[Any]:
    """The combinations, with the decision over them, that break a rule: (facts, verify, decision) -> bool."""
    return [
        (facts, verify, decide(facts, verify))
        for facts, verify in EVERYTHING
        if not rule(facts, verify, decide(facts, verify))
    ]


RULES = {
    "a decision is made over everything, and it is one of a few": lambda facts, verify, made: (
        isinstance(made, Decision)
        and made.reason in REASONS
        # what is not decided is nothing else
        and (not made.test_current or made == Decision(test_current=True))
        and (made.reason == "none" or made.promote or made.rotate)
        and (not made.rotate or made.reason != "none")
    ),
    "a pending secret that logs in is promoted before anything else": lambda facts, verify, made: (
        made.promote == (facts.has_pending and facts.pending_valid)
    ),
    "what Halo demands is done, and is the reason that is told": lambda facts, verify, made: (
        facts.halo == "none" or (made.rotate and made.reason == facts.halo)
    ),
    "a pending secret that logs in answers every cause but one of Halo's own": lambda facts, verify, made: (
        not (made.promote and facts.halo == "none") or not made.rotate
    ),
    "what an earlier run began and did not send starts over": lambda facts, verify, made: (
        not (facts.has_pending and not facts.pending_valid and not facts.hosted) or made.rotate
    ),
    "nothing is made where nothing calls for it": lambda facts, verify, made: (
        not made.rotate
        or facts.halo != "none"
        or facts.requested
        or facts.expired
        or facts.has_pending
        or not facts.has_current
        or facts.current_valid is False
    ),
    "the secret of an Integrator that Halo hosts is touched only where Halo demands it": lambda facts, verify, made: (
        not (facts.hosted and facts.halo == "none") or (not made.rotate and not made.test_current)
    ),
    "a secret that was proven and not called into question stays": lambda facts, verify, made: (
        not (
            facts.has_current
            and facts.current_valid
            and not facts.has_pending
            and facts.halo == "none"
            and not facts.requested
            and not facts.expired
        )
        or made == Decision()
    ),
    "a secret that does not log in is replaced": lambda facts, verify, made: (
        facts.current_valid is not False or facts.hosted or made.rotate or made.promote
    ),
    "a login is tried only where its outcome decides": lambda facts, verify, made: (
        not made.test_current
        or (
            verify
            and facts.current_valid is None
            and decide(dataclasses.replace(facts, current_valid=True), verify) == Decision()
            and decide(dataclasses.replace(facts, current_valid=False), verify)
            == Decision(rotate=True, reason="invalid")
        )
    ),
    "without verification nothing waits for a login": lambda facts, verify, made: verify or not made.test_current,
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_decide(rule: Any) -> None:
    assert failures(rule)[:3] == []


# facts -> what is done and why; None: the login of the current secret is tried first
DECISIONS = {
    "nothing stored, a new application": ({"halo": "created"}, (False, True, "created")),
    "nothing stored, an application that was there": ({}, (False, True, "missing")),
    "all as it shall be": ({"has_current": True, "current_valid": True}, (False, False, "none")),
    "not proven yet": ({"has_current": True}, None),
    "does not log in any more": ({"has_current": True, "current_valid": False}, (False, True, "invalid")),
    "asked for": ({"has_current": True, "requested": True}, (False, True, "requested")),
    "too old": ({"has_current": True, "expired": True}, (False, True, "expired")),
    "asked for and too old": ({"has_current": True, "requested": True, "expired": True}, (False, True, "requested")),
    "another agent": ({"has_current": True, "halo": "agent_changed"}, (False, True, "agent_changed")),
    "another agent, and asked for": (
        {"has_current": True, "halo": "agent_changed", "requested": True},
        (False, True, "agent_changed"),
    ),
    "killed before it was sent": (
        {"has_current": True, "has_pending": True, "pending_reason": "expired"},
        (False, True, "expired"),
    ),
    "killed after it was sent": (
        {"has_current": True, "has_pending": True, "pending_valid": True, "pending_reason": "agent_changed"},
        (True, False, "agent_changed"),
    ),
    "killed after it was sent, and asked for again": (
        {
            "has_current": True,
            "has_pending": True,
            "pending_valid": True,
            "pending_reason": "requested",
            "requested": True,
        },
        (True, False, "requested"),
    ),
    "killed after it was sent, then another agent": (
        {"has_pending": True, "pending_valid": True, "pending_reason": "created", "halo": "agent_changed"},
        (True, True, "agent_changed"),
    ),
    "killed, of unknown reason": ({"has_pending": True}, (False, True, "invalid")),
    "hosted, nothing stored": ({"hosted": True}, (False, False, "none")),
    "hosted, and asked for elsewhere": ({"hosted": True, "requested": True}, (False, False, "none")),
}


@pytest.mark.parametrize(("known", "done"), DECISIONS.values(), ids=DECISIONS)
def test_decisions(known: dict[str, Any], done: tuple[bool, bool, str] | None) -> None:
    made = decide(Facts(**known))
    assert made == (Decision(*done) if done else Decision(test_current=True))


# Steps


def label(secret: str | None, **more: Any) -> dict[str, Any] | None:
    return None if secret is None else {**dict.fromkeys(LABEL_KEYS), "client_secret": secret, **more}


def stored(
    pending: str | None = None, current: str | None = None, previous: str | None = None, **more: Any
) -> dict[str, Any]:
    labels = {"pending": label(pending), "current": label(current), "previous": label(previous)}
    return {**labels, "owed": {"deliver": False, "retire": None}, "origin": None, **more}


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        "text",
        [],
        {"pending": None, "current": {}, "previous": {"client_secret": ""}},
        {"current": {"client_id": "without its secret"}},
        {"current": "text", "owed": "text", "origin": ""},
        {"owed": {"deliver": None, "retire": ""}},
    ],
)
def test_an_entry_of_nothing(found: Any) -> None:
    assert entry(found) == stored()


def test_an_entry_is_made_whole_and_nothing_else_is_kept() -> None:
    found = {
        "current": {"client_secret": "s", "agent_id": 7, "more": 1},
        "owed": {"retire": 9},
        "origin": "created",
        "more": 1,
    }
    whole = stored(owed={"deliver": False, "retire": 9}, origin="created", current=None)
    whole["current"] = label("s", agent_id=7)
    assert entry(found) == whole
    assert entry(whole) == whole


def test_begin_leaves_the_secret_in_force_where_it_is() -> None:
    now = stored(current="a", previous="b")
    assert begin(now, {"client_secret": "c", "reason": "expired"}) == {
        **now,
        "pending": label("c", reason="expired"),
        "origin": "adopted",
    }


@pytest.mark.parametrize(
    ("origin", "reason", "after"),
    [
        (None, "created", "created"),
        (None, "missing", "adopted"),
        (None, "agent_changed", "adopted"),
        ("created", "missing", "created"),
        ("adopted", "created", "adopted"),
    ],
)
def test_the_origin_is_noted_once(origin: str | None, reason: str, after: str) -> None:
    assert begin(stored(origin=origin), {"client_secret": "c", "reason": reason})["origin"] == after


def test_amend_notes_what_halo_answered() -> None:
    now = stored("a", "b")
    assert amend(now, {"client_secret": "x", "application_id": "1", "agent_id": None, "unknown": 1}) == {
        **now,
        "pending": label("x", application_id="1"),
    }
    assert amend(now, {}) == now


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (stored("a"), stored(current="a")),
        (stored("a", "b"), stored(current="a", previous="b")),
        (stored("a", "b", "c"), stored(current="a", previous="b")),
        (stored("a", None, "c"), stored(current="a", previous="c")),
        (stored(None, "b", "c"), stored(None, "b", "c")),
    ],
)
def test_finish(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert finish(before) == after


@pytest.mark.parametrize(
    ("before", "owed", "after"),
    [
        ({"deliver": False, "retire": None}, {"deliver": True, "retire": "7"}, {"deliver": True, "retire": "7"}),
        ({"deliver": True, "retire": "7"}, None, {"deliver": True, "retire": "7"}),
        ({"deliver": True, "retire": "7"}, {"deliver": False, "retire": ""}, {"deliver": True, "retire": "7"}),
        ({"deliver": True, "retire": "7"}, {"deliver": True, "retire": "8"}, {"deliver": True, "retire": "8"}),
    ],
)
def test_what_is_owed_is_noted_in_the_same_step(before: Any, owed: Any, after: Any) -> None:
    assert finish(stored("a", owed=before), owed)["owed"] == after


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], {"deliver": True, "retire": "7"}),
        (["deliver"], {"deliver": False, "retire": "7"}),
        (["retire"], {"deliver": True, "retire": None}),
        (["deliver", "retire"], {"deliver": False, "retire": None}),
    ],
)
def test_settle(done: list[str], left: Any) -> None:
    now = stored(current="a", owed={"deliver": True, "retire": "7"})
    assert settle(now, done) == {**now, "owed": left}


@pytest.mark.parametrize(
    ("before", "last"),
    [(stored("a", "b", "c"), "b"), (stored("a", None, "c"), "a"), (stored(None, None, "c"), "c"), (stored(), None)],
)
def test_withdraw(before: dict[str, Any], last: str | None) -> None:
    owing = {**before, "owed": {"deliver": True, "retire": "7"}, "origin": "created"}
    assert withdraw(owing) == stored(previous=last, origin="created")


def test_no_step_changes_what_it_is_given() -> None:
    now = stored("a", "b", "c")
    copy = stored("a", "b", "c")
    new = label("x")
    for made in (
        begin(now, new or {}),
        finish(now),
        amend(now, {"client_secret": "x"}),
        settle(now, []),
        withdraw(now),
    ):
        assert made is not now
        assert now == copy


NOW = datetime.datetime(2026, 6, 30, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("made_at", "days", "old"),
    [
        ("2026-06-20T12:00:00+00:00", None, False),
        ("2026-06-20T12:00:00+00:00", 10, False),
        ("2026-06-20T11:59:59+00:00", 10, True),
        ("2026-06-20T11:59:59Z", 10, True),
        ("2026-06-20T11:59:59", 10, True),
        ("2026-06-20T13:59:59+02:00", 10, True),
        ("2026-06-30T12:00:00+00:00", 0, False),
        ("2026-06-30T11:59:59+00:00", 0, True),
        ("2027-01-01T00:00:00+00:00", 10, False),
        (None, 10, True),
        ("", 10, True),
        ("yesterday", 10, True),
        (None, None, False),
    ],
)
def test_expired(made_at: str | None, days: int | None, old: bool) -> None:
    assert expired(label("a", made_at=made_at), days, NOW) is old


def test_what_is_not_there_is_not_old() -> None:
    assert expired(None, 1, NOW) is False
