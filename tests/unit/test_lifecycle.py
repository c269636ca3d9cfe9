# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a stored secret: the decision over all combinations of facts, and each step as a table."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import (
    ADOPT,
    HALO_REASONS,
    LABEL_KEYS,
    REASONS,
    Decision,
    Facts,
    acknowledge,
    adopt,
    amend,
    create,
    decide,
    dismantle,
    due_at,
    entry,
    expired,
    finish,
    is_copy,
    is_empty,
    is_in_service,
    late_seconds,
    made_at,
    rename,
    secrets_of,
    to_restore,
)
from ansible_collections.haloops.halo.plugins.module_utils.schedule import Age
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES: dict[str, tuple[Any, ...]] = {
    "halo": (*HALO_REASONS, "none"),
    "has_pending": (False, True),
    "pending_valid": (False, True),
    "pending_reason": REASONS,
    "has_current": (False, True),
    "current_valid": (None, False, True),
    "requested": (False, True),
    "rollback": (False, True),
    "expired": (False, True),
    "hosted": (False, True),
    "adopt": ADOPT,
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


def facts_alone(facts: Facts) -> bool:
    """Whether nothing but what is stored and found calls for anything."""
    asked_for = facts.requested or facts.rollback
    return facts.halo == "none" and not asked_for and not facts.expired and not facts.has_pending


RULES = {
    "a decision is made over everything, and it is one of a few": lambda facts, verify, made: (
        isinstance(made, Decision)
        and made.reason in REASONS
        # what is not decided is nothing else
        and (not made.test_current or made == Decision(test_current=True))
        and (not made.prove or made == Decision(prove=True))
        and (not made.refuse or made == Decision(refuse=True))
        and (made.reason == "none" or made.promote or made.rotate)
        and (not made.rotate or made.reason != "none")
    ),
    "a pending secret that logs in is promoted before anything else": lambda facts, verify, made: (
        made.promote == (facts.has_pending and facts.pending_valid)
    ),
    "what Halo demands is done, and is the reason that is given": lambda facts, verify, made: (
        facts.halo == "none"
        or (made.rotate and made.reason == ("rollback" if facts.rollback and not made.promote else facts.halo))
    ),
    "a rollback that is asked for is one, unless what is pending is in force": lambda facts, verify, made: (
        not facts.rollback or made.promote or facts.hosted or (made.rotate and made.reason == "rollback")
    ),
    "nothing else is one, but one that was begun": lambda facts, verify, made: (
        made.reason != "rollback" or facts.rollback or facts.pending_reason == "rollback"
    ),
    "a pending secret that logs in answers every cause but one of Halo's own": lambda facts, verify, made: (
        not (made.promote and facts.halo == "none") or (not made.rotate and made.reason == facts.pending_reason)
    ),
    "what an earlier run began and did not send starts over": lambda facts, verify, made: (
        not (facts.has_pending and not facts.pending_valid and not facts.hosted) or made.rotate
    ),
    "nothing is made where nothing calls for it": lambda facts, verify, made: (
        not made.rotate
        or not facts_alone(facts)
        or (not facts.has_current and facts.adopt == "rotate")
        or facts.current_valid is False
    ),
    "a secret that the store does not know is left alone unless the user says otherwise": lambda facts, verify, made: (
        (made.refuse or made.prove)
        is (facts_alone(dataclasses.replace(facts, expired=False)) and not facts.has_current)
        if facts.adopt != "rotate" and not facts.hosted
        else not made.refuse and not made.prove
    ),
    "a secret that is given is proven only where it would be refused otherwise": lambda facts, verify, made: (
        made.prove
        is (
            facts.adopt == "proven"
            and decide(dataclasses.replace(facts, adopt="false"), verify) == Decision(refuse=True)
        )
    ),
    "the secret of an Integrator that Halo hosts is touched only where Halo demands it": lambda facts, verify, made: (
        not (facts.hosted and facts.halo == "none") or made == Decision(made.promote, reason=made.reason)
    ),
    "a secret that was proven and not called into question stays": lambda facts, verify, made: (
        not (facts.has_current and facts.current_valid and facts_alone(facts)) or made == Decision()
    ),
    "a secret that does not log in is replaced": lambda facts, verify, made: (
        facts.current_valid is not False or facts.hosted or made.rotate or made.promote or not facts.has_current
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
    "with it nothing that is stored is taken for good": lambda facts, verify, made: (
        made.test_current
        is (verify and facts.has_current and facts.current_valid is None and facts_alone(facts) and not facts.hosted)
    ),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_decide(rule: Any) -> None:
    assert failures(rule)[:3] == []


# facts -> promote, rotate, reason; what is neither is named
DECISIONS: dict[str, tuple[dict[str, Any], Decision]] = {
    "nothing stored, a new application": ({"halo": "created"}, Decision(rotate=True, reason="created")),
    "nothing stored, an application that was there": ({}, Decision(refuse=True)),
    "the same, to be replaced": ({"adopt": "rotate"}, Decision(rotate=True, reason="missing")),
    "the same, its secret given": ({"adopt": "proven"}, Decision(prove=True)),
    "the same, asked for": ({"requested": True}, Decision(rotate=True, reason="requested")),
    "the same, another agent": ({"halo": "agent_changed"}, Decision(rotate=True, reason="agent_changed")),
    "all as it shall be": ({"has_current": True, "current_valid": True}, Decision()),
    "not proven yet": ({"has_current": True}, Decision(test_current=True)),
    "does not log in any more": (
        {"has_current": True, "current_valid": False},
        Decision(rotate=True, reason="invalid"),
    ),
    "asked for": ({"has_current": True, "requested": True}, Decision(rotate=True, reason="requested")),
    "rolled back": ({"has_current": True, "rollback": True}, Decision(rotate=True, reason="rollback")),
    "rolled back, and too old": (
        {"has_current": True, "rollback": True, "expired": True},
        Decision(rotate=True, reason="rollback"),
    ),
    "rolled back, and another agent": (
        {"has_current": True, "halo": "agent_changed", "rollback": True},
        Decision(rotate=True, reason="rollback"),
    ),
    "killed in a rollback before it was sent": (
        {"has_current": True, "has_pending": True, "pending_reason": "rollback"},
        Decision(rotate=True, reason="rollback"),
    ),
    "killed in a rollback after it was sent, and asked for again": (
        {"has_current": True, "has_pending": True, "pending_valid": True, "pending_reason": "rollback"}
        | {"rollback": True},
        Decision(promote=True, reason="rollback"),
    ),
    "the same, then another agent": (
        {"has_pending": True, "pending_valid": True, "pending_reason": "rollback", "rollback": True}
        | {"halo": "agent_changed"},
        Decision(promote=True, rotate=True, reason="agent_changed"),
    ),
    "rolled back, and no current one is known": ({"rollback": True}, Decision(rotate=True, reason="rollback")),
    "hosted, and rolled back": ({"hosted": True, "rollback": True}, Decision()),
    "too old": ({"has_current": True, "expired": True}, Decision(rotate=True, reason="expired")),
    "asked for and too old": (
        {"has_current": True, "requested": True, "expired": True},
        Decision(rotate=True, reason="requested"),
    ),
    "another agent, and asked for": (
        {"has_current": True, "halo": "agent_changed", "requested": True},
        Decision(rotate=True, reason="agent_changed"),
    ),
    "killed before it was sent": (
        {"has_current": True, "has_pending": True, "pending_reason": "expired"},
        Decision(rotate=True, reason="expired"),
    ),
    "killed before it was sent, and asked for": (
        {"has_current": True, "has_pending": True, "pending_reason": "expired", "requested": True},
        Decision(rotate=True, reason="requested"),
    ),
    "killed after it was sent": (
        {"has_current": True, "has_pending": True, "pending_valid": True, "pending_reason": "agent_changed"},
        Decision(promote=True, reason="agent_changed"),
    ),
    "killed after it was sent, and asked for again": (
        {"has_pending": True, "pending_valid": True, "pending_reason": "requested", "requested": True},
        Decision(promote=True, reason="requested"),
    ),
    "killed after it was sent, then another agent": (
        {"has_pending": True, "pending_valid": True, "pending_reason": "created", "halo": "agent_changed"},
        Decision(promote=True, rotate=True, reason="agent_changed"),
    ),
    "killed, of unknown reason": ({"has_pending": True}, Decision(rotate=True, reason="invalid")),
    "valid, and not there": ({"pending_valid": True, "has_current": True, "current_valid": True}, Decision()),
    "hosted, nothing stored": ({"hosted": True}, Decision()),
    "hosted, killed before it was sent": ({"hosted": True, "has_pending": True}, Decision()),
    "hosted, killed after it was sent": (
        {"hosted": True, "has_pending": True, "pending_valid": True, "pending_reason": "expired"},
        Decision(promote=True, reason="expired"),
    ),
    "hosted, and Halo demands it": (
        {"hosted": True, "halo": "agent_changed"},
        Decision(rotate=True, reason="agent_changed"),
    ),
}


@pytest.mark.parametrize(("known", "decision"), DECISIONS.values(), ids=DECISIONS)
def test_decisions(known: dict[str, Any], decision: Decision) -> None:
    assert decide(Facts(**known)) == decision


# Steps

MADE_AT = "2026-06-20T12:00:00.000000+00:00"


def label(secret: str | None, **more: Any) -> dict[str, Any] | None:
    return None if secret is None else {**dict.fromkeys(LABEL_KEYS), "client_secret": secret, **more}


def stored(
    pending: str | None = None, current: str | None = None, previous: str | None = None, **more: Any
) -> dict[str, Any]:
    labels = {"pending": label(pending), "current": label(current), "previous": label(previous)}
    others = {"outstanding": {"deliver": None, "retire": []}, "origin": None, "attempt": 0, "instance": None}
    return {**labels, **others, "binding": None, "renamed_to": None, **more}


def retire(*agents: str, made_at: str | None = "then", deliver: str | None = None) -> dict[str, Any]:
    return {"deliver": deliver, "retire": [{"agent_id": one, "made_at": made_at} for one in agents]}


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        "text",
        [],
        {"pending": None, "current": {}, "previous": {"client_secret": ""}},
        {"current": {"client_id": "without its secret"}},
        {"current": "text", "outstanding": "text", "origin": "", "attempt": "3", "instance": "", "renamed_to": ""},
        {"outstanding": {"deliver": "", "retire": ""}},
        {"outstanding": {"retire": {"agent_id": "7"}}},
        {"outstanding": {"retire": 7}},
        {"outstanding": {"retire": ["7", None, {}, {"agent_id": None}, {"made_at": "then"}]}},
    ],
)
def test_an_entry_of_nothing(found: Any) -> None:
    assert entry(found) == stored()
    assert is_empty(entry(found))


@pytest.mark.parametrize("name", ["pending", "current", "previous"])
def test_an_entry_with_a_secret_is_not_empty(name: str) -> None:
    assert not is_empty(entry({name: {"client_secret": "s"}}))


def test_an_entry_is_made_whole_and_nothing_else_is_kept() -> None:
    found = {
        "current": {"client_secret": "s", "agent_id": 7, "more": 1},
        "outstanding": {"deliver": "now", "retire": [{"agent_id": 9, "more": 1}, {"agent_id": "8", "made_at": "then"}]},
        "origin": "created",
        "attempt": 3,
        "instance": "https://halo.example.com",
        "binding": "Sync",
        "renamed_to": "Ticket sync",
        "more": 1,
    }
    items = [{"agent_id": "9", "made_at": None}, {"agent_id": "8", "made_at": "then"}]
    whole = stored(
        current=None,
        outstanding={"deliver": "now", "retire": items},
        origin="created",
        attempt=3,
        instance="https://halo.example.com",
        binding="Sync",
        renamed_to="Ticket sync",
    )
    whole["current"] = label("s", agent_id=7)
    assert entry(found) == whole
    assert entry(whole) == whole


OF_APP = {"application_id": "app", "client_id": "client"}
# pending, current, previous, what Halo has -> what is set again, or a part of why nothing is
RESTORED: dict[str, tuple[dict[str, Any], tuple[Any, Any], str]] = {
    "the previous one": (stored(current="c", previous="p"), ("app", "client"), "=p"),
    "of the same application": (stored(previous="p"), ("APP", "Client "), "=p"),
    "Halo tells no id": (stored(previous="p"), (None, "client"), "=p"),
    "what was begun": (stored("b", "c", "p"), ("app", "client"), "=b"),
    "what was begun, and nothing else is known": (stored("b", "c"), ("app", "client"), "=b"),
    "none": (stored(current="c"), ("app", "client"), "knows no previous secret"),
    "nothing at all": (stored(), ("app", "client"), "knows no previous secret"),
    "no application": (stored(previous="p"), (None, None), r"application app .*and Halo has none, so"),
    "another application": (stored(previous="p"), ("other", "client"), r"Halo has other \(client ID client\)"),
    "another client ID": (stored(previous="p"), ("app", "new"), r"Halo has app \(client ID new\)"),
    "begun for another": (stored("b", "c", "p"), ("app", "new"), "of another|client ID new"),
}


@pytest.mark.parametrize(("now", "found", "expected"), RESTORED.values(), ids=RESTORED)
def test_to_restore(now: dict[str, Any], found: tuple[Any, Any], expected: str) -> None:
    for name in ("pending", "previous"):
        if now[name]:
            now = {**now, name: {**now[name], **OF_APP, "reason": "rollback" if name == "pending" else "expired"}}
    if expected.startswith("="):
        assert to_restore(now, *found)["client_secret"] == expected[1:]
        return
    with pytest.raises(HaloError, match=expected) as raised:
        to_restore(now, *found)
    assert "so there was no rollback" in raised.value.message


def test_a_label_that_knows_no_application_is_taken() -> None:
    assert to_restore(stored(previous="p"), "app", "client") == label("p")


@pytest.mark.parametrize("reason", [*(reason for reason in REASONS if reason != "rollback"), None])
def test_nothing_is_rolled_back_before_a_rotation_is_finished(reason: str | None) -> None:
    now = {**stored("b", "c", "p"), "pending": label("b", reason=reason)}
    with pytest.raises(HaloError, match=rf"a rotation \({reason or 'of unknown reason'}\) was begun") as raised:
        to_restore(now, "app", "client")
    assert "Run once without rollback" in str(raised.value)


def test_all_secrets_of_an_entry() -> None:
    assert secrets_of(stored("b", "c", "p")) == ["b", "c", "p"]
    assert secrets_of(stored(None, "c")) == ["c"]
    assert secrets_of(stored()) == []


def test_create_leaves_the_secret_in_force_where_it_is() -> None:
    now = stored(current="a", previous="b", attempt=4)
    assert create(now, {"client_secret": "c", "reason": "expired", "more": 1}) == {
        **now,
        "pending": label("c", reason="expired"),
        "origin": "adopted",
        "attempt": 5,
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
    assert create(stored(origin=origin), {"client_secret": "c", "reason": reason})["origin"] == after


def test_amend_notes_what_halo_answered() -> None:
    now = stored("a", "b")
    assert amend(now, {"client_secret": "x", "application_id": "1", "agent_id": None, "unknown": 1}) == {
        **now,
        "pending": label("x", application_id="1"),
    }
    assert amend(now, {"in_flight": False})["pending"] == label("a", in_flight=False)
    assert amend(amend(now, {"agent_id": "1"}), {"agent_id": None})["pending"] == label("a", agent_id="1")
    assert amend(now, {}) == now


def finished(**more: Any) -> dict[str, Any] | None:
    return label("a", in_flight=False, **more)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (stored("a"), stored()),
        (stored("a", "b"), stored(previous="b")),
        (stored("a", "b", "c"), stored(previous="b")),
        (stored("a", None, "c"), stored(previous="c")),
    ],
)
def test_finish(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert finish(before) == {**after, "current": finished()}


def test_there_is_nothing_to_finish() -> None:
    now = stored(None, "b", "c")
    assert finish(now, deliver=True, retire=True) == now


@pytest.mark.parametrize(
    ("before", "deliver", "after"),
    [(None, False, None), (None, True, "new"), ("old", False, "old"), ("old", True, "new")],
)
def test_a_delivery_is_noted_in_the_same_step(before: Any, deliver: bool, after: Any) -> None:
    now = stored("a", outstanding=retire(deliver=before))
    now["pending"]["made_at"] = "new"
    assert finish(now, deliver=deliver)["outstanding"] == retire(deliver=after)


@pytest.mark.parametrize(
    ("before", "replaces", "agent_id", "after"),
    [
        ([], None, "1", []),
        ([], [], "1", []),
        ([], ["7"], "1", [("7", "new")]),
        ([], ["7", "8"], "1", [("7", "new"), ("8", "new")]),
        (["6"], ["7"], "1", [("6", "then"), ("7", "new")]),
        (["6"], None, "1", [("6", "then")]),
        # outstanding for longer already
        (["7"], ["7"], "1", [("7", "then")]),
        (["a "], ["A"], "1", [("a ", "then")]),
        # what is logged in as again
        (["6", "7"], ["8"], "7", [("6", "then"), ("8", "new")]),
        (["6"], ["7"], 7, [("6", "then")]),
        ([], [7], None, [("7", "new")]),
    ],
)
def test_the_agents_to_retire_are_a_set(before: list[str], replaces: Any, agent_id: Any, after: Any) -> None:
    now = stored(current="b", outstanding=retire(*before))
    now["pending"] = label("a", made_at="new", replaces=replaces, agent_id=agent_id, in_flight=True)
    done = finish(now, retire=True)
    assert [(one["agent_id"], one["made_at"]) for one in done["outstanding"]["retire"]] == after
    assert done["current"] == finished(made_at="new", agent_id=agent_id)
    kept = finish(now, retire=False)["outstanding"]["retire"]
    assert [one["agent_id"] for one in kept] == [one for one in before if one != str(agent_id)]


@pytest.mark.parametrize(("origin", "after"), [(None, "adopted"), ("created", "created")])
def test_adopt(origin: Any, after: str) -> None:
    now = stored("a", "b", "c", origin=origin, attempt=2)
    expected = {**now, "pending": None, "current": label("x", agent_id="1", in_flight=False), "origin": after}
    assert adopt(now, {"client_secret": "x", "agent_id": "1", "more": 1}) == expected


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ({}, retire("6", "7", deliver="new")),
        ({"delivered": "new"}, retire("6", "7")),
        ({"delivered": "old"}, retire("6", "7", deliver="new")),
        ({"retired": {"agent_id": "6", "made_at": "then"}}, retire("7", deliver="new")),
        ({"retired": {"agent_id": "6", "made_at": "before then"}}, retire("6", "7", deliver="new")),
        ({"retired": {"agent_id": "9", "made_at": "then"}}, retire("6", "7", deliver="new")),
        ({"delivered": "new", "retired": {"agent_id": "7", "made_at": "then"}}, retire("6")),
    ],
)
def test_acknowledge(done: dict[str, Any], left: Any) -> None:
    now = stored(current="a", outstanding=retire("6", "7", deliver="new"))
    assert acknowledge(now, **done) == {**now, "outstanding": left}


