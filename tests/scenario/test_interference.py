# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Someone else changes an agent or an application, between any two requests of a run.

``--interference all`` tries each change before each request of each job; by default a sample.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import client, http, rotation, run
from ansible_collections.haloops.halo.plugins.module_utils.auth import Connection
from ansible_collections.haloops.halo.plugins.module_utils.http import Transport
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS
from halo_sandbox.testing import Sandbox
from role_runner import NAME, REAL, ROTATE, Fleet, Go, Outcome, Tenant

SEED = 20261125
SAMPLE = 24
AGENT, SUCCESSOR, THEIRS = "api-ansible", "api-successor", "Theirs"
THEIR_SECRET = "theirs/of+someone else"
Row = dict[str, Any]


# What someone else does; False where there is nothing to do it to


def _agent(which: str, **values: Any) -> Callable[[Tenant], bool]:
    def change(tenant: Tenant) -> bool:
        found = tenant.agents(which)
        for row in found:
            tenant.sandbox.put_agents(tenant.name, {"id": row["id"], **values})
        return bool(found)

    return change


def _no_agent(name: str) -> Callable[[Tenant], bool]:
    def delete(tenant: Tenant) -> bool:
        found = tenant.agents(name)
        for row in found:
            tenant.delete(f"Agent/{row['id']}")
        return bool(found)

    return delete


def _application(**values: Any) -> Callable[[Tenant], bool]:
    def change(tenant: Tenant) -> bool:
        found = tenant.applications(NAME)
        for row in found:
            tenant.sandbox.put_applications(tenant.name, {"id": row["id"], **values})
        return bool(found)

    return change


def _no_application(tenant: Tenant) -> bool:
    found = tenant.applications(NAME)
    for row in found:
        tenant.delete(f"Application/{row['id']}")
    return bool(found)


def _new_secret(tenant: Tenant) -> bool:
    tenant.known.add(THEIR_SECRET)
    return _application(clientSecret=THEIR_SECRET)(tenant)


CHANGES: dict[str, Callable[[Tenant], bool]] = {
    "the agent is renamed": _agent(AGENT, name=THEIRS),
    "the agent is disabled": _agent(AGENT, isdisabled=True),
    "the agent is deleted": _no_agent(AGENT),
    "the agent to switch to is renamed": _agent(SUCCESSOR, name=THEIRS),
    "the agent to switch to is disabled": _agent(SUCCESSOR, isdisabled=True),
    "the agent to switch to is deleted": _no_agent(SUCCESSOR),
    "the application is renamed": _application(displayName=THEIRS),
    "the application is disabled": _application(inactive=True),
    "the application is deleted": _no_application,
    "the application is bound to another agent": _application(loginas_agent_id=4),
    "the application gets another secret": _new_secret,
}


# Jobs


def _bound(tenant: Tenant, **more: Any) -> None:
    tenant.bind(AGENT, **more)
    outcome = tenant.fleet.run(tenant)
    assert not outcome.failed, outcome.message


def _to_another(tenant: Tenant) -> None:
    _bound(tenant, previous_agent="disable")
    tenant.put_agent(SUCCESSOR)
    tenant.bind(SUCCESSOR)


JOBS: dict[str, tuple[Callable[[Tenant], object], Go]] = {
    "first provisioning": (lambda tenant: tenant.bind(AGENT), REAL),
    "switch to another agent": (_to_another, REAL),
    "new secret": (_bound, ROTATE),
    "converged": (_bound, REAL),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A change before the n-th request of a job, from 0."""

    job: str
    number: int
    change: str

    def __str__(self) -> str:
        return f"{self.job}, request {self.number}: {self.change}"


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    tenants = 1500 if request.config.getoption("interference") == "all" else 150
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=tenants) as sandbox:
        yield Fleet(sandbox, Path(folder))


@pytest.fixture(autouse=True)
def _scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits on a small scale."""
    real = Connection.from_params.__func__  # type: ignore[attr-defined]

    def from_params(cls: type[Connection], params: Any) -> Connection:
        made: Connection = real(cls, params)
        return dataclasses.replace(made, timeout=2.0, retry_seconds=0.2)

    monkeypatch.setattr(Connection, "from_params", classmethod(from_params))
    for module in (client, run):
        monkeypatch.setattr(module, "SETTLE", (0.01, 0.02, 0.04))
    monkeypatch.setattr(rotation, "TEST_PAUSE", 0.01)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.05)


def interfered(tenant: Tenant, go: Go, number: int, change: Callable[[], object]) -> Outcome:
    """A run before whose n-th request ``change`` is called."""
    send, count = Transport.send, 0

    def sent(transport: Any, *where: Any, **what: Any) -> Any:
        nonlocal count
        if count == number:
            change()
        count += 1
        return send(transport, *where, **what)

    with mock.patch.object(Transport, "send", sent):
        return tenant.fleet.run(tenant, go)


def prepared(fleet: Fleet, job: str) -> Tenant:
    tenant = fleet.tenant()
    JOBS[job][0](tenant)
    return tenant


def bystanders(tenant: Tenant) -> list[Row]:
    """What the inventory says nothing of: all agents and applications of other names."""
    ours = {AGENT, SUCCESSOR, NAME}
    state = tenant.state
    agents = [row for row in state["agents"] if row["name"] not in ours]
    applications = [row for row in state["applications"] if row["displayName"] not in ours]
    # when an application logged in is its own
    moving = ("last_modified", "concurrencyToken", "lastlogin", "last_used")
    return [{key: value for key, value in row.items() if key not in moving} for row in (*agents, *applications)]


