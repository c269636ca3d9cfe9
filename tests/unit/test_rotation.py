# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the engine at a time: what it calls, in which order, what it stores and what it says."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.errors import (
    AmbiguousWrite,
    HaloError,
    Refused,
    StaleEntry,
    TenantBusy,
)
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import HALO_REASONS, LABEL_KEYS, MARKER, entry
from ansible_collections.haloops.halo.plugins.module_utils.rotation import (
    TEST_ATTEMPTS,
    TEST_PAUSE,
    Ledger,
    Outcome,
    Proof,
    Seen,
    Wish,
    Work,
    alone,
    deliver,
    orphans,
)
from ansible_collections.haloops.halo.plugins.module_utils.schedule import Age
from ansible_collections.haloops.halo.plugins.module_utils.trail import Step

NAME = "Sync"
NOW = datetime.datetime(2026, 6, 30, 12, 0, tzinfo=datetime.UTC)
WRITES = ("write", "prepare", "set", "retire")


@dataclasses.dataclass
class Ports:
    """All three ports, which note their calls; ``fail`` maps a call to what it raises."""

    entry: dict[str, Any] = dataclasses.field(default_factory=lambda: entry(None))
    seen: Seen | None = None
    valid: tuple[str, ...] = ()
    whom: Any = None
    answers: tuple[dict[str, Any], ...] = ({"application_id": "app"},)
    denials: int = 0
    # what is refused, call by call; the last one stays
    refusals: tuple[tuple[str, ...], ...] = ((),)
    fail: dict[str, BaseException] = dataclasses.field(default_factory=dict)
    calls: list[str] = dataclasses.field(default_factory=list)
    written: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    sent: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    slept: list[float] = dataclasses.field(default_factory=list)
    lines: list[Step] = dataclasses.field(default_factory=list)
    time: datetime.datetime = NOW
    held: bool = False
    version: int = 7

    def call(self, name: str) -> None:
        self.calls.append(name)
        for known in (name, name.partition(" ")[0]):
            if known in self.fail:
                raise self.fail[known]

    def read(self, name: str) -> tuple[dict[str, Any], int]:
        self.call(f"read {name}")
        return copy.deepcopy(self.entry), self.version

    def write(self, name: str, new: dict[str, Any], version: int) -> int:
        assert name == NAME
        self.call("write")
        if version != self.version:
            raise StaleEntry("someone else wrote.")
        self.version += 1
        self.entry = copy.deepcopy(new)
        self.written.append(self.entry)
        return self.version

    def names(self) -> list[str]:
        return [NAME]

    def others(self, names: Any) -> dict[str, dict[str, Any]]:
        return {} if NAME in names else {NAME: self.entry}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self.call("hold")
        self.held = True
        yield
        self.held = False

    def look(self) -> Seen:
        self.call("look")
        assert self.seen
        return self.seen

    def allow(self, reason: str) -> None:
        self.call(f"allow {reason}")

    def prepare(self) -> Any:
        self.call("prepare")
        return "new-agent" if self.seen and self.seen.new_agent else "ann"

    def set(self, label: dict[str, Any], answered: Callable[[dict[str, Any]], None]) -> None:
        self.sent.append(label)
        self.valid = (*self.valid, label["client_secret"])
        self.call("set")
        for one in self.answers:
            answered(one)
            self.call("answered")

    def test(self, label: dict[str, Any], *, whom: bool) -> Proof:
        self.call("test whom" if whom else "test")
        if self.denials:
            self.denials -= 1
            return Proof(False, reason="not yet")
        if label["client_secret"] in self.valid:
            return Proof(True, self.whom if whom else None)
        return Proof(False, reason="invalid_client")

    def rights(self, label: dict[str, Any]) -> list[str]:
        self.call(f"rights {label['client_secret']}")
        now, *later = self.refusals
        self.refusals = tuple(later) or self.refusals
        return list(now)

    def retire(self, agent_id: Any) -> str:
        self.call(f"retire {agent_id}")
        return "disabled"

    def check(self) -> None:
        if "check" in self.fail:
            raise self.fail["check"]

    def note(self, step: Step) -> None:
        self.lines.append(step)
        if "note" in self.fail:
            raise self.fail["note"]

    @property
    def noted(self) -> list[str]:
        return [f"{one.action} {one.cause} {one.outcome}" for one in self.lines]

    def now(self) -> datetime.datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.call("sleep")
        self.slept.append(seconds)
        self.time += datetime.timedelta(seconds=seconds)

    @property
    def writes(self) -> list[str]:
        return [name for name in self.calls if name.partition(" ")[0] in WRITES]


def seen(reason: str = "none", **more: Any) -> Seen:
    known: dict[str, Any] = {
        "exists": reason != "created",
        "new_agent": False,
        "agent_id": "ann",
        "agent_name": "Ann",
        "application_id": None if reason == "created" else "app",
        "client_id": None if reason == "created" else "client",
        "scope": "read:tickets",
        "previous_agent_id": "old" if reason == "agent_changed" else None,
    }
    return Seen(reason, **{**known, **more})


def label(secret: str, **more: Any) -> dict[str, Any]:
    known = {
        "client_id": "client",
        "client_secret": secret,
        "application_id": "app",
        "agent_id": "ann",
        "agent_name": "Ann",
        "made_at": (NOW - datetime.timedelta(days=1)).isoformat(),
        "reason": "created",
        "in_flight": False,
    }
    return {**dict.fromkeys(LABEL_KEYS), **known, **more}


def stored(pending: Any = None, current: Any = None, **more: Any) -> dict[str, Any]:
    return entry({"pending": pending, "current": current, "origin": "created", "attempt": 1, **more})


def work(ports: Ports, **wish: Any) -> Work:
    return Work(Ledger.read(ports, NAME), ports, Wish(NAME, **wish), ports, ports)


def run(ports: Ports, *, check_mode: bool = False, **wish: Any) -> Outcome:
    one = work(ports, **wish)
    one.consider()
    return one.carry_out(check_mode=check_mode)


def outstanding(*agents: str, deliver: str | None = None) -> dict[str, Any]:
    return {"outstanding": {"deliver": deliver, "retire": [{"agent_id": one, "made_at": "then"} for one in agents]}}


# A rotation


def test_create_set_test_finish() -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"), whom="ann")
    outcome = run(ports, previous_agent="disable", deliver=True)
    assert ports.calls == [
        "read Sync",
        "look",
        "prepare",
        "write",
        "set",
        "answered",
        "test whom",
        "write",
        "retire old",
        "write",
    ]
    created, finished, retired = ports.written
    pending = created["pending"]
    assert created["current"] == label("old")
    assert created["attempt"] == 2
    assert pending == {
        **label(pending["client_secret"], reason="agent_changed", scope="read:tickets"),
        "made_at": NOW.isoformat(timespec="microseconds"),
        "replaces": ["old"],
        "in_flight": True,
    }
    assert ports.sent == [pending]
    assert finished["current"] == {**pending, "replaces": None, "in_flight": False}
    assert (finished["pending"], finished["previous"]) == (None, label("old"))
    made_at = pending["made_at"]
    assert finished["outstanding"] == {"deliver": made_at, "retire": [{"agent_id": "old", "made_at": made_at}]}
    assert retired["outstanding"] == {"deliver": made_at, "retire": []}
    assert outcome == Outcome(
        rotated=True, changed=True, reason="agent_changed", verified=True, previous_agent="disabled"
    )