def test_nothing_to_acknowledge() -> None:
    assert acknowledge(stored(current="a"), delivered="new") == stored(current="a")


@pytest.mark.parametrize(
    ("before", "last"),
    [(stored("a", "b", "c"), "b"), (stored("a", None, "c"), "a"), (stored(None, None, "c"), "c"), (stored(), None)],
)
def test_dismantle(before: dict[str, Any], last: str | None) -> None:
    before = {**before, "outstanding": retire("7", deliver="new"), "origin": "created", "attempt": 2}
    assert dismantle(before) == stored(previous=last, origin="created", attempt=2)


@pytest.mark.parametrize(
    ("now", "in_service"),
    [
        (stored("a"), True),
        (stored(None, "b"), True),
        # the last secret of what was taken out of service
        (stored(None, None, "c"), False),
        (stored(renamed_to="Sync"), False),
    ],
)
def test_what_is_in_service(now: dict[str, Any], in_service: bool) -> None:
    assert is_in_service(now) is in_service


def test_a_name_of_its_own_takes_all_along_and_leaves_the_new_name_behind() -> None:
    known = {"instance": "https://halo.example.com", "binding": "Sync"}
    more = {"outstanding": retire("7", deliver="new"), "origin": "created", "attempt": 2}
    now = stored("a", "b", "c", **more, **known, renamed_to=None)
    new, left = rename(now, "Ticket sync")
    assert new == {**now, "binding": "Ticket sync"}
    assert left == stored(**known, renamed_to="Ticket sync")
    # and back
    again, left = rename(new, "Sync")
    assert (again, left["renamed_to"]) == (now, "Sync")