def holds(tenant: Tenant, cell: Cell) -> None:
    """Nothing is there twice, and the secret in force is stored unless someone else made it."""
    state = tenant.state
    for names in ([row["name"] for row in state["agents"]], [row["displayName"] for row in state["applications"]]):
        twice = [name for name, number in Counter(names).items() if number > 1 and name in (AGENT, SUCCESSOR, NAME)]
        assert not twice, f"{cell}: {twice} is there twice"
    entry = tenant.stored.get(NAME)
    secrets = [entry[label]["client_secret"] for label in LABELS if entry[label]] if entry else []
    for row in state["applications"]:
        if row["displayName"] != NAME or not row["secret_set"] or row["inactive"]:
            continue
        login = next((agent for agent in state["agents"] if agent["id"] == row["loginas_agent_id"]), None)
        if login and not login["isdisabled"]:
            known = any(tenant.logs_in(row["clientId"], secret) for secret in [*secrets, THEIR_SECRET])
            assert known, f"{cell}: a secret is lost"


def attempt(fleet: Fleet, cell: Cell) -> str | None:
    """What became of it: how the run that was interfered with ended, and how the next one did; None where nothing
    could be changed."""
    tenant, go = prepared(fleet, cell.job), JOBS[cell.job][1]
    done: list[bool] = []
    theirs: list[list[Row]] = []

    def change() -> None:
        done.append(CHANGES[cell.change](tenant))
        theirs.append(bystanders(tenant))

    outcome = interfered(tenant, go, cell.number, change)
    if not any(done):
        return None
    ends = [said(tenant, cell, outcome)]
    holds(tenant, cell)
    left = untouched(tenant, cell, theirs[0], outcome)
    # the same again, without anybody's interference
    outcome = fleet.run(tenant, REAL)
    ends.append(said(tenant, cell, outcome))
    holds(tenant, cell)
    untouched(tenant, cell, left, outcome)
    if outcome.failed:
        assert not outcome.writes, f"{cell}: it refuses, and changes something: {outcome.writes}"
    else:
        assert tenant.proven(), str(cell)
        outcome = fleet.run(tenant, REAL)
        assert outcome.quiet, f"{cell}: {outcome.message} {outcome.writes} {outcome.warnings}"
    return ", then ".join(ends)


def untouched(tenant: Tenant, cell: Cell, before: list[Row], outcome: Outcome) -> list[Row]:
    """What is theirs after a run, which has left it alone, or says what it did: to the application or the agent that
    it knows by its id, or had looked up before the change, and to the agent before."""
    after = {row["id"]: row for row in bystanders(tenant)}
    binding = (outcome.result.get("bindings") or {}).get(NAME) or {}
    drift = " ".join(binding.get("drift") or [])
    for row in before:
        now = after.get(row["id"])
        if now is None:
            assert f"name: {THEIRS} instead of " in drift, f"{cell}: {row['id']} is gone; {binding}"
            continue
        changed = {key for key, value in row.items() if now.get(key) != value}
        if (binding.get("previous_agent_id"), binding.get("previous_agent")) == (row["id"], "disabled"):
            changed -= {"isdisabled"}
        if binding.get("agent_id") == row["id"] and "roles: " in drift:
            changed -= {"roles", "role_list", "is_admin"}
        if binding.get("application_id") == row["id"] and "login agent: " in drift:
            changed -= {"loginas_agent_id", "loginas_agent_name"}
        assert not changed, f"{cell}: {changed} of {row['id']} is not said; {outcome.message} {binding}"
    return list(after.values())


def said(tenant: Tenant, cell: Cell, outcome: Outcome) -> str:
    """How a run ended; what it did is said."""
    if outcome.failed:
        assert tenant.url in outcome.message, (str(cell), outcome.message)
        return "stops"
    assert outcome.changed or not outcome.writes, f"{cell}: it does not say that it changed something"
    return "goes on"


def test_whatever_someone_else_does_meanwhile(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    which = request.config.getoption("interference")
    every = []
    for job, (_prepare, go) in JOBS.items():
        tenant = prepared(fleet, job)
        since = len(fleet.sandbox.requests(tenant.name))
        assert not fleet.run(tenant, go).failed
        count = len(fleet.sandbox.requests(tenant.name)) - since
        every += [Cell(job, number, change) for number in range(1, count) for change in CHANGES]
    sample = [cell for cell in every if which in str(cell)] if which not in ("all", "short") else every
    if which == "short":
        random.Random(SEED).shuffle(sample)
        sample = sample[:SAMPLE]
    assert sample, f"none of the {len(every)} is called {which}"
    ends: Counter[str] = Counter()
    wrong = []
    for cell in sample:
        try:
            ends[attempt(fleet, cell) or "nothing to change yet"] += 1
        except AssertionError as error:
            wrong.append(f"{cell}\n    {str(error)[:700]}")
    # shown with -s
    print(f"\n{len(sample)} of {len(every)}: {dict(ends)}")
    assert not wrong, f"{len(wrong)} of {len(sample)}:\n" + "\n".join(wrong)
    assert sum(ends.values()) - ends["nothing to change yet"] >= len(sample) // 3