def test_the_agent_is_made_before_the_secret_is_sent_and_after_it_is_stored() -> None:
    ports = Ports(stored(), seen("created", new_agent=True, agent_id=None), whom="new-agent")
    run(ports)
    assert ports.calls[2:] == ["write", "prepare", "write", "set", "answered", "test whom", "write"]
    assert [one["pending"] and one["pending"]["agent_id"] for one in ports.written] == [None, "new-agent", None]
    assert ports.entry["current"]["agent_id"] == "new-agent"
    assert ports.sent[0]["client_id"]
    assert ports.sent[0]["replaces"] is None


def test_times_are_stored_as_utc() -> None:
    ports = Ports(
        stored(), seen("created"), whom="ann", time=NOW.astimezone(datetime.timezone(datetime.timedelta(hours=2)))
    )
    run(ports)
    assert ports.entry["current"]["made_at"] == "2026-06-30T12:00:00.000000+00:00"


def test_the_time_of_a_request_that_may_be_late_counts_from_after_the_agent_was_made() -> None:
    ports = Ports(stored(), seen("created", new_agent=True, agent_id=None), whom="new-agent")
    real = ports.prepare

    def slowly() -> Any:
        ports.time += datetime.timedelta(seconds=20)
        return real()

    ports.prepare = slowly  # type: ignore[method-assign]
    ports.fail["set"] = AmbiguousWrite("no answer.", late=True)
    with pytest.raises(AmbiguousWrite):
        run(ports)
    ports.calls.clear()
    with alone(ports, [NAME], timeout=30, clock=ports):
        pass
    assert ports.slept == [30]


def test_a_secret_and_a_client_id_of_halos_own_are_stored_before_anything_else_can_fail() -> None:
    own = {"client_id": "own-id", "client_secret": "own-secret", "application_id": "app"}
    ports = Ports(stored(), seen("created"), valid=("own-secret",), whom="ann", answers=(own,))
    ports.fail["answered"] = HaloError("it cannot be read back.")
    with pytest.raises(HaloError, match="read back"):
        run(ports)
    assert ports.entry["pending"] | own == ports.entry["pending"]
    ports.fail.clear()
    ports.seen = seen(client_id="own-id")
    outcome = run(ports)
    assert ports.entry["current"] | own == ports.entry["current"]
    assert (outcome.rotated, outcome.reason, len(ports.sent)) == (True, "created", 1)


@pytest.mark.parametrize("own", [{"client_id": "own"}, {"client_secret": "own"}])
def test_either_is_stored_at_once(own: dict[str, str]) -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"), valid=("own",), whom="ann", answers=(own,))
    run(ports)
    assert ports.calls[3:7] == ["write", "set", "write", "answered"]


def test_a_secret_of_halos_own_is_kept_where_the_store_fails_once() -> None:
    """It can be read nowhere else, so the write is tried again before the run ends."""

    class Failing(Ports):
        def write(self, name: str, new: dict[str, Any], version: int) -> int:
            if len(self.written) == 1 and "answered" not in self.calls and "failed" not in self.calls:
                self.calls.append("failed")
                raise HaloError("the disk is full for a moment.")
            return super().write(name, new, version)

    own = {"client_id": "client", "client_secret": "own", "application_id": "app"}
    ports = Failing(stored(None, label("old")), seen("agent_changed"), valid=("own",), whom="ann", answers=(own,))
    with pytest.raises(HaloError, match="full for a moment"):
        run(ports)
    assert ports.entry["pending"]["client_secret"] == "own"
    assert ports.entry["current"]["client_secret"] == "old"


def test_what_was_sent_and_answered_alike_is_not_stored_once_more() -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"), whom="ann", answers=({"application_id": "1"},))
    run(ports)
    assert len(ports.written) == 2
    assert ports.entry["current"]["application_id"] == "1"


@pytest.mark.parametrize(
    ("error", "in_flight"),
    [
        (AmbiguousWrite("no answer."), True),
        (AmbiguousWrite("no answer.", late=True), True),
        (HaloError("refused."), False),
        (Refused("no."), False),
    ],
)
@pytest.mark.parametrize("call", ["set", "prepare"])
def test_whether_a_request_may_still_be_on_its_way(error: HaloError, in_flight: bool, call: str) -> None:
    ports = Ports(stored(), seen("created", new_agent=True, agent_id=None), fail={call: error})
    with pytest.raises(HaloError) as raised:
        run(ports)
    assert raised.value is error
    assert ports.entry["pending"]["in_flight"] is in_flight
    assert ports.entry["current"] is None


def test_the_error_of_the_request_counts_not_that_of_noting_it() -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"))

    def refuse(sent: Any, answered: Any) -> None:
        ports.fail["write"] = HaloError("the disk is full.")
        raise HaloError("Halo said no.")

    ports.set = refuse  # type: ignore[method-assign]
    with pytest.raises(HaloError, match=r"Halo said no\."):
        run(ports)


def test_nothing_is_sent_that_is_not_stored() -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"), fail={"write": HaloError("the disk is full.")})
    with pytest.raises(HaloError, match="disk"):
        run(ports)
    assert ports.sent == []


# The test


def test_a_secret_that_is_not_let_in_at_once_is_tried_again() -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"), whom="ann", denials=TEST_ATTEMPTS - 1)
    assert run(ports).rotated
    assert ports.slept == [TEST_PAUSE] * (TEST_ATTEMPTS - 1)
    assert ports.calls.count("test whom") == TEST_ATTEMPTS == 4
    assert TEST_PAUSE == 1.0


@pytest.mark.parametrize(
    ("broken", "said"),
    [({"denials": 99}, "not yet"), ({"whom": "mallory"}, "the agent mallory answered")],
)
def test_a_secret_that_is_not_proven_stays_pending(broken: dict[str, Any], said: str) -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"), **{"whom": "ann", **broken})
    with pytest.raises(HaloError, match=f"does not log in as Ann: {said}") as raised:
        run(ports, previous_agent="disable")
    assert ports.entry["pending"]["client_secret"] == ports.sent[0]["client_secret"]
    assert ports.entry["current"] == label("old")
    # its request was answered: the next run need not wait
    assert ports.entry["pending"]["in_flight"] is False
    assert ports.sent[0]["client_secret"] not in str(raised.value)
    assert "retire old" not in ports.calls
    assert ports.calls.count("test whom") == (TEST_ATTEMPTS if "denials" in broken else 1)


@pytest.mark.parametrize(
    ("found", "wish", "asked"),
    [
        (seen("created"), {}, True),
        (seen("agent_changed"), {}, True),
        (seen("login_type_changed"), {}, True),
        # nothing else can be logged in as one that was just made
        (seen("agent_changed", new_agent=True, agent_id=None), {}, False),
        (seen("created", new_agent=True, agent_id=None), {}, True),
        (seen(), {"requested": True}, False),
        (seen(), {"age": Age(0)}, False),
    ],
)
def test_as_whom_it_logs_in_is_asked_where_another_agent_takes_over(found: Seen, wish: Any, asked: bool) -> None:
    ports = Ports(stored(None, label("old")), found, whom="new-agent" if found.new_agent else "ann")
    assert run(ports, **wish).rotated
    assert ("test whom" in ports.calls, "test" in ports.calls) == (asked, not asked)


