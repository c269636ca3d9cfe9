# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations that end at any step, over and over, in a small model of Halo, the store and the role's order of steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ansible_collections.haloops.halo.plugins.module_utils.credential import CREDENTIAL, advance
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS, Decision, Facts, decide, entry
from hypothesis import given, settings
from hypothesis import strategies as st

AGENTS = ("ann", "ben", "cas")
# more than the longest run has
STEPS = 16


class Crash(Exception):
    """The run was killed."""


class Refused(Exception):
    """The run stopped by itself, with an error."""


@dataclasses.dataclass
class Application:
    agent: str
    secret: str | None = None


@dataclasses.dataclass
class World:
    """What outlives a run: Halo's application, the store, and what the user's tasks and Halo's agents got to feel."""

    application: Application | None = None
    store: dict[str, Any] = dataclasses.field(default_factory=lambda: entry(None))
    # every secret that was ever in force, in its order
    set: list[str] = dataclasses.field(default_factory=list)
    delivered: list[str] = dataclasses.field(default_factory=list)
    retired: list[str] = dataclasses.field(default_factory=list)
    # a POST whose sender was killed and that has yet to arrive
    late: tuple[str, str] | None = None

    @property
    def secrets(self) -> list[str]:
        return [self.store[name]["client_secret"] for name in LABELS if self.store[name]]

    @property
    def in_force(self) -> str | None:
        return self.application.secret if self.application else None

    def post(self, agent: str, secret: str) -> None:
        self.application = Application(agent, secret)
        if self.set[-1:] != [secret]:
            self.set.append(secret)

    def arrive(self) -> None:
        if self.late:
            self.post(*self.late)
            self.late = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One run, and what happens to it.

    :param crash: it is killed before this step (None: it is not)
    :param in_flight: where that step is the POST, it is sent all the same and arrives at this step of the next run
    :param tamper: what someone else does beforehand
    """

    agent: str = "ann"
    requested: bool = False
    old: bool = False
    verify: bool = True
    deliver: bool = True
    retire: bool = True
    crash: int | None = None
    in_flight: int | None = None
    tamper: str = ""


def step(world: World, name: str, **options: Any) -> None:
    """One step of halo_credential, with the options that are not given as a task would have them."""
    params = {option: spec.get("default") for option, spec in CREDENTIAL.options.items()}
    world.store = advance(world.store, {**params, **options, "step": name})


def look(world: World, run: Run) -> Decision:
    """What halo_binding does: gather the facts, decide."""
    application, pending, current = world.application, world.store["pending"], world.store["current"]
    halo = "created" if application is None else "agent_changed" if application.agent != run.agent else "none"

    def logs_in(label: dict[str, Any]) -> bool:
        return application is not None and application.secret == label["client_secret"]

    facts = Facts(
        halo=halo,
        has_pending=bool(pending),
        pending_valid=bool(pending) and logs_in(pending),
        pending_reason=str((pending or {}).get("reason") or "none"),
        has_current=bool(current),
        requested=run.requested,
        expired=run.old and bool(current),
    )
    decision = decide(facts, run.verify)
    if decision.test_current:
        valid = logs_in(current) and application is not None and application.agent == run.agent
        decision = decide(dataclasses.replace(facts, current_valid=valid), run.verify)
    return decision


def carry_out(world: World, run: Run, arrival: int | None = None) -> Decision:
    """One run of the role: the order of its tasks is that of tasks/todo.yml and tasks/rotate.yml."""
    if run.tamper == "the secret was replaced by hand":
        if world.application:
            world.application.secret = None
    elif run.tamper == "the application was deleted":
        world.application = None
    elif run.tamper == "the store was lost":
        world.store = entry(None)
    number = 0

    def tick() -> None:
        nonlocal number
        if number == arrival:
            world.arrive()
        if number == run.crash:
            raise Crash
        number += 1

    tick()
    decision = look(world, run)
    owed = world.store["owed"]
    if not (decision.promote or decision.rotate or owed["deliver"] or owed["retire"]):
        return decision
    was = world.application.agent if world.application and world.application.agent != run.agent else None
    if decision.promote and world.store["current"]:
        was = was or world.store["current"]["agent_name"]
    owes = {"deliver": run.deliver, "retire": was if run.retire and was != run.agent else None}
    if decision.promote:
        tick()
        step(world, "finish", application_id="1", client_id="c", **owes)
    if decision.rotate:
        tick()
        # the ids of an application that is yet to be made are not known
        step(world, "begin", reason=decision.reason, agent_name=run.agent)
        pending = world.store["pending"]
        if number == run.crash and run.in_flight is not None:
            world.late = (run.agent, pending["client_secret"])
        tick()
        world.post(run.agent, pending["client_secret"])
        tick()
        step(world, "amend", application_id="1", client_id="c")
        tick()
        assert world.application
        if (world.application.secret, world.application.agent) != (pending["client_secret"], run.agent):
            raise Refused
        tick()
        step(world, "finish", **owes)
    if world.store["owed"]["deliver"]:
        tick()
        world.delivered.append(world.store["current"]["client_secret"])
    if world.store["owed"]["retire"]:
        tick()
        world.retired.append(world.store["owed"]["retire"])
    tick()
    step(world, "settle", done=["deliver", "retire"])
    return decision


def go(world: World, runs: list[Run]) -> Iterator[Run]:
    """Carry out the runs one after another; the request of one that was killed may arrive during the next."""
    arrival = None
    for run in runs:
        try:
            carry_out(world, run, arrival)
        except (Crash, Refused):
            pass
        finally:
            if arrival is not None:
                world.arrive()
        arrival = run.in_flight if world.late else None
        yield run
    world.arrive()


def runs(**fixed: Any) -> Any:
    free: dict[str, Any] = {
        "agent": st.sampled_from(AGENTS),
        "requested": st.booleans(),
        "old": st.booleans(),
        "verify": st.booleans(),
        "deliver": st.booleans(),
        "retire": st.booleans(),
        "crash": st.none() | st.integers(0, STEPS),
        "in_flight": st.none() | st.integers(0, STEPS),
        "tamper": st.sampled_from(["", "", "", "the secret was replaced by hand", "the application was deleted"]),
    }
    return st.builds(Run, **{**free, **{name: st.just(value) for name, value in fixed.items()}})


@settings(max_examples=250, deadline=None)
@given(st.lists(runs(), max_size=6), st.sampled_from(AGENTS))
def test_a_secret_in_force_is_in_the_store_and_runs_heal_what_crashes_left(sequence: list[Run], agent: str) -> None:
    world = World()
    for _unused in go(world, sequence):
        assert world.in_force is None or world.in_force in world.secrets
    assert world.in_force is None or world.in_force in world.secrets
    carry_out(world, Run(agent))
    assert world.application == Application(agent, world.store["current"]["client_secret"])
    assert (world.store["current"]["application_id"], world.store["current"]["client_id"]) == ("1", "c")
    assert not world.store["pending"]
    assert world.store["owed"] == {"deliver": False, "retire": None}
    before = dataclasses.astuple(world)
    assert carry_out(world, Run(agent)) == Decision()
    assert dataclasses.astuple(world) == before


@settings(max_examples=150, deadline=None)
@given(st.lists(runs(), max_size=3), st.sampled_from(AGENTS))
def test_a_store_that_was_lost_is_filled_again(sequence: list[Run], agent: str) -> None:
    world = World()
    list(go(world, sequence))
    carry_out(world, Run(agent, tamper="the store was lost"))
    assert world.in_force is not None
    assert world.secrets == [world.in_force]
    assert carry_out(world, Run(agent)) == Decision()


CAUSES = {
    "created": ({}, False),
    "agent_changed": ({"agent": "ben"}, True),
    "requested": ({"requested": True}, True),
    "expired": ({"old": True}, True),
    "invalid": ({"tamper": "the secret was replaced by hand"}, True),
    "missing": ({"tamper": "the store was lost"}, True),
}


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(CAUSES)), st.lists(st.integers(0, STEPS), min_size=1, max_size=4))
def test_nothing_is_rotated_twice_for_one_cause(cause: str, crashes: list[int]) -> None:
    change, provisioned = CAUSES[cause]
    world = World()
    if provisioned:
        carry_out(world, Run())
    before = len(world.set)
    agent = change.get("agent", "ann")
    sequence = [Run(**{"agent": agent, **change}, crash=crashes[0])]
    sequence += [Run(agent=agent, crash=crash) for crash in crashes[1:]]
    list(go(world, sequence))
    # one that was asked for and killed before it was noted is not known to later runs
    asked = world.store["pending"] or len(world.set) > before
    if cause in ("requested", "expired") and not asked:
        assert carry_out(world, Run(agent)) == Decision()
        assert len(world.set) == before
        return
    carry_out(world, Run(agent))
    assert len(world.set) == before + 1
    assert world.in_force == world.store["current"]["client_secret"]
    assert world.delivered[-1:] == [world.in_force]
    assert carry_out(world, Run(agent)) == Decision()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, STEPS), max_size=3), st.integers(0, STEPS))
def test_the_previous_agent_is_retired_once_its_successor_is_proven(crashes: list[int], last: int) -> None:
    world = World()
    carry_out(world, Run("ann"))
    for crash in [*crashes, last]:
        list(go(world, [Run("ben", crash=crash)]))
        if world.retired:
            assert world.store["current"]["agent_name"] == "ben"
    carry_out(world, Run("ben"))
    assert set(world.retired) == {"ann"}