@pytest.mark.parametrize("step", [create, adopt])
def test_what_is_made_under_a_name_that_was_left_is_its_own(step: Any) -> None:
    assert step(stored(renamed_to="Ticket sync"), {"client_secret": "c"})["renamed_to"] is None


@pytest.mark.parametrize(
    ("change", "copy"),
    [
        ({}, True),
        ({"binding": "Ticket sync", "instance": "https://new.example.com", "renamed_to": "x"}, True),
        ({"pending": None}, False),
        ({"current": label("x")}, False),
        ({"previous": label("x")}, False),
        ({"outstanding": retire("7")}, False),
        ({"origin": "adopted"}, False),
        ({"attempt": 3}, False),
    ],
)
def test_a_copy_says_the_same_of_another_name(change: dict[str, Any], copy: bool) -> None:
    now = stored("a", "b", "c", attempt=2, binding="Sync")
    assert is_copy(now, {**now, **change}) is copy


def test_no_step_changes_what_it_is_given() -> None:
    def made() -> dict[str, Any]:
        now = stored("a", "b", "c", outstanding=retire("6", "7", deliver="new"))
        now["pending"] |= {"replaces": ["8"], "agent_id": "6", "in_flight": True}
        return now

    now = made()
    for new in (
        create(now, label("x") or {}),
        finish(now, deliver=True, retire=True),
        amend(now, {"client_secret": "x"}),
        adopt(now, label("x") or {}),
        acknowledge(now, delivered="new", retired=now["outstanding"]["retire"][0]),
        dismantle(now),
        *rename(now, "Sync"),
        entry(now),
    ):
        assert new is not now
        assert now == made()