@pytest.mark.parametrize(
    ("proof", "whom", "by"),
    [
        (Proof(True), "ann", True),
        (Proof(True, "ANN "), "ann", True),
        (Proof(True, 7), "7", True),
        (Proof(True, "ben"), "ann", False),
        (Proof(False), "ann", False),
        (Proof(False, "ann"), "ann", False),
    ],
)
def test_proof(proof: Proof, whom: Any, by: bool) -> None:
    assert proof.by(whom) is by


# What a run before has left


def test_a_pending_secret_in_force_is_finished_and_nothing_is_made() -> None:
    pending = label("new", reason="expired", replaces=["old"], agent_id=None, client_id=None, application_id=None)
    ports = Ports(stored(pending, label("old")), seen(), valid=("new",))
    outcome = run(ports, previous_agent="delete", deliver=True, requested=True)
    assert ports.calls[2:] == ["prepare", "test", "write", "retire old", "write"]
    assert ports.entry["current"] == {**pending, "replaces": None} | {
        "agent_id": "ann",
        "client_id": "client",
        "application_id": "app",
    }
    assert (outcome.rotated, outcome.changed, outcome.reason, outcome.verified) == (True, True, "expired", True)
    ports = Ports(stored({**pending, "reason": None}, label("old")), seen(), valid=("new",))
    assert run(ports).reason == "none"


def test_one_whose_agent_is_changed_is_finished_as_what_halo_says_and_then_replaced() -> None:
    pending = label("new", reason="agent_changed", agent_id="ben", agent_name="Ben", replaces=["zoe"])
    ports = Ports(stored(pending, label("old")), seen("agent_changed"), valid=("new",), whom="ann")
    run(ports, previous_agent="disable")
    assert ports.calls[2:] == [
        *("prepare", "test", "write", "write", "set", "answered", "test whom", "write"),
        *("retire zoe", "write", "retire old", "write"),
    ]
    assert ports.written[0]["current"]["agent_id"] == "old"
    assert ports.sent[0]["client_secret"] != "new"
    assert ports.entry["previous"]["client_secret"] == "new"
    assert [line.agent for line in ports.lines if line.action in ("test", "finish")] == ["Ben", "Ben", "Ann", "Ann"]


def test_one_that_was_stored_for_another_agent_than_it_logs_in_as() -> None:
    """It was sent for ann; her run was killed, and one for ben that was killed too had not sent it."""
    pending = label("new", agent_id="ben", agent_name="Ben", replaces=["old", "ann"])
    ports = Ports(stored(pending, label("old")), seen(), valid=("new",))
    run(ports, previous_agent="disable")
    current = ports.entry["current"]
    assert (current["agent_id"], current["agent_name"]) == ("ann", "Ann")
    assert ports.writes == ["prepare", "write", "retire old", "write"]


def test_one_that_never_reached_halo_is_sent_again() -> None:
    pending = label("new", client_id="mine", reason="created", replaces=["old"])
    found = seen("created", previous_agent_id="zoe")
    ports = Ports(stored(pending), found, whom="ann")
    run(ports, previous_agent="disable")
    # the application is not there, so no login is tried
    assert ports.calls[2:5] == ["prepare", "write", "set"]
    assert (ports.sent[0]["client_secret"], ports.sent[0]["client_id"]) == ("new", "mine")
    assert ports.sent[0]["replaces"] == ["old", "zoe"]
    assert [call for call in ports.calls if call.startswith("retire")] == ["retire old", "retire zoe"]


def test_halos_client_id_counts() -> None:
    ports = Ports(stored(label("new", client_id="mine")), seen(client_id="halos"))
    run(ports, requested=True)
    assert (ports.sent[0]["client_secret"], ports.sent[0]["client_id"]) == ("new", "halos")


# Guards and refusals


def test_a_secret_that_the_store_does_not_know_is_not_replaced() -> None:
    ports = Ports(stored(), seen())
    with pytest.raises(HaloError, match="the store knows no secret of it") as raised:
        run(ports)
    assert ports.calls == ["read Sync", "look"]
    assert all(word in str(raised.value) for word in ("another store", "localhost", "adopt: rotate", "adopt: proven"))


@pytest.mark.parametrize("reason", HALO_REASONS)
def test_what_halo_demands_is_not_refused(reason: str) -> None:
    ports = Ports(stored(), seen(reason), whom="ann")
    assert run(ports).reason == reason
    assert not [call for call in ports.calls if call.startswith("allow")]
    assert ports.entry["origin"] == "created"


def test_it_is_replaced_where_the_user_says_so() -> None:
    ports = Ports(entry(None), seen())
    assert run(ports, adopt="rotate").reason == "missing"
    assert ports.entry["origin"] == "adopted"


def test_a_given_secret_is_proven_and_taken_over() -> None:
    ports = Ports(entry(None), seen(), valid=("given",), whom="ann")
    outcome = run(ports, adopt="proven", adopt_secret="given")
    assert ports.calls == ["read Sync", "look", "test whom", "prepare", "write"]
    current = ports.entry["current"]
    assert (current["client_secret"], current["reason"], current["client_id"]) == ("given", "none", "client")
    assert (outcome.rotated, outcome.changed, outcome.verified) == (False, True, True)
    assert ports.entry["origin"] == "adopted"


@pytest.mark.parametrize(
    ("secret", "whom", "said"),
    [
        (None, "ann", "needs adopt_secret"),
        ("", "ann", "needs adopt_secret"),
        ("wrong", "ann", r"invalid_client"),
        ("given", "mallory", r"another agent answered"),
    ],
)
def test_a_given_secret_that_is_not_proven_changes_nothing(secret: Any, whom: str, said: str) -> None:
    ports = Ports(entry(None), seen(), valid=("given",), whom=whom)
    with pytest.raises(HaloError, match=said) as raised:
        run(ports, adopt="proven", adopt_secret=secret)
    assert ports.writes == []
    assert not secret or secret not in str(raised.value)
    assert not secret or f"'{secret}'" not in repr(Wish(NAME, adopt_secret=secret))


@pytest.mark.parametrize(
    ("wish", "reason"),
    [({"requested": True}, "requested"), ({"age": Age(0)}, "expired"), ({"adopt": "rotate"}, "missing")],
)
def test_a_guard_is_asked_before_the_first_write(wish: dict[str, Any], reason: str) -> None:
    current = None if reason == "missing" else label("old")
    ports = Ports(stored(None, current), seen(), fail={"allow": Refused("it is the login of this run.")})
    with pytest.raises(Refused):
        run(ports, **wish)
    assert ports.calls[-1] == f"allow {reason}"
    assert ports.writes == []


