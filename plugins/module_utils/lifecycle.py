# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PURE: the life of a stored secret, and what is to be done about it.

A store keeps one entry for each binding: ``{pending, current, previous, owed, origin}``. A label is None or
``{client_id,
client_secret, application_id, agent_id, agent_name, made_at, reason}``; ``made_at`` is UTC in ISO 8601. ``owed`` is
what still
has to follow a rotation: ``{deliver: bool, retire: id or None}``. ``origin`` is ``created`` where the first secret
was that of an
application that this collection made, ``adopted`` where the application was there before, None before the first secret.

The four steps and three labels are those that AWS Secrets Manager made standard: create (store as pending), set (in
Halo), test (log in), finish (pending becomes current, current becomes previous).
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

Label = dict[str, t.Any]
Entry = dict[str, t.Any]

LABELS = ("pending", "current", "previous")
LABEL_KEYS = ("client_id", "client_secret", "application_id", "agent_id", "agent_name", "made_at", "reason")
OWED_KEYS = ("deliver", "retire")

HALO_REASONS = ("created", "agent_changed", "login_type_changed")
REASONS = (*HALO_REASONS, "requested", "expired", "missing", "invalid", "none")


def entry(found: t.Any) -> Entry:
    """A whole entry from whatever a store returned: nothing, or an entry with labels missing."""
    found = found if isinstance(found, t.Mapping) else {}
    whole: Entry = {}
    for name in LABELS:
        label = found.get(name)
        usable = isinstance(label, t.Mapping) and label.get("client_secret")
        whole[name] = {key: label.get(key) for key in LABEL_KEYS} if usable and label else None
    owed = found.get("owed")
    owed = owed if isinstance(owed, t.Mapping) else {}
    whole["owed"] = {"deliver": bool(owed.get("deliver")), "retire": owed.get("retire") or None}
    whole["origin"] = found.get("origin") or None
    return whole


def begin(now: Entry, label: Label) -> Entry:
    """Create: ``label`` becomes pending. The secret in force stays where it is."""
    origin = now["origin"] or ("created" if label.get("reason") == "created" else "adopted")
    return {**now, "pending": {key: label.get(key) for key in LABEL_KEYS}, "origin": origin}


def amend(now: Entry, answered: Label) -> Entry:
    """What Halo answered (its own client ID or secret, the new application's id) is what is pending."""
    known = {key: value for key, value in answered.items() if key in LABEL_KEYS and value is not None}
    return {**now, "pending": {**(now["pending"] or {}), **known}}


def finish(now: Entry, owed: t.Mapping[str, t.Any] | None = None) -> Entry:
    """Finish: pending becomes current, current becomes previous; ``owed`` is noted in the same step."""
    if not now["pending"]:
        return now
    kept = now["current"] or now["previous"]
    owes = {key: (owed or {}).get(key) or now["owed"].get(key) for key in OWED_KEYS}
    return {**now, "pending": None, "current": now["pending"], "previous": kept, "owed": owes}


def settle(now: Entry, done: t.Iterable[str]) -> Entry:
    """What was owed has been done."""
    nothing = {"deliver": False, "retire": None}
    return {**now, "owed": {key: nothing[key] if key in set(done) else now["owed"][key] for key in OWED_KEYS}}


def withdraw(now: Entry) -> Entry:
    """The application is gone: nothing is current, and the last secret in force is previous."""
    last = now["current"] or now["pending"] or now["previous"]
    return {**now, "pending": None, "current": None, "previous": last, "owed": {"deliver": False, "retire": None}}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a binding.

    :param halo: why Halo demands a new secret: created, agent_changed, login_type_changed, none
    :param has_pending: the store holds a pending secret, made because of ``pending_reason``
    :param pending_valid: it logs in (whatever the agent)
    :param has_current: the store holds a current secret
    :param current_valid: it logs in as the right agent; None where that was not tested
    :param requested: the user asks for a new one
    :param expired: the current one is older than the user wants
    :param hosted: Halo hosts the Integrator, and its secret is not ours to change
    """

    halo: str = "none"
    has_pending: bool = False
    pending_valid: bool = False
    pending_reason: str = "none"
    has_current: bool = False
    current_valid: bool | None = None
    requested: bool = False
    expired: bool = False
    hosted: bool = False


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is to be done, in this order.

    :param promote: the pending secret is in force: finish what an earlier run began
    :param rotate: make a new secret, because of ``reason``
    :param test_current: not decided: whether the current secret still logs in must be known first
    """

    promote: bool = False
    rotate: bool = False
    reason: str = "none"
    test_current: bool = False


def decide(facts: Facts, verify: bool = True) -> Decision:
    """The one decision of a run over a binding.

    A pending secret that logs in is in force, whatever else is to be done: it is promoted before anything overwrites
    it, and it answers every cause but one that Halo itself states. One that does not log in never reached Halo; the
    rotation that it was made for starts over.
    """
    promote = facts.has_pending and facts.pending_valid
    if facts.halo != "none":
        return Decision(promote, True, facts.halo)
    if promote:
        return Decision(True, False, facts.pending_reason)
    if facts.hosted:
        return Decision()
    if facts.requested:
        return Decision(rotate=True, reason="requested")
    if facts.has_pending:
        return Decision(rotate=True, reason=facts.pending_reason if facts.pending_reason != "none" else "invalid")
    if not facts.has_current:
        return Decision(rotate=True, reason="missing")
    if facts.expired:
        return Decision(rotate=True, reason="expired")
    if facts.current_valid is None and verify:
        return Decision(test_current=True)
    if facts.current_valid is False:
        return Decision(rotate=True, reason="invalid")
    return Decision()


def expired(label: Label | None, max_age_days: int | None, now: datetime.datetime) -> bool:
    """Whether a secret is older than ``max_age_days``; one of unknown age is."""
    if label is None or max_age_days is None:
        return False
    try:
        made = datetime.datetime.fromisoformat(str(label.get("made_at")).replace("Z", "+00:00"))
    except ValueError:
        return True
    if made.tzinfo is None:
        made = made.replace(tzinfo=datetime.UTC)
    return now - made > datetime.timedelta(days=max_age_days)
