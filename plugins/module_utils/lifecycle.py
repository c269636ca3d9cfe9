# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PURE: the life of a stored secret, and what is to be done about it.

A store keeps one entry for each binding::

    {pending, current, previous: label or None,
     outstanding: {deliver: made_at or None, retire: [{agent_id, made_at}]},
     origin: created | adopted | None, attempt: int, instance: str, binding: str, renamed_to: str or None}

A label is ``{client_id, client_secret, application_id, agent_id, agent_name, scope, made_at, reason, replaces,
in_flight}``; ``made_at`` is UTC in ISO 8601 and names the secret, ``replaces`` lists the ids of the agents that were
logged in as before it, ``in_flight`` says that a request with it may still be on its way.
``outstanding`` is what has to follow a rotation, each thing with the ``made_at`` of the secret that caused it, so that
acknowledging an old one leaves a newer one alone. ``origin`` says whether the first secret was that of an application
made here or of one that was there before. ``attempt`` counts the secrets that were made. ``renamed_to`` is all that an
entry still says whose binding has another name by now. The entry that a preflight makes is no binding's: it has a
further key, ``marker``, when it was written, and nothing else.

The four steps and three labels are those that AWS Secrets Manager made standard: create (store as pending), set (in
Halo), test (log in), finish (pending becomes current, current becomes previous).
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .errors import HaloError
from .schedule import Age
from .spec import fold

Label = dict[str, t.Any]
Entry = dict[str, t.Any]

LABELS = ("pending", "current", "previous")
LABEL_KEYS = (
    "client_id",
    "client_secret",
    "application_id",
    "agent_id",
    "agent_name",
    "scope",
    "made_at",
    "reason",
    "replaces",
    "in_flight",
)

HALO_REASONS = ("created", "agent_changed", "login_type_changed")
REASONS = (*HALO_REASONS, "rollback", "requested", "expired", "missing", "invalid", "none")
ADOPT = ("false", "rotate", "proven")
# what a preflight keeps its marker under, which no binding is called
MARKER = "(preflight marker)"


def entry(found: t.Any) -> Entry:
    """A whole entry from whatever a store returned: nothing, or an entry with labels missing."""
    found = found if isinstance(found, t.Mapping) else {}
    whole: Entry = {}
    for name in LABELS:
        label = found.get(name)
        secret = label.get("client_secret") if isinstance(label, t.Mapping) else None
        usable = secret and isinstance(secret, str)
        whole[name] = {key: label.get(key) for key in LABEL_KEYS} if usable and label else None
    outstanding = found.get("outstanding")
    outstanding = outstanding if isinstance(outstanding, t.Mapping) else {}
    agents = outstanding.get("retire")
    whole["outstanding"] = {
        "deliver": outstanding.get("deliver") or None,
        "retire": [
            {"agent_id": str(item["agent_id"]), "made_at": item.get("made_at")}
            for item in (agents if isinstance(agents, list) else [])
            if isinstance(item, t.Mapping) and item.get("agent_id")
        ],
    }
    whole["origin"] = found.get("origin") or None
    attempt = found.get("attempt")
    whole["attempt"] = attempt if isinstance(attempt, int) else 0
    for name in ("instance", "binding", "renamed_to"):
        whole[name] = found.get(name) or None
    if found.get("marker"):
        whole["marker"] = str(found["marker"])
    return whole


def is_empty(now: Entry) -> bool:
    """Whether the store knows no secret at all."""
    return not any(now[label] for label in LABELS)


def secrets_of(now: Entry) -> list[str]:
    """All secrets of an entry."""
    return [str(now[label]["client_secret"]) for label in LABELS if now[label]]