@pytest.mark.parametrize("pending", [None, label("new", reason="invalid")])
def test_a_guard_is_asked_before_the_secret_is_stored(pending: Any) -> None:
    """That the current one is dead, or a pending one never arrived, is known only after a login."""
    ports = Ports(stored(pending, label("old")), seen(), fail={"allow invalid": Refused("no.")})
    before = ports.entry
    with pytest.raises(Refused):
        run(ports)
    assert ports.writes == ["prepare"]
    assert ports.entry == before


def test_no_guard_keeps_a_secret_in_force_from_being_finished() -> None:
    ports = Ports(stored(label("new"), label("old")), seen(), valid=("new",), fail={"allow": Refused("no.")})
    assert run(ports).rotated


@pytest.mark.parametrize(("wish", "rotated"), [({}, False), ({"age": Age(0)}, False), ({"requested": True}, True)])
@pytest.mark.parametrize("current", [None, label("dead")])
def test_a_hosted_integrator_gets_a_new_secret_only_where_it_is_asked_for(
    wish: Any, rotated: bool, current: Any
) -> None:
    ports = Ports(stored(None, current), seen(hosted=True))
    assert run(ports, **wish).rotated is rotated
    assert bool(ports.sent) is rotated


def test_without_verification_the_current_secret_is_not_tried() -> None:
    ports = Ports(stored(None, label("dead")), seen())
    outcome = run(ports, verify=False)
    assert (outcome.rotated, outcome.verified, ports.calls) == (False, None, ["read Sync", "look", "prepare"])


def test_what_is_converged_is_left_alone() -> None:
    ports = Ports(stored(None, label("old")), seen(), valid=("old",))
    assert run(ports, previous_agent="delete", deliver=True, age=Age(90)) == Outcome(verified=True)
    assert ports.writes == ["prepare"]


def test_what_is_disabled_is_enabled_before_it_is_tried() -> None:
    ports = Ports(stored(None, label("old")), seen(untestable=True), valid=("old",))
    run(ports)
    assert ports.calls[2:] == ["prepare", "test"]


# The way back


def back(pending: Any = None, **more: Any) -> dict[str, Any]:
    return stored(pending, label("new"), previous=label("old", agent_id="ben", agent_name="Ben"), **more)


def test_a_rollback_sets_the_previous_secret_with_the_same_four_steps() -> None:
    ports = Ports(back(), seen(), valid=("new",))
    outcome = run(ports, rollback=True, deliver=True)
    assert ports.calls[2:] == [
        "allow rollback",
        "prepare",
        "allow rollback",
        "write",
        "set",
        "answered",
        "test",
        "write",
    ]
    created, finished = ports.written
    assert (created["pending"]["client_secret"], created["current"], created["previous"]) == (
        "old",
        label("new"),
        back()["previous"],
    )
    assert (created["pending"]["reason"], created["pending"]["agent_id"]) == ("rollback", "ann")
    assert (finished["current"]["client_secret"], finished["previous"]) == ("old", label("new"))
    assert (
        finished["current"]["made_at"] == finished["outstanding"]["deliver"] == NOW.isoformat(timespec="microseconds")
    )
    assert outcome == Outcome(rotated=True, changed=True, reason="rollback", verified=True)
    # once more, and it is as it was
    run(ports, rollback=True)
    assert (ports.entry["current"]["client_secret"], ports.entry["previous"]["client_secret"]) == ("new", "old")


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("before", "found", "said"),
    [
        (stored(None, label("new")), seen(), "no previous secret"),
        (back(), seen("created"), "and Halo has none"),
        (back(), seen(client_id="other"), r"Halo has app \(client ID other\)"),
        (back(), seen(application_id="other"), r"Halo has other \(client ID client\)"),
        (back(label("begun", reason="expired")), seen(), r"a rotation \(expired\) was begun"),
    ],
)
def test_a_rollback_that_cannot_be_is_refused_before_anything_is_changed(
    before: dict[str, Any], found: Seen, said: str, check_mode: bool
) -> None:
    ports = Ports(copy.deepcopy(before), found, valid=("new", "begun"))
    with pytest.raises(HaloError, match=said):
        run(ports, check_mode=check_mode, rollback=True)
    assert ports.calls == ["read Sync", "look"]
    assert ports.entry == before


def test_a_hosted_integrator_is_rolled_back_where_its_guard_lets_it() -> None:
    assert run(Ports(back(), seen(hosted=True)), rollback=True).rotated


def test_a_guard_forbids_a_rollback() -> None:
    ports = Ports(back(), seen(), valid=("new",), fail={"allow rollback": Refused("it is the login of this run.")})
    with pytest.raises(Refused):
        run(ports, rollback=True)
    assert ports.writes == []


def test_a_rollback_takes_a_change_of_the_agent_along_and_asks_as_whom_it_logs_in() -> None:
    ports = Ports(back(), seen("agent_changed"), whom="ann")
    outcome = run(ports, rollback=True, previous_agent="disable")
    assert outcome.reason == "rollback"
    assert "test whom" in ports.calls
    assert (ports.sent[0]["client_secret"], ports.sent[0]["agent_id"]) == ("old", "ann")
    assert ports.calls[-2:] == ["retire old", "write"]


@pytest.mark.parametrize("wish", [{"rollback": True}, {}])
def test_a_rollback_that_was_begun_is_finished_once(wish: dict[str, Any]) -> None:
    unsent = Ports(back(label("old", reason="rollback")), seen(), valid=("new",))
    assert run(unsent, **wish).reason == "rollback"
    assert [one["client_secret"] for one in unsent.sent] == ["old"]
    in_force = Ports(back(label("old", reason="rollback")), seen(), valid=("old",))
    assert run(in_force, **wish).reason == "rollback"
    assert in_force.sent == []
    for ports in (unsent, in_force):
        assert (ports.entry["current"]["client_secret"], ports.entry["previous"]["client_secret"]) == ("old", "new")


def test_who_asks_for_a_new_secret_does_not_get_the_one_that_a_rollback_has_begun() -> None:
    ports = Ports(back(label("old", reason="rollback")), seen(), valid=("new",))
    outcome = run(ports, requested=True)
    first, second = (one["client_secret"] for one in ports.sent)
    assert first == "old"
    assert second not in ("old", "new")
    assert (ports.entry["current"]["client_secret"], ports.entry["previous"]["client_secret"]) == (second, "old")
    assert outcome.reason == ports.entry["current"]["reason"] == "requested"


def test_where_halo_answers_with_a_secret_of_its_own_that_is_the_one() -> None:
    ports = Ports(back(), seen(), valid=("own",), answers=({"client_id": "client", "client_secret": "own"},))
    outcome = run(ports, rollback=True)
    assert ports.entry["current"]["client_secret"] == "own"
    assert outcome.warnings == ["Halo made a secret of its own instead of taking the previous one."]


# The trail

