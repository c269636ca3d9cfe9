# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations that go wrong at every call, in every way and over and over; and proof that the simulation would notice.

A failing test names its schedule as ``replay("...")``, which plays it again and prints the calls::

    PYTHONPATH=tests .venv/bin/python -c 'from helpers.simulation import replay; replay("...")'
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import lifecycle, rotation, trail
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.rotation import Work
from helpers.simulation import CASES, Explored, Violation, explore, interleave, replay

SEED = 20260630
# for each run: after how many calls a request that is late may arrive; a run that is well makes some 12 calls
THREE_RUNS = ((1, 2, 3, 6), (2, 5), (3,))
TWO_RUNS = THREE_RUNS[:2]
# a new name has little to do with what is varied last: one case stands for them all
ONE_NAME = [name for name in CASES if not name.startswith("renamed") or name == "renamed_created_new"]
# nothing looks whether the current secret is in force
UNVERIFIED = [name for name in ONE_NAME if name not in ("invalid", "to_retire")]
NOTED = ["created_new", "switch", "proven", "invalid", "left_in_force_switch", "to_retire", "rollback_switch"]
RIGHTS = ["switch", "left_in_force", "to_retire"]
SLOW = ["created_new", "switch", "switch_new", "chain_new", "back_new"]

# flags, cases, runs, and whether a run may meet with two faults
PLAN: dict[str, tuple[str, list[str], tuple[tuple[int, ...], ...], bool]] = {
    "three runs": ("+delete+deliver", list(CASES), THREE_RUNS, False),
    "two faults in a run": ("", list(CASES), TWO_RUNS, True),
    "Halo makes its own secrets": ("+own_secret+disable", ONE_NAME, TWO_RUNS, False),
    "Halo makes client IDs": ("+own_id+disable", ["created", "created_new", "renamed_created_new"], THREE_RUNS, True),
    "Halo is slow": ("+slow+disable", SLOW, THREE_RUNS, False),
    "a guard keeps the agents": ("+human+disable", ONE_NAME, TWO_RUNS, False),
    "without verification": ("+noverify+disable", UNVERIFIED, TWO_RUNS, False),
    "a trail is kept": ("+trail+disable", NOTED, TWO_RUNS, False),
    "something is refused": ("+rights+disable+deliver", RIGHTS, TWO_RUNS, False),
    "something is refused, and nothing is verified": ("+rights+noverify+disable", ["left_in_force"], TWO_RUNS, False),
    "a trail is kept that fails twice": ("+trail", ["rollback"], TWO_RUNS, True),
}
TOTAL = Explored()


@pytest.mark.parametrize(("flags", "cases", "runs", "double"), PLAN.values(), ids=PLAN)
def test_every_schedule(flags: str, cases: list[str], runs: Any, double: bool) -> None:
    for name in cases:
        TOTAL.add(explore(name + flags, runs, double=double))


def test_there_were_enough_of_them(request: pytest.FixtureRequest) -> None:
    chosen = [item for item in request.session.items if getattr(item, "originalname", "") == "test_every_schedule"]
    if len(chosen) < len(PLAN):
        pytest.skip("only a part of them was asked for")
    print(TOTAL)
    assert TOTAL.played >= 100_000
    assert TOTAL.covered >= 1_000_000


def faults(dice: random.Random, kinds: tuple[str, ...]) -> str:
    """Up to two faults, or none."""
    calls = sorted(dice.sample(range(1, 18), dice.choice((0, 1, 1, 1, 2))))
    chosen = [(call, dice.choice(kinds)) for call in calls]
    late = {"late": f"@{dice.randint(1, 12)}", "late_kill": f"@{dice.randint(1, 12)}"}
    return ",".join(f"{call}:{kind}{late.get(kind, '')}" for call, kind in chosen) or "-"


def test_longer_ones_by_chance(capsys: pytest.CaptureFixture[str]) -> None:
    """From the beginning to the end each, up to six runs: none is taken for another one here."""
    dice = random.Random(SEED)
    kinds = ("kill", "kill", "error", "lost", "lost", "refused", "broken", "deny", "late", "late_kill")
    flags = ("", "+disable", "+delete+deliver", "+own_id+deliver", "+own_secret+disable+deliver", "+slow+disable")
    flags += ("+trail+disable",)
    for _unused in range(3000):
        line = dice.choice(list(CASES)) + dice.choice(flags)
        # a secret of Halo's own is lost for good by more than one fault
        line = "; ".join([line, *(faults(dice, kinds) for _unused in range(dice.randint(3, 6)))])
        try:
            replay(line)
        except Violation as violation:
            pytest.fail(f'{violation}: replay("{line}")')
        capsys.readouterr()


# Two runs at once

LOCKED = ("created_new", "switch", "switch_new", "requested_again", "missing", "chain", "back", "left_in_force_switch")
LOCKED += ("rollback", "rollback_requested", "renamed")
# without the lock two runs may make one thing each; a store that refuses stale writes still loses no secret
UNLOCKED = ("switch", "requested_again", "expired", "missing", "invalid", "login_type", "left_in_force", "left_unsent")
UNLOCKED += ("rollback", "rollback_again", "renamed")