def to_restore(now: Entry, application_id: t.Any, client_id: t.Any) -> Label:
    """What a rollback sets again: what an earlier one began, or else the previous secret.

    :param application_id: of the application in Halo, as ``client_id``, which is None where there is none
    :raises HaloError: there is no such secret, it is of another application, or a rotation has yet to be finished
    """
    pending, label = now["pending"], now["pending"] or now["previous"]
    if pending and pending["reason"] != "rollback":
        raise HaloError(
            f"a rotation ({pending['reason'] or 'of unknown reason'}) was begun and has yet to be finished, so there "
            "was no rollback.",
            hint="Nothing was changed. Run once without rollback, which finishes it, and then with rollback.",
        )
    if not label:
        raise HaloError(
            "the store knows no previous secret of it, so there was no rollback.",
            hint="Nothing was changed. For a new secret set halo_integration_rotate: true.",
        )
    both = ((label["application_id"], application_id), (label["client_id"], client_id))
    if client_id is None or any(one and other and fold(one) != fold(other) for one, other in both):
        there = f"{application_id} (client ID {client_id})" if client_id else "none"
        raise HaloError(
            f"the previous secret is of the application {label['application_id']} (client ID {label['client_id']}), "
            f"and Halo has {there}, so there was no rollback.",
            hint="Nothing was changed. For a new secret set halo_integration_rotate: true.",
        )
    return t.cast(Label, label)


def is_in_service(now: Entry) -> bool:
    """Whether the store knows a secret that is in force, or may be."""
    return bool(now["pending"] or now["current"])


def is_copy(one: Entry, other: Entry) -> bool:
    """Whether two entries say the same of two names."""
    return all(one[key] == other[key] for key in one if key not in ("instance", "binding", "renamed_to"))


def create(now: Entry, label: Label) -> Entry:
    """Create: ``label`` becomes pending. The secret in force stays where it is."""
    origin = now["origin"] or ("created" if label.get("reason") == "created" else "adopted")
    pending = {key: label.get(key) for key in LABEL_KEYS}
    return {**now, "pending": pending, "origin": origin, "attempt": now["attempt"] + 1, "renamed_to": None}


def amend(now: Entry, answered: Label) -> Entry:
    """What Halo answered (its own client ID or secret, the new application's id) is what is pending."""
    known = {key: value for key, value in answered.items() if key in LABEL_KEYS and value is not None}
    return {**now, "pending": {**(now["pending"] or {}), **known}}


def finish(now: Entry, *, deliver: bool = False, retire: bool = False) -> Entry:
    """Finish: pending becomes current, current becomes previous; what has to follow is noted in the same step.

    :param deliver: whether the new secret has to be delivered
    :param retire: whether the agents that it replaces are to be retired; one that is logged in as again is not
    """
    new = now["pending"]
    if not new:
        return now
    replaced = (new["replaces"] or []) if retire else []
    new = {**new, "replaces": None, "in_flight": False}
    agents = {fold(item["agent_id"]): item for item in now["outstanding"]["retire"]}
    for identity in replaced:
        agents.setdefault(fold(identity), {"agent_id": str(identity), "made_at": new["made_at"]})
    agents.pop(fold(new["agent_id"]), None)
    due = new["made_at"] if deliver else now["outstanding"]["deliver"]
    outstanding = {"deliver": due, "retire": [*agents.values()]}
    kept = now["current"] or now["previous"]
    return {**now, "pending": None, "current": new, "previous": kept, "outstanding": outstanding}


def adopt(now: Entry, label: Label) -> Entry:
    """A secret that was there before, and is proven to log in, is current from now on."""
    current = {**{key: label.get(key) for key in LABEL_KEYS}, "in_flight": False}
    return {**now, "pending": None, "current": current, "origin": now["origin"] or "adopted", "renamed_to": None}


def acknowledge(now: Entry, *, delivered: str | None = None, retired: t.Mapping[str, t.Any] | None = None) -> Entry:
    """Something outstanding has been done.

    :param delivered: ``made_at`` of the secret that was delivered; a newer one is still to be
    :param retired: the item of ``outstanding["retire"]`` that is done
    """
    outstanding = now["outstanding"]
    deliver = None if delivered is not None and outstanding["deliver"] == delivered else outstanding["deliver"]
    agents = [item for item in outstanding["retire"] if item != retired]
    return {**now, "outstanding": {"deliver": deliver, "retire": agents}}


def dismantle(now: Entry) -> Entry:
    """The application is gone: nothing is current, and the last secret in force is previous."""
    last = now["current"] or now["pending"] or now["previous"]
    outstanding: dict[str, t.Any] = {"deliver": None, "retire": []}
    return {**now, "pending": None, "current": None, "previous": last, "outstanding": outstanding}