TRAILS: dict[str, tuple[dict[str, Any], Seen, dict[str, Any], tuple[str, ...], list[str]]] = {
    "a rotation": (
        stored(None, label("old")),
        seen("agent_changed"),
        {"previous_agent": "disable"},
        (),
        [f"{step} agent_changed ok" for step in ("create", "set", "test", "finish", "retire")],
    ),
    "an agent is made": (
        stored(),
        seen("created", new_agent=True, agent_id=None),
        {},
        (),
        [f"{step} created ok" for step in ("create", "set", "test", "finish")],
    ),
    "dead": (
        stored(None, label("old")),
        seen(),
        {},
        (),
        [f"{s} invalid ok" for s in ("create", "set", "test", "finish")],
    ),
    "a rollback": (
        back(),
        seen(),
        {"rollback": True},
        (),
        [f"{s} rollback ok" for s in ("rollback", "set", "test", "finish")],
    ),
    "what was begun": (
        stored(label("new", reason="expired"), label("old")),
        seen(),
        {},
        ("new",),
        ["test expired ok", "finish expired ok"],
    ),
    "what was begun, hosted": (
        stored(label("new", reason="expired"), label("old")),
        seen(hosted=True),
        {},
        ("new",),
        ["test expired ok", "finish expired ok"],
    ),
    "what was begun, and another agent": (
        stored(label("new", reason="expired"), label("old")),
        seen("agent_changed"),
        {},
        ("new",),
        ["test expired ok", "finish expired ok"]
        + [f"{s} agent_changed ok" for s in ("create", "set", "test", "finish")],
    ),
    "a given secret": (
        entry(None),
        seen(),
        {"adopt": "proven", "adopt_secret": "given"},
        ("given",),
        ["adopt proven ok"],
    ),
    "an agent that was outstanding": (
        stored(None, label("old"), **outstanding("zoe")),
        seen(),
        {"previous_agent": "delete"},
        ("old",),
        ["retire none ok"],
    ),
    "converged": (stored(None, label("old")), seen(), {}, ("old",), []),
}


@pytest.mark.parametrize(("before", "found", "wish", "valid", "lines"), TRAILS.values(), ids=TRAILS)
def test_each_step_is_noted(
    before: dict[str, Any], found: Seen, wish: dict[str, Any], valid: tuple[str, ...], lines: list[str]
) -> None:
    whom = "new-agent" if found.new_agent else "ann"
    ports = Ports(copy.deepcopy(before), found, valid, whom)
    done = run(ports, **wish)
    assert ports.noted == lines
    assert {one.binding for one in ports.lines} <= {NAME}
    client_id = (ports.entry["current"] or {})["client_id"]
    assert {one.client_id for one in ports.lines} <= {client_id}
    assert {one.agent for one in ports.lines} <= {"Ann", "old", "zoe"}
    # in check mode nothing is
    check = Ports(copy.deepcopy(before), found, valid, whom, fail={"check": HaloError("it cannot be kept.")})
    run(check, check_mode=True, **wish)
    assert check.lines == []
    # without a trail all is the same
    failing = Ports(copy.deepcopy(before), found, valid, whom, fail={"note": HaloError("the disk is full.")})
    outcome = run(failing, **wish)
    assert (outcome.rotated, outcome.reason, outcome.errors) == (done.rotated, done.reason, [])
    assert failing.calls == ports.calls
    actions = [line.partition(" ")[0] for line in lines]
    assert outcome.warnings == [
        f"the audit trail lacks the line of the step {action} (ok): the disk is full." for action in actions
    ]


@pytest.mark.parametrize(("before", "found", "wish", "valid", "lines"), TRAILS.values(), ids=TRAILS)
def test_nothing_is_changed_where_the_trail_cannot_be_kept(
    before: dict[str, Any], found: Seen, wish: dict[str, Any], valid: tuple[str, ...], lines: list[str]
) -> None:
    ports = Ports(copy.deepcopy(before), found, valid, "ann", fail={"check": HaloError("it cannot be kept.")})
    if not lines:
        # what is converged does not ask
        run(ports, **wish)
        return
    with pytest.raises(HaloError, match="cannot be kept"):
        run(ports, **wish)
    assert ports.entry == before
    # only that the secret in force is dead is known no earlier
    assert [call for call in ports.writes if call != "prepare" or not lines[0].startswith("create invalid")] == []


def test_a_change_without_a_secret_asks_too() -> None:
    ports = Ports(stored(None, label("old")), seen(changes=True), ("old",), fail={"check": HaloError("no.")})
    with pytest.raises(HaloError, match="no"):
        run(ports)
    assert ports.writes == []


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        ("write", ["create agent_changed {}"]),
        ("set", ["create agent_changed ok", "set agent_changed {}"]),
        ("test", ["create agent_changed ok", "set agent_changed ok", "test agent_changed {}"]),
        (
            "retire",
            [f"{s} agent_changed ok" for s in ("create", "set", "test", "finish")] + ["retire agent_changed {}"],
        ),
    ],
)
def test_what_failed_is_noted_in_words_and_without_a_secret(call: str, lines: list[str]) -> None:
    ports = Ports(stored(None, label("s3cret/old")), seen("agent_changed"), whom="ann")
    ports.fail[call] = HaloError("Halo said: s3cret/old,\nand s3cret%2Fold.")
    with contextlib.suppress(HaloError):
        run(ports, previous_agent="disable")
    assert ports.noted == [line.format("Halo said: ********, and ********.") for line in lines]


# Check mode

NEW_AGENT = {"new_agent": True, "agent_id": None}
WORLDS: dict[str, tuple[dict[str, Any], Seen, dict[str, Any], tuple[str, ...]]] = {
    "converged": (stored(None, label("old")), seen(), {}, ("old",)),
    "dead": (stored(None, label("old")), seen(), {}, ()),
    "dead, not verified": (stored(None, label("old")), seen(), {"verify": False}, ()),
    "created": (stored(), seen("created"), {}, ()),
    "created, with its agent": (stored(), seen("created", **NEW_AGENT), {}, ()),
    "another agent": (stored(None, label("old")), seen("agent_changed"), {}, ("old",)),
    "a new agent": (stored(None, label("old")), seen("agent_changed", **NEW_AGENT), {}, ("old",)),
    "login type": (stored(None, label("old")), seen("login_type_changed"), {}, ("old",)),
    "requested": (stored(None, label("old")), seen(), {"requested": True}, ("old",)),
    "expired": (stored(None, label("old")), seen(), {"age": Age(0)}, ("old",)),
    "rollback": (stored(None, label("old"), previous=label("older")), seen(), {"rollback": True}, ("old",)),
    "rollback, another agent": (
        stored(None, label("old"), previous=label("older", agent_id="ben")),
        seen("agent_changed"),
        {"rollback": True},
        ("old",),
    ),
    "rollback in force": (
        stored(label("older", reason="rollback"), label("old"), previous=label("older")),
        seen(),
        {"rollback": True},
        ("older",),
    ),
    "rollback unsent, and asked for a new one": (
        stored(label("older", reason="rollback"), label("old"), previous=label("older")),
        seen(),
        {"requested": True},
        ("old",),
    ),
    "missing": (stored(), seen(), {"adopt": "rotate"}, ()),
    "proven": (stored(), seen(), {"adopt": "proven", "adopt_secret": "given"}, ("given",)),
    "hosted": (stored(None, label("old")), seen(hosted=True), {"age": Age(0)}, ()),
    "pending in force": (stored(label("new", reason="expired"), label("old")), seen(), {}, ("new",)),
    "pending unsent": (stored(label("new", reason="expired"), label("old")), seen(), {}, ("old",)),
    "pending in force, another agent": (stored(label("new"), label("old")), seen("agent_changed"), {}, ("new",)),
    "pending, no application": (stored(label("new"), label("old")), seen("created"), {}, ("new",)),
    "to retire": (stored(None, label("old"), **outstanding("zoe")), seen(), {"previous_agent": "disable"}, ("old",)),
    "to deliver": (stored(None, label("old"), **outstanding(deliver="then")), seen(), {"deliver": True}, ("old",)),
    "nothing to deliver any more": (stored(None, label("old"), **outstanding(deliver="then")), seen(), {}, ("old",)),
}