# Time

NOW = datetime.datetime(2026, 6, 30, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-06-30T12:00:00+00:00", NOW),
        ("2026-06-30T12:00:00Z", NOW),
        ("2026-06-30T12:00:00", NOW),
        ("2026-06-30T14:00:00+02:00", NOW),
        ("2026-06-30T12:00:00.000001+00:00", NOW + datetime.timedelta(microseconds=1)),
        ("", None),
        (None, None),
        ("yesterday", None),
        (7, None),
    ],
)
def test_made_at(text: Any, time: Any) -> None:
    assert made_at(label("a", made_at=text)) == time


def test_what_is_not_there_has_no_time() -> None:
    assert made_at(None) is None
    assert due_at(None, Age(1)) is None
    assert expired(None, Age(1), NOW) is False
    assert late_seconds(None, 30, NOW) == 0


@pytest.mark.parametrize(
    ("text", "days", "old"),
    [
        ("2026-06-20T12:00:00+00:00", None, False),
        # due at four fifths of its age
        ("2026-06-22T12:00:01+00:00", 10, False),
        ("2026-06-22T12:00:00+00:00", 10, True),
        ("2026-06-22T12:00:00Z", 10, True),
        ("2026-06-22T14:00:00+02:00", 10, True),
        ("2026-06-30T11:59:59+00:00", 0, True),
        ("2026-07-01T11:59:59+00:00", 10, False),
        ("2027-01-01T00:00:00+00:00", 10, True),
        (None, 10, True),
        ("yesterday", 10, True),
        (None, None, False),
    ],
)
def test_expired(text: str | None, days: int | None, old: bool) -> None:
    assert expired(label("a", made_at=text), Age(days), NOW) is old