def rename(now: Entry, name: str) -> tuple[Entry, Entry]:
    """The binding has another name: what its entry is under that, and what stays under the old one."""
    left = {**entry(None), **{key: now[key] for key in ("instance", "binding")}, "renamed_to": name}
    return {**now, "binding": name, "renamed_to": None}, left


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a binding.

    :param halo: why Halo demands a new secret: created, agent_changed, login_type_changed, none
    :param has_pending: the store holds a pending secret, made because of ``pending_reason``
    :param pending_valid: it logs in (whatever the agent)
    :param has_current: the store holds a current secret
    :param current_valid: it logs in as the right agent; None where that was not tested
    :param requested: the user asks for a new one
    :param rollback: the user asks for the previous one, and there is one; nothing but a rollback is pending then
    :param expired: the current one is older than the user wants
    :param hosted: Halo hosts the Integrator, and its secret is not ours to change
    :param adopt: what to do about an application whose secret the store does not know: one of ``ADOPT``
    """

    halo: str = "none"
    has_pending: bool = False
    pending_valid: bool = False
    pending_reason: str = "none"
    has_current: bool = False
    current_valid: bool | None = None
    requested: bool = False
    rollback: bool = False
    expired: bool = False
    hosted: bool = False
    adopt: str = "false"


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is to be done, in this order.

    :param promote: the pending secret is in force: finish what an earlier run began
    :param rotate: make a new secret, because of ``reason``
    :param test_current: not decided: whether the current secret still logs in must be known first
    :param prove: take over the secret that the user gives, if it logs in
    :param refuse: Halo has the application and the store knows no secret of it, and the user has not said what to do
    """

    promote: bool = False
    rotate: bool = False
    reason: str = "none"
    test_current: bool = False
    prove: bool = False
    refuse: bool = False


def decide(facts: Facts, verify: bool = True) -> Decision:
    """The one decision of a run over a binding.

    A pending secret that logs in is in force, whatever else is to be done: it is promoted before anything overwrites
    it, and it answers every cause but one that Halo itself states. One that does not log in never reached Halo; the
    rotation that it was made for starts over. A rollback takes a change that Halo demands along.
    """
    promote = facts.has_pending and facts.pending_valid
    if facts.halo != "none":
        return Decision(promote, True, "rollback" if facts.rollback and not promote else facts.halo)
    if promote:
        return Decision(True, False, facts.pending_reason)
    if facts.hosted:
        return Decision()
    if facts.rollback:
        return Decision(rotate=True, reason="rollback")
    if facts.requested:
        return Decision(rotate=True, reason="requested")
    if facts.has_pending:
        return Decision(rotate=True, reason=facts.pending_reason if facts.pending_reason != "none" else "invalid")
    if not facts.has_current:
        if facts.adopt == "rotate":
            return Decision(rotate=True, reason="missing")
        return Decision(prove=facts.adopt == "proven", refuse=facts.adopt != "proven")
    if facts.expired:
        return Decision(rotate=True, reason="expired")
    if facts.current_valid is None and verify:
        return Decision(test_current=True)
    if facts.current_valid is False:
        return Decision(rotate=True, reason="invalid")
    return Decision()


def made_at(label: Label | None) -> datetime.datetime | None:
    """When a secret was made; None where that cannot be known."""
    try:
        made = datetime.datetime.fromisoformat(str((label or {}).get("made_at")).replace("Z", "+00:00"))
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=datetime.UTC)


def due_at(label: Label | None, age: Age) -> datetime.datetime | None:
    """When a secret is to be replaced because of its age; None where nothing says so."""
    return age.due_at(made_at(label)) if label else None


def expired(label: Label | None, age: Age, now: datetime.datetime) -> bool:
    """Whether a secret is to be replaced now because of its age."""
    return bool(label) and age.is_due(made_at(label), now)


def late_seconds(label: Label | None, timeout: float, now: datetime.datetime) -> float:
    """How long a request with this pending secret may still be on its way, in seconds; 0 for none.

    A run whose host is gone leaves no lock. What it had sent is answered, or given up, within the time-out.
    """
    made = made_at(label)
    if not label or not label.get("in_flight") or made is None:
        return 0.0
    return min(max(0.0, timeout - (now - made).total_seconds()), timeout)