@pytest.mark.parametrize(("before", "found", "wish", "valid"), WORLDS.values(), ids=WORLDS)
def test_check_mode_says_what_would_be_done_and_does_nothing(
    before: dict[str, Any], found: Seen, wish: dict[str, Any], valid: tuple[str, ...]
) -> None:
    whom = "new-agent" if found.new_agent else "ann"
    check = Ports(copy.deepcopy(before), found, valid, whom)
    predicted = run(check, check_mode=True, **wish)
    assert check.writes == []
    assert check.entry == before
    done = run(Ports(copy.deepcopy(before), found, valid, whom), **wish)
    assert (predicted.rotated, predicted.changed, predicted.reason) == (done.rotated, done.changed, done.reason)


def test_the_table_of_worlds_holds_both_outcomes() -> None:
    outcomes = [
        run(Ports(before, found, valid, "ann"), check_mode=True, **wish)
        for before, found, wish, valid in WORLDS.values()
    ]
    assert {(one.rotated, one.changed) for one in outcomes} == {(True, True), (False, True), (False, False)}


@pytest.mark.parametrize(
    ("name", "changed"),
    [("to deliver", True), ("nothing to deliver any more", False), ("to retire", True), ("proven", True)],
)
def test_what_is_outstanding_is_a_change(name: str, changed: bool) -> None:
    before, found, wish, valid = WORLDS[name]
    outcome = run(Ports(before, found, valid, "ann"), check_mode=True, **wish)
    assert (outcome.rotated, outcome.changed) == (False, changed)


@pytest.mark.parametrize(("valid", "verified"), [((), None), (("old",), True)])
def test_what_is_to_be_replaced_was_not_verified(valid: tuple[str, ...], verified: bool | None) -> None:
    ports = Ports(stored(None, label("old")), seen(), valid)
    assert run(ports, check_mode=True).verified is verified


def test_check_mode_does_not_try_what_is_disabled_until_the_real_run() -> None:
    ports = Ports(stored(None, label("old")), seen(untestable=True))
    assert run(ports, check_mode=True) == Outcome()
    assert ports.calls == ["read Sync", "look"]


# What is outstanding


@pytest.mark.parametrize("how", ["disable", "delete"])
def test_agents_are_retired_and_acknowledged_one_by_one(how: str) -> None:
    ports = Ports(stored(None, label("old"), **outstanding("zoe", "yan")), seen(), valid=("old",))
    outcome = run(ports, previous_agent=how)
    assert ports.writes == ["prepare", "retire zoe", "write", "retire yan", "write"]
    assert [one["agent_id"] for one in ports.written[0]["outstanding"]["retire"]] == ["yan"]
    assert ports.entry["outstanding"]["retire"] == []
    assert (outcome.previous_agent, outcome.changed, outcome.rotated) == ("disabled", True, False)


def test_a_guard_that_keeps_an_agent_is_a_warning_and_the_last_word() -> None:
    ports = Ports(stored(None, label("old"), **outstanding("zoe", "yan")), seen(), valid=("old",))
    ports.fail["retire zoe"] = Refused("it is a human one.")
    outcome = run(ports, previous_agent="disable")
    assert outcome.warnings == ["the previous agent zoe stays as it is: it is a human one."]
    assert (outcome.errors, outcome.previous_agent) == ([], "disabled")
    assert ports.entry["outstanding"]["retire"] == []


def test_an_agent_that_cannot_be_retired_stays_outstanding_and_the_others_are_done() -> None:
    ports = Ports(stored(None, label("old"), **outstanding("zoe", "yan")), seen(), valid=("old",))
    error = ports.fail["retire zoe"] = HaloError("it is still enabled.")
    outcome = run(ports, previous_agent="disable")
    assert outcome.errors == [error]
    assert [one["agent_id"] for one in ports.entry["outstanding"]["retire"]] == ["zoe"]
    assert "retire yan" in ports.calls


def test_what_the_user_keeps_by_now_is_kept() -> None:
    ports = Ports(stored(None, label("old"), **outstanding("zoe")), seen(), valid=("old",))
    outcome = run(ports, previous_agent="keep")
    assert ports.writes == ["prepare", "write"]
    assert ports.entry["outstanding"]["retire"] == []
    assert (outcome.previous_agent, outcome.warnings) == (None, [])


@pytest.mark.parametrize("current", [label("old"), label("old", agent_id="ben")])
def test_what_is_logged_in_as_is_not_retired(current: Any) -> None:
    """Also where someone has bound the application to it by hand, and the store names another agent."""
    ports = Ports(stored(None, current, **outstanding("ANN", "ben", "zoe")), seen(), valid=("old",))
    run(ports, previous_agent="delete")
    expected = ["retire zoe"] if current["agent_id"] == "ben" else ["retire ben", "retire zoe"]
    assert [call for call in ports.calls if call.startswith("retire")] == expected
    assert ports.entry["outstanding"]["retire"] == []


# What it opens

REFUSED = ("read tickets is refused, scope read:tickets is not granted",)


def switch(*refusals: tuple[str, ...]) -> Ports:
    return Ports(stored(None, label("old")), seen("agent_changed"), whom="ann", refusals=refusals)


def rights_of(ports: Ports) -> list[str]:
    return [call for call in ports.calls if call.partition(" ")[0] in ("rights", "retire")]


def test_what_a_new_secret_opens_is_asked_once_it_is_stored_and_before_an_agent_goes() -> None:
    ports = switch(())
    outcome = run(ports, rights=True, previous_agent="disable")
    secret = ports.entry["current"]["client_secret"]
    assert rights_of(ports) == [f"rights {secret}", "retire old"]
    assert ports.calls.index(f"rights {secret}") == len(ports.calls) - 3
    assert (outcome.errors, outcome.previous_agent) == ([], "disabled")


def test_what_is_refused_is_an_error_and_costs_neither_the_secret_nor_the_agent() -> None:
    ports = switch(REFUSED)
    outcome = run(ports, rights=True, previous_agent="disable", deliver=True)
    current = ports.entry["current"]
    assert current["client_secret"] == ports.sent[0]["client_secret"]
    assert ports.entry["pending"] is None
    assert ports.entry["outstanding"] == {
        "deliver": current["made_at"], "retire": [{"agent_id": "old", "made_at": current["made_at"]}],
    }  # fmt: skip
    (error,) = outcome.errors
    assert error.message == f"it logs in, and {REFUSED[0]}."
    assert "stored and in force" in str(error.hint)
    assert (outcome.rotated, outcome.verified, outcome.previous_agent) == (True, True, None)
    # what was just written may be late, and a token may have it in it: each time there is a new one
    assert rights_of(ports) == [f"rights {current['client_secret']}"] * TEST_ATTEMPTS
    assert ports.calls[-3:] == ["sleep", "test", f"rights {current['client_secret']}"]
    assert ports.slept == [TEST_PAUSE] * (TEST_ATTEMPTS - 1)
    again = Ports(ports.entry, seen(), valid=(current["client_secret"],))
    assert run(again, rights=True, previous_agent="disable").errors == []
    assert rights_of(again) == [f"rights {current['client_secret']}", "retire old"]