@pytest.mark.parametrize(("cases", "lock"), [(LOCKED, ""), (UNLOCKED, " unlocked")], ids=["locked", "unlocked"])
def test_two_runs_at_once(cases: tuple[str, ...], lock: str) -> None:
    """One stops before any of its calls, the other goes on for any number of calls, and back."""
    results = set()
    for name, one, other in itertools.product(cases, range(18), range(18)):
        pair = interleave(f"{name}+disable+deliver; - / -; {one} {other}{lock}")
        results.add((pair[0].result, pair[1].result))
    assert ("busy" in {result for pair in results for result in pair}) is not bool(lock)
    assert ("ok", "ok") in results


def test_two_runs_at_once_and_one_is_killed() -> None:
    for name, one, other in itertools.product(("switch_new", "requested_again", "back"), range(8, 18), range(2, 18)):
        interleave(f"{name}+disable+deliver; - / {other}:kill; {one} 99")


@pytest.mark.parametrize(("cases", "lock"), [(LOCKED, ""), (UNLOCKED, " unlocked")], ids=["locked", "unlocked"])
def test_two_runs_at_once_by_chance(cases: tuple[str, ...], lock: str) -> None:
    for line in at_once(cases, lock, 1500):
        interleave(line)


def at_once(cases: tuple[str, ...], lock: str, number: int) -> Iterator[str]:
    """Two runs that take turns several times, each of which may be killed or meet with an error."""
    dice = random.Random(SEED)
    for _unused in range(number):
        turns = " ".join(str(dice.randint(1, 9)) for _unused in range(dice.randint(2, 6)))
        pair = " / ".join(faults(dice, ("kill", "error")) for _unused in range(2))
        yield f"{dice.choice(cases)}+disable+deliver; {pair}; {turns}{lock}"


# What it would notice

Change = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Change] = {}


def mutant(function: Change) -> Change:
    MUTANTS[function.__name__.replace("_", " ")] = function
    return function


@mutant
def current_is_overwritten_by_pending(patch: pytest.MonkeyPatch) -> None:
    def create(now: Any, label: Any) -> Any:
        made = lifecycle.create(now, label)
        return {**made, "current": made["pending"]}

    patch.setattr(rotation, "create", create)


@mutant
def it_is_finished_before_the_test(patch: pytest.MonkeyPatch) -> None:
    real = Work._test

    def test(self: Any, reason: str) -> None:
        now = self.ledger.entry
        self._finish()
        self.ledger.entry = now
        real(self, reason)
        self.ledger.entry = lifecycle.finish(now)

    patch.setattr(Work, "_test", test)


@mutant
def it_is_not_tested(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Work, "_test", lambda self, reason: None)


@mutant
def an_agent_is_retired_before_its_successor_is_proven(patch: pytest.MonkeyPatch) -> None:
    real = Work._test

    def test(self: Any, reason: str) -> None:
        for agent_id in self.ledger.entry["pending"]["replaces"] or []:
            self.halo.retire(agent_id)
        real(self, reason)

    patch.setattr(Work, "_test", test)


@mutant
def an_acknowledgement_does_not_look_at_made_at(patch: pytest.MonkeyPatch) -> None:
    def acknowledge(now: Any, *, delivered: Any = None, retired: Any = None) -> Any:
        return lifecycle.acknowledge(now, delivered=delivered and now["outstanding"]["deliver"], retired=retired)

    patch.setattr(rotation, "acknowledge", acknowledge)


@mutant
def the_lock_is_left_out(patch: pytest.MonkeyPatch) -> None:
    real = rotation.alone

    def alone(store: Any, names: Any, **how: Any) -> Any:
        patch.setattr(store, "hold", contextlib.nullcontext)
        return real(store, names, **how)

    patch.setattr(rotation, "alone", alone)


@mutant
def a_late_request_is_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rotation, "late_seconds", lambda label, timeout, now: 0.0)


@mutant
def the_time_counts_from_before_the_agent_was_made(patch: pytest.MonkeyPatch) -> None:
    real = Work._now
    patch.setattr(Work, "_now", lambda self: vars(self).setdefault("first", real(self)))


@mutant
def a_request_of_unknown_fate_is_taken_for_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rotation, "AmbiguousWrite", type("Never", (HaloError,), {}))


@mutant
def the_pending_secret_is_not_sent_again(patch: pytest.MonkeyPatch) -> None:
    real = Work._create

    def create(self: Any, reason: str) -> None:
        if self.ledger.entry["pending"]:
            self.ledger.entry["pending"]["client_secret"] = None
        real(self, reason)

    patch.setattr(Work, "_create", create)


@mutant
def the_agents_to_retire_are_overwritten(patch: pytest.MonkeyPatch) -> None:
    def finish(now: Any, **how: Any) -> Any:
        return lifecycle.finish({**now, "outstanding": {**now["outstanding"], "retire": []}}, **how)

    patch.setattr(rotation, "finish", finish)


@mutant
def the_agents_that_a_first_attempt_replaced_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    def create(now: Any, label: Any) -> Any:
        return lifecycle.create(now, {**label, "replaces": (label["replaces"] or [])[-1:]})

    patch.setattr(rotation, "create", create)