@pytest.mark.parametrize(
    ("text", "days", "due"),
    [
        (MADE_AT, 10, NOW - datetime.timedelta(days=2)),
        (MADE_AT, 0, NOW - datetime.timedelta(days=10)),
        (MADE_AT, None, None),
        ("yesterday", 10, None),
    ],
)
def test_due_at(text: str, days: int | None, due: Any) -> None:
    assert due_at(label("a", made_at=text), Age(days)) == due


@pytest.mark.parametrize(
    ("ago", "seconds"),
    [(0, 30.0), (10, 20.0), (29.5, 0.5), (30, 0.0), (31, 0.0), (86400, 0.0), (-5, 30.0), (-86400, 30.0)],
)
def test_late_seconds(ago: float, seconds: float) -> None:
    """Of a clock that is ahead no more than the whole time-out is believed."""
    sent = (NOW - datetime.timedelta(seconds=ago)).isoformat()
    assert late_seconds(label("a", made_at=sent, in_flight=True), 30, NOW) == seconds
    for in_flight in (False, None):
        assert late_seconds(label("a", made_at=sent, in_flight=in_flight), 30, NOW) == 0


def test_what_has_no_time_is_not_waited_for() -> None:
    assert late_seconds(label("a", in_flight=True), 30, NOW) == 0