def test_what_is_allowed_a_moment_later_is_no_error() -> None:
    ports = switch(REFUSED, ())
    assert run(ports, rights=True, previous_agent="disable").errors == []
    assert rights_of(ports)[-1] == "retire old"
    assert ports.slept == [TEST_PAUSE]


@pytest.mark.parametrize(("changes", "attempts"), [(False, 1), (True, TEST_ATTEMPTS)])
def test_where_nothing_was_written_nothing_is_waited_for(changes: bool, attempts: int) -> None:
    ports = Ports(stored(None, label("old")), seen(changes=changes), valid=("old",), refusals=(REFUSED,))
    outcome = run(ports, rights=True)
    assert rights_of(ports) == ["rights old"] * attempts
    assert len(outcome.errors) == 1
    assert not outcome.changed


def test_what_cannot_be_asked_is_an_error_too() -> None:
    ports = switch(())
    error = ports.fail["rights"] = HaloError("GET /Tickets answered 500.")
    assert run(ports, rights=True, previous_agent="disable").errors == [error]
    assert "retire old" not in ports.calls
    assert ports.entry["current"]["client_secret"] == ports.sent[0]["client_secret"]


@pytest.mark.parametrize(("agents", "asked"), [((), []), (("zoe",), ["rights old", "retire zoe"])])
def test_without_verification_it_is_asked_only_before_an_agent_goes(agents: Any, asked: list[str]) -> None:
    ports = Ports(stored(None, label("old"), **outstanding(*agents)), seen(), valid=("old",))
    run(ports, rights=True, verify=False, previous_agent="disable")
    assert rights_of(ports) == asked


@pytest.mark.parametrize(
    ("before", "reason", "asked"),
    [
        (stored(None, label("old")), "none", ["rights old"]),
        (stored(label("new"), label("old")), "none", ["rights old"]),
        (stored(None, label("old")), "agent_changed", []),
    ],
    ids=["converged", "pending", "to be rotated"],
)
def test_check_mode_asks_with_what_logs_in(before: Any, reason: str, asked: list[str]) -> None:
    ports = Ports(before, seen(reason), valid=("old", "new"), refusals=(REFUSED,))
    outcome = run(ports, check_mode=True, rights=True)
    assert rights_of(ports) == asked
    assert (outcome.errors, ports.writes, ports.slept) == ([], [], [])


def test_nothing_is_asked_where_nothing_is_to_be_opened() -> None:
    ports = switch(REFUSED)
    run(ports, previous_agent="disable")
    assert rights_of(ports) == ["retire old"]


@pytest.mark.parametrize(("wish", "retire"), [("keep", []), ("disable", ["old"]), ("delete", ["old"])])
def test_the_agents_to_retire_are_noted_with_the_finish(wish: str, retire: list[str]) -> None:
    ports = Ports(stored(None, label("old")), seen("agent_changed"), whom="ann")
    ports.fail["retire"] = HaloError("no answer.")
    run(ports, previous_agent=wish)
    assert [one["agent_id"] for one in ports.entry["outstanding"]["retire"]] == retire


@pytest.mark.parametrize(("wish", "noted"), [(True, True), (False, False)])
def test_a_delivery_is_noted_where_there_are_tasks_for_it(wish: bool, noted: bool) -> None:
    ports = Ports(stored(None, label("old")), seen(), valid=("old",))
    run(ports, requested=True, deliver=wish)
    current = ports.entry["current"]
    assert ports.entry["outstanding"]["deliver"] == (current["made_at"] if noted else None)


@pytest.mark.parametrize(("made_at", "changed"), [("then", True), ("before then", False)])
def test_deliver(made_at: str, changed: bool) -> None:
    ports = Ports(stored(None, label("old"), **outstanding("zoe", deliver="then")))
    assert deliver(ports, NAME, made_at, check_mode=True) is changed
    assert ports.calls == ["read Sync"]
    assert deliver(ports, NAME, made_at) is changed
    assert ports.calls[1:] == ["hold", "read Sync", *(["write"] if changed else [])]
    assert ports.entry["outstanding"]["deliver"] == (None if changed else "then")
    assert len(ports.entry["outstanding"]["retire"]) == 1
    assert deliver(ports, NAME, made_at) is False


# Another name

OLD = "Tickets"


class Names(Ports):
    """The same, with a store that has several names: what ``kept`` says, each with its version."""

    def __init__(self, kept: dict[str, dict[str, Any]], **more: Any) -> None:
        super().__init__(**more)
        self.kept = {name: (now, 1) for name, now in kept.items()}

    def read(self, name: str) -> tuple[dict[str, Any], int]:
        self.call(f"read {name}")
        now, version = self.kept.get(name, (entry(None), 0))
        return copy.deepcopy(now), version

    def write(self, name: str, new: dict[str, Any], version: int) -> int:
        self.call(f"write {name}")
        if version != self.kept.get(name, (None, 0))[1]:
            raise StaleEntry("someone else wrote.")
        self.kept[name] = (copy.deepcopy(new), version + 1)
        return version + 1

    def others(self, names: Any) -> dict[str, dict[str, Any]]:
        self.call("others " + ",".join(sorted(names)))
        return {name: now for name, (now, _version) in self.kept.items() if name not in names}

    def work(self, **wish: Any) -> Work:
        return Work(Ledger.read(self, NAME, OLD), self, Wish(NAME, **wish), self)

    def secrets(self) -> dict[str, list[str | None]]:
        """Of each name, what is pending and current."""
        words = ("pending", "current")
        return {
            name: [now[one] and now[one]["client_secret"] for one in words] for name, (now, _v) in self.kept.items()
        }


FORCE = stored(None, label("old"))
LEFT = entry({"renamed_to": NAME})
GONE = stored(previous=label("dead"))


@pytest.mark.parametrize(
    ("kept", "moves", "secret"),
    [
        ({}, False, None),
        ({OLD: FORCE}, True, "old"),
        ({OLD: stored(label("new"), label("old"))}, True, "old"),
        ({OLD: FORCE, NAME: GONE}, True, "old"),
        # a killed run had written the new name, and not emptied the old one
        ({OLD: FORCE, NAME: {**FORCE, "binding": NAME}}, True, "old"),
        ({OLD: LEFT, NAME: FORCE}, False, "old"),
        ({OLD: LEFT, NAME: GONE}, False, None),
        ({OLD: GONE, NAME: FORCE}, False, "old"),
        ({OLD: GONE}, False, None),
        ({NAME: FORCE}, False, "old"),
    ],
)
def test_the_entry_of_the_old_name_is_the_new_ones(kept: dict[str, Any], moves: bool, secret: Any) -> None:
    ports = Names(kept)
    ledger = Ledger.read(ports, NAME, OLD)
    assert (ledger.old is not None, ledger.kept_as) == (moves, OLD if moves else NAME)
    assert (ledger.entry["current"] or {}).get("client_secret") == secret
    ledger.take_over()
    assert ports.writes == ([] if not moves else [f"write {NAME}", f"write {OLD}"])
    if moves:
        assert ports.kept[NAME][0] == {**kept[OLD], "binding": NAME}
        assert ports.kept[OLD][0] == LEFT
    # and that is all
    again = Ledger.read(ports, NAME, OLD)
    assert (again.old, again.kept_as, again.entry) == (None, NAME, ledger.entry)
    again.take_over()
    assert len(ports.writes) == 2 * moves