@mutant
def a_pending_secret_in_force_is_not_promoted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Work, "_promote", lambda self: None)


@mutant
def the_agent_of_a_pending_secret_is_believed(patch: pytest.MonkeyPatch) -> None:
    def promote(self: Any) -> None:
        agent_id = self.ledger.entry["pending"]["agent_id"] or self.seen.agent_id
        self._note({"agent_id": agent_id, "application_id": self.seen.application_id}, durable=False)
        self._finish()

    patch.setattr(Work, "_promote", promote)


@mutant
def a_secret_of_halos_own_is_stored_with_the_finish(patch: pytest.MonkeyPatch) -> None:
    real = Work._note
    patch.setattr(Work, "_note", lambda self, answered, durable=True: real(self, answered, durable=False))


@mutant
def an_agent_that_is_logged_in_as_again_is_retired(patch: pytest.MonkeyPatch) -> None:
    def finish(now: Any, **how: Any) -> Any:
        done = lifecycle.finish(now, **how)
        kept = [item for item in now["outstanding"]["retire"] if item not in done["outstanding"]["retire"]]
        retire = [*kept, *done["outstanding"]["retire"]]
        return {**done, "outstanding": {**done["outstanding"], "retire": retire}}

    patch.setattr(rotation, "finish", finish)
    patch.setattr(rotation, "fold", lambda value: object())


@mutant
def what_is_refused_is_taken_for_granted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Work, "_is_refused", lambda self: False)


@mutant
def what_it_opens_is_asked_before_the_finish(patch: pytest.MonkeyPatch) -> None:
    real = Work._test

    def test(self: Any, reason: str) -> None:
        real(self, reason)
        if self.wish.rights:
            self.halo.rights(self.ledger.entry["pending"])

    patch.setattr(Work, "_test", test)


@mutant
def what_is_done_stays_outstanding(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rotation, "acknowledge", lambda now, **done: now)


@mutant
def a_rollback_makes_a_new_secret(patch: pytest.MonkeyPatch) -> None:
    real = Work._secret
    patch.setattr(Work, "_secret", lambda self, reason, begun: real(self, "requested", begun))


@mutant
def an_old_secret_answers_who_asks_for_a_new_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Work, "_is_pending_an_old_one", lambda self: False)


@mutant
def a_trail_that_fails_ends_the_run(patch: pytest.MonkeyPatch) -> None:
    def note(self: Any, action: Any, cause: Any, about: Any, outcome: Any) -> None:
        self.trail.note(trail.Step(self.binding, action, cause, *about, outcome))

    patch.setattr(trail.Notes, "_note", note)


@mutant
def a_trail_is_looked_at_when_it_is_written(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Work, "_is_change_ahead", lambda self: False)


@mutant
def the_old_entry_is_emptied_first(patch: pytest.MonkeyPatch) -> None:
    def take_over(self: Any) -> None:
        if self.old:
            self.old.write(lifecycle.rename(self.old.entry, self.name)[1])
            self.old = None
            self.version = self.store.write(self.name, self.entry, self.version)

    patch.setattr(rotation.Ledger, "take_over", take_over)


@mutant
def the_old_entry_is_left_as_it_is(patch: pytest.MonkeyPatch) -> None:
    def take_over(self: Any) -> None:
        if self.old:
            self.version = self.store.write(self.name, self.entry, self.version)
            self.old = None

    patch.setattr(rotation.Ledger, "take_over", take_over)


@mutant
def half_a_renaming_is_taken_for_two_bindings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rotation, "is_copy", lambda one, other: False)


def budget() -> None:
    """A small part of the schedules."""
    explore("switch+rights+disable", ((2,), (3,)), double=False)
    for head in ("created_new+slow", "switch_new+slow+disable", "requested_again+deliver", "requested+own_secret"):
        explore(head, ((2, 6),), double=False)
    for head in ("renamed+deliver", "renamed_created_new"):
        explore(head, ((2,), (2,)), double=False)
    for head in ("chain+disable+deliver", "back+disable", "there_and_back+disable"):
        explore(head, ((2, 6), (3,)), double=head.startswith("there"))
    for one, other in itertools.product(range(9, 15), range(8, 13)):
        interleave(f"requested_again+deliver; - / {other}:kill; {one} 99")
    for line in at_once(("created_new", "requested_again"), "", 100):
        interleave(line)
    for head in ("rollback_requested", "rollback+trail", "to_retire+trail+disable"):
        explore(head, ((2, 6), (3,)), double=False)


def test_the_budget_holds_no_violation() -> None:
    budget()


@pytest.mark.parametrize("change", MUTANTS.values(), ids=MUTANTS)
def test_the_simulation_finds(
    change: Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(monkeypatch)
    with pytest.raises(Violation) as found:
        budget()
    # the line in the message leads to the same place
    said = re.fullmatch(r'(.+): replay\("(.+)"\)', str(found.value))
    assert said
    with pytest.raises(Violation) as again:
        replay(said[2])
    assert str(again.value).startswith(said[1])
    assert "run 1: 1:" in capsys.readouterr().out