# Any order of steps

STEPS: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "create": lambda now, name: create(now, {"client_secret": name, "made_at": name, "replaces": [f"agent of {name}"]}),
    "amend": lambda now, name: amend(now, {"application_id": name}) if now["pending"] else now,
    "finish": lambda now, name: finish(now, deliver=True, retire=True),
    "acknowledge": lambda now, name: acknowledge(now, delivered=name, retired={"agent_id": name, "made_at": name}),
}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12))
def test_a_secret_that_was_finished_is_current_until_the_next_one_is_and_no_agent_is_forgotten(
    steps: list[str],
) -> None:
    now, current, replaced = entry(None), None, []
    for number, step in enumerate(steps):
        pending = now["pending"]
        now = STEPS[step](now, str(number))
        if step == "finish" and pending:
            current = pending["client_secret"]
            replaced += pending["replaces"]
        assert (now["current"] or {}).get("client_secret") == current
        assert [one["agent_id"] for one in now["outstanding"]["retire"]] == replaced
        assert now["outstanding"]["deliver"] == current
        assert entry(now) == now


def test_nothing_follows_a_finish_unless_it_is_said() -> None:
    now = entry({"pending": {**label("new"), "replaces": ["old"]}, "outstanding": {"deliver": "then"}})
    assert finish(now)["outstanding"] == {"deliver": "then", "retire": []}
    assert finish(now, retire=True)["outstanding"]["retire"][0]["agent_id"] == "old"
    assert finish(now, deliver=True)["outstanding"]["deliver"] == finish(now)["current"]["made_at"] != "then"