@pytest.mark.parametrize("own", [stored(None, label("own")), stored(label("own")), stored(label("new"), label("old"))])
def test_two_entries_in_service_are_two_bindings(own: dict[str, Any]) -> None:
    with pytest.raises(HaloError, match=f"'{NAME}' and of '{OLD}'") as raised:
        Ledger.read(Names({NAME: own, OLD: FORCE}), NAME, OLD)
    assert "Leave renamed_from out" in str(raised.value)


@pytest.mark.parametrize("name", [NAME, OLD])
def test_what_fails_half_way_is_taken_up_by_the_next_run(name: str) -> None:
    ports = Names({OLD: FORCE}, seen=seen(), valid=("old",))
    ports.fail[f"write {name}"] = HaloError("the disk is full.")
    with pytest.raises(HaloError, match="disk"):
        run_renamed(ports)
    assert "prepare" not in ports.calls
    assert [None, "old"] in ports.secrets().values()
    ports.fail.clear()
    assert run_renamed(ports) == Outcome(changed=True, verified=True)
    assert ports.secrets() == {NAME: [None, "old"], OLD: [None, None]}
    assert run_renamed(ports) == Outcome(verified=True)


def run_renamed(ports: Names, *, check_mode: bool = False, **wish: Any) -> Outcome:
    one = ports.work(**wish)
    one.consider()
    return one.carry_out(check_mode=check_mode)


def test_an_old_entry_that_someone_else_wrote_meanwhile_is_not_emptied() -> None:
    ports = Names({OLD: FORCE}, seen=seen(), valid=("old",))
    one = ports.work()
    one.consider()
    ports.kept[OLD] = (stored(None, label("newer")), 2)
    with pytest.raises(StaleEntry):
        one.carry_out(check_mode=False)
    assert ports.secrets()[OLD] == [None, "newer"]


def test_the_entry_is_moved_before_anything_is_asked_of_halo_and_after_all_was_looked_at() -> None:
    ports = Names({OLD: FORCE}, seen=seen("agent_changed"), whom="ann")
    outcome = run_renamed(ports)
    assert ports.calls[:7] == [
        f"read {NAME}",
        f"read {OLD}",
        "look",
        f"write {NAME}",
        f"write {OLD}",
        "prepare",
        f"write {NAME}",
    ]
    assert (outcome.rotated, outcome.reason) == (True, "agent_changed")
    ports = Names({OLD: FORCE}, seen=seen(), fail={"look": Refused("a guard says no.")})
    with pytest.raises(Refused):
        run_renamed(ports)
    assert ports.writes == []


@pytest.mark.parametrize(
    "old", [FORCE, stored(label("new", reason="expired"), label("old")), stored(label("new"), label("old"))]
)
def test_check_mode_foresees_what_the_moved_entry_leads_to(old: dict[str, Any]) -> None:
    check = Names({OLD: old}, seen=seen(), valid=("new", "old"))
    predicted = run_renamed(check, check_mode=True)
    assert check.writes == []
    assert predicted.changed
    assert run_renamed(Names({OLD: old}, seen=seen(), valid=("new", "old"))) == predicted


def test_what_the_old_name_has_on_its_way_is_waited_for() -> None:
    ports = Names({OLD: in_flight(10)})
    with alone(ports, [NAME], timeout=30, clock=ports, renamed={NAME: OLD}) as ledgers:
        assert isinstance(ledgers[NAME], Ledger)
    assert ports.slept == [20]


# What is not declared


def test_orphans() -> None:
    kept = {
        "Forgotten": FORCE,
        "begun": stored(label("new")),
        # declared, spelt otherwise
        " SYNC": FORCE,
        "Taken out": GONE,
        OLD: LEFT,
        MARKER: entry({"marker": "2026-06-01T10:00:00+00:00"}),
    }
    ports = Names(kept)
    assert orphans(ports, [NAME]) == ["Forgotten", "begun"]
    assert ports.calls == [f"others {MARKER},{NAME}"]


# The tenant


def in_flight(seconds: float, **more: Any) -> dict[str, Any]:
    made_at = (NOW - datetime.timedelta(seconds=seconds)).isoformat()
    return stored(label("new", **{"in_flight": True, "made_at": made_at, **more}))


@pytest.mark.parametrize(
    ("before", "slept"),
    [
        (in_flight(10), [20]),
        (in_flight(40), []),
        (in_flight(10, in_flight=False), []),
        (stored(), []),
    ],
)
def test_what_may_be_late_is_waited_for_under_the_lock(before: dict[str, Any], slept: list[float]) -> None:
    ports = Ports(before)
    with alone(ports, [NAME], timeout=30, clock=ports) as ledgers:
        assert ports.held
        assert isinstance(ledgers[NAME], Ledger)
    assert ports.calls == ["hold", "read Sync", *["sleep" for _unused in slept]]
    assert ports.slept == slept
    assert not ports.held


def test_check_mode_takes_no_lock_and_waits_for_nothing() -> None:
    ports = Ports(in_flight(10))
    with alone(ports, [NAME], timeout=30, clock=ports, check_mode=True):
        pass
    assert ports.calls == ["read Sync"]


def test_an_entry_that_cannot_be_read_is_its_own_error() -> None:
    ports = Ports(in_flight(10))
    error = ports.fail["read Other"] = HaloError("it is damaged.")
    with alone(ports, ["Other", NAME], timeout=30, clock=ports) as ledgers:
        assert ledgers["Other"] is error
        assert isinstance(ledgers[NAME], Ledger)
    assert ports.slept == [20]


def test_a_tenant_that_is_busy_is_left_alone() -> None:
    ports = Ports(fail={"hold": TenantBusy("someone else is at work.")})
    with pytest.raises(TenantBusy), alone(ports, [NAME], timeout=30, clock=ports):
        pass
    with pytest.raises(TenantBusy):
        deliver(ports, NAME, "then")
    assert ports.calls == ["hold", "hold"]


def test_a_ledger_writes_what_is_new_and_no_more() -> None:
    ports = Ports(stored())
    ledger = Ledger.read(ports, NAME)
    ledger.write(ledger.entry)
    assert ports.written == []
    ledger.write(stored(None, label("one")))
    ledger.write(stored(None, label("two")))
    assert ports.entry == stored(None, label("two"))
    ports.version += 1
    with pytest.raises(StaleEntry):
        ledger.write(stored())
    assert ledger.entry == stored(None, label("two"))
