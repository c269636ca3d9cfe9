# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed, cut off, or not alone: the secret in force is always in the store, and the next run heals it.

``--kills N`` says how many runs are killed; from 200 on they are killed at every task of every kind of rotation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import random
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS
from halo_sandbox.testing import Sandbox
from role_runner import Fleet, Go, Outcome, Tenant

NAME = "Ansible integration"
INTEGRATOR = "Halo Integrator"
BATCH = 20
EVERYTHING = 200
RANDOM = 30
POSTS = r"^/api/(application|control)"
GO = Go(vault=True, arguments=())


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of rotation: what is there before (None: nothing), and what is asked for then."""

    before: Callable[[Tenant], object] | None
    change: Callable[[Tenant], object]


def _vaulted(tenant: Tenant) -> None:
    tenant.more["halo_integration_store"] = "vault_file"
    tenant.bind(on_rotated="tasks/deliver.yml")


def _first(tenant: Tenant) -> None:
    tenant.bind(on_rotated="tasks/deliver.yml", previous_agent="delete")


def _own(tenant: Tenant) -> None:
    tenant.more["halo_integration_store"] = "own_store"
    _first(tenant)


def _shared(tenant: Tenant) -> None:
    tenant.bind()
    tenant.bind(name="Another")


def _integrator(tenant: Tenant) -> None:
    tenant.sandbox.settings(tenant.name, hosted_integrator=True)
    tenant.bind(name=INTEGRATOR, kind="integrator", allow_hosted=True)


KINDS = {
    "create": Kind(None, _vaulted),
    "switch": Kind(_first, lambda tenant: tenant.bind("api-successor")),
    "asked": Kind(_vaulted, lambda tenant: tenant.more.update(halo_integration_rotate=True)),
    "integrator": Kind(_integrator, lambda tenant: tenant.bind("api-successor", INTEGRATOR)),
    "own store": Kind(_own, lambda tenant: tenant.bind("api-successor")),
    "shared": Kind(None, _shared),
}


@dataclasses.dataclass(frozen=True)
class Kill:
    """When a run of a kind is killed.

    :param task: at the start of this task, counted from the role's first
    :param after: and so many seconds
    :param flight: while Halo is at work on the POST with the new secret: before or after it is carried out
    """

    kind: str
    task: int = 0
    after: float = 0.0
    flight: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: " + (self.flight or f"task {self.task} + {self.after:.3f} s")


@pytest.fixture(scope="module")
def fleets() -> Iterator[Callable[[int], Fleet]]:
    """Makes fleets of as many tenants, each with a sandbox of its own."""
    opened: list[Any] = []

    def fleet(tenants: int) -> Fleet:
        folder = tempfile.TemporaryDirectory(prefix="halo-")
        sandbox = Sandbox(tenants=tenants)
        opened.extend((folder, sandbox))
        folder.__enter__()
        return Fleet(sandbox.__enter__(), Path(folder.name))

    yield fleet
    for one in reversed(opened):
        one.__exit__(None, None, None)


def prepare(fleet: Fleet, kinds: list[str]) -> list[Tenant]:
    """Tenants that are ready for a rotation of these kinds."""
    tenants = [fleet.tenant() for _unused in kinds]
    for tenant, kind in zip(tenants, kinds, strict=True):
        before = KINDS[kind].before
        if before:
            before(tenant)
    had = [tenant for tenant in tenants if tenant.bindings]
    if had:
        for name, outcome in fleet.run(had, GO).items():
            assert not outcome.failed, (name, outcome.message)
    for tenant, kind in zip(tenants, kinds, strict=True):
        tenant.delivered()
        KINDS[kind].change(tenant)
    return tenants


def in_force(tenant: Tenant) -> dict[str, list[str]]:
    """For each binding whose application has a secret, the labels in the store that log in.

    Of each agent and application there is at most one.
    """
    state, stored = tenant.state, tenant.stored
    for path in tenant.fleet.inventory.rglob("*"):
        if "halo_credentials" in path.parts:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    for names in ([one["name"] for one in state["agents"]], [one["displayName"] for one in state["applications"]]):
        ours = [name for name in names if name.startswith(("api-", "Ansible", "Another"))]
        assert len(set(ours)) == len(ours), ours
    found = {}
    for binding in tenant.bindings:
        name = binding["name"]
        if binding.get("kind") == "integrator":
            client_id = state["control"]["client_id_halointegrator"]
        else:
            applications = tenant.applications(name)
            if not applications:
                continue
            client_id = applications[0]["clientId"]
            if not applications[0]["secret_set"]:
                continue
        labels = stored.get(name) or dict.fromkeys(LABELS)
        secrets = {label: labels[label]["client_secret"] for label in LABELS if labels[label]}
        found[name] = [label for label, secret in secrets.items() if tenant.logs_in(client_id, secret) is not None]
        assert found[name], f"{tenant.name}: {name}: the secret in force is not in the store"
    return found


def changes(outcome: Outcome) -> int:
    """How many new secrets were sent."""
    return sum(write.casefold() in ("post /api/application", "post /api/control") for write in outcome.writes)


def strike(fleet: Fleet, tenant: Tenant, kill: Kill) -> None:
    """One run that is killed, and what must be true right after."""
    where = {"ROLE_KILL": str(kill.task), "ROLE_KILL_AFTER": str(kill.after)} if not kill.flight else {}
    if kill.flight:
        order = fleet.sandbox.fault(kill.flight, tenant=tenant.name, method="POST", path=POSTS, seconds=1.0)
    running = fleet.start([tenant], GO, **where)
    if kill.flight:
        running.wait(lambda: any(fault["id"] == order and fault["hits"] for fault in fleet.sandbox.faults()))
        running.kill()
        time.sleep(1.2)
    running.rest()
    running.finish()
    assert running.process.returncode < 0, f"{kill}: it was not killed"
    in_force(tenant)


def heal(fleet: Fleet, tenants: list[Tenant], owing: dict[str, int]) -> None:
    """One run finishes what was begun, with no more new secrets than are owing; the next one has nothing to do."""
    for tenant in tenants:
        tenant.more.pop("halo_integration_rotate", None)
    for name, outcome in fleet.run(tenants, GO).items():
        (tenant,) = [one for one in tenants if one.name == name]
        assert not outcome.failed, (name, outcome.message)
        assert changes(outcome) == owing[name], (name, outcome.writes)
        in_force(tenant)
        for binding in tenant.bindings:
            assert outcome[binding["name"]]["verified"] is True
            assert tenant.proven(binding["name"])
            entry = tenant.entry(binding["name"])
            assert entry["pending"] is None
            assert entry["owed"] == {"deliver": False, "retire": None}
            if binding.get("previous_agent") == "delete" and binding["agent"]["name"] == "api-successor":
                assert tenant.agents("api-ansible") == []
    for name, outcome in fleet.run(tenants, GO).items():
        assert outcome.quiet, (name, outcome.message, outcome.names)


def left_to_do(tenant: Tenant, kind: str, was: dict[str, Any]) -> int:
    """How many new secrets the next run has to make: those that were called for and have not reached Halo."""
    valid = in_force(tenant)
    owing = 0
    for binding in tenant.bindings:
        name = binding["name"]
        entry = tenant.stored.get(name)
        before = was[name]["current"]["client_secret"] if name in was else None
        finished = entry and entry["current"] and entry["current"]["client_secret"] != before
        forgotten = kind == "asked" and not (entry and entry["pending"])
        owing += not (finished or "pending" in valid.get(name, []) or forgotten)
    return owing


def handed_over(tenant: Tenant, was: dict[str, Any]) -> bool:
    """Whether the user's tasks have got what is new."""
    told = tenant.delivered()
    if not any(binding.get("on_rotated") for binding in tenant.bindings):
        return told is None
    new = tenant.secret()
    if new == (was[NAME]["current"]["client_secret"] if NAME in was else None):
        return told is None
    client_id = tenant.application()["clientId"]
    return bool(told and (told["client_id"], told["client_secret"]) == (client_id, new))


@pytest.fixture(scope="module")
def tasks(fleets: Callable[[int], Fleet]) -> dict[str, int]:
    """How many tasks each kind has, counted in a run that nobody kills."""
    fleet = fleets(len(KINDS) + 1)
    tenants = prepare(fleet, list(KINDS))

    def count(tenant: Tenant) -> int:
        running = fleet.start([tenant], GO)
        (outcome,) = running.finish().values()
        assert not outcome.failed, outcome.message
        return 1 + max(line["number"] for line in running.lines if "number" in line)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(KINDS, pool.map(count, tenants), strict=True))


def planned(tasks: dict[str, int], kills: int) -> list[Kill]:
    """When to kill: at tasks, spread over all kinds; while a POST is on its way; and at random instants."""
    chance = random.Random(kills)
    boundaries = [Kill(kind, task) for kind, count in tasks.items() for task in range(count)]
    flights = [Kill(kind, flight=flight) for kind in KINDS if kind != "shared" for flight in ("delay_after", "delay")]
    instants = (
        Kill(kind, chance.randrange(tasks[kind]), chance.uniform(0.001, 0.06)) for kind in itertools.cycle(KINDS)
    )
    if kills >= EVERYTHING:
        made = [*boundaries, *flights]
        made += itertools.islice(instants, max(RANDOM, kills - len(made)))
    else:
        few = kills // 5
        made = [*flights[:few], *itertools.islice(instants, few)]
        wanted = kills - len(made)
        made += [boundaries[len(boundaries) * n // wanted] for n in range(wanted)]
    chance.shuffle(made)
    return made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "batch" in metafunc.fixturenames:
        count = -(-metafunc.config.getoption("kills") // BATCH)
        metafunc.parametrize(("batch", "batches"), [(number, count) for number in range(count)])


def test_a_killed_run_loses_nothing_and_the_next_one_finishes_it(
    batch: int,
    batches: int,
    tasks: dict[str, int],
    fleets: Callable[[int], Fleet],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    kills = planned(tasks, request.config.getoption("kills"))[batch::batches]
    fleet = fleets(len(kills) + 1)
    tenants = prepare(fleet, [kill.kind for kill in kills])
    was = {tenant.name: tenant.stored for tenant in tenants}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: strike(fleet, *pair), zip(tenants, kills, strict=True)))
    pairs = list(zip(tenants, kills, strict=True))
    owing = {tenant.name: left_to_do(tenant, kill.kind, was[tenant.name]) for tenant, kill in pairs}
    print({str(kill): owing[tenant.name] for tenant, kill in pairs})
    heal(fleet, tenants, owing)
    for tenant, kill in pairs:
        assert handed_over(tenant, was[tenant.name]), str(kill)
    record_property("kills", len(kills))


# A run that is cut off


FAULTS = {
    "the connection is cut before the commit": {"kind": "reset"},
    "the connection is cut after the commit": {"kind": "reset_after"},
    "the answer ends in its middle": {"kind": "truncate_after"},
    "500 after the commit": {"kind": "status_after", "status": 500},
    "502 before the commit": {"kind": "status", "status": 502},
    "garbage after the commit": {"kind": "garbage_after"},
    "an HTML page after the commit": {"kind": "html_after"},
    "nothing after the commit": {"kind": "empty_after"},
}


@pytest.mark.parametrize("times", [1, None], ids=["once", "to the end of the run"])
def test_an_answer_that_does_not_come_loses_nothing(times: int | None, fleets: Callable[[int], Fleet]) -> None:
    # the other way round, each fault meets another kind
    kinds = list(itertools.islice(itertools.cycle(("create", "switch", "integrator")), len(FAULTS)))[:: times or -1]
    fleet = fleets(len(kinds) + 1)
    tenants = prepare(fleet, kinds)
    was = {tenant.name: tenant.stored for tenant in tenants}
    spoiled = list(FAULTS.values())
    for tenant, fault in zip(tenants, spoiled, strict=True):
        tenant.sandbox.fault(tenant=tenant.name, method="POST", path=POSTS, times=times, **fault)
    outcomes = fleet.run(tenants, GO)
    fleet.sandbox.control("DELETE", "faults")
    for tenant, kind, fault in zip(tenants, kinds, spoiled, strict=True):
        in_force(tenant)
        if times == 1:
            assert not outcomes[tenant.name].failed, (kind, fault, outcomes[tenant.name].message)
            assert left_to_do(tenant, kind, was[tenant.name]) == 0
    owing = {
        tenant.name: left_to_do(tenant, kind, was[tenant.name]) for tenant, kind in zip(tenants, kinds, strict=True)
    }
    heal(fleet, tenants, owing)


@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_store_that_fails_between_two_steps_loses_nothing(kind: str, fleets: Callable[[int], Fleet]) -> None:
    """The store fails while Halo is at work on the POST: neither 'amend' nor 'finish' can be written."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    fleet = fleets(3)
    folder = fleet.inventory / "halo_credentials"
    folder.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("root that may not mount")
    try:
        tenants = prepare(fleet, ["switch", "create"])
        was = {tenant.name: tenant.stored for tenant in tenants}
        for tenant in tenants:
            fleet.sandbox.fault("delay", tenant=tenant.name, method="POST", path=POSTS, seconds=2.0)
        running = fleet.start(tenants, GO)
        running.wait(lambda: sum(fault["hits"] for fault in fleet.sandbox.faults()) == len(tenants))
        filler = folder / "filler"
        if kind == "full":
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"x" * 512):
                    pass
            filler.chmod(0o600)
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        outcomes = running.finish()
        wanted = "No space left on device" if kind == "full" else "Read-only file system"
        for tenant in tenants:
            assert outcomes[tenant.name].failed
            assert wanted in outcomes[tenant.name].message
            assert "pending" in in_force(tenant)[NAME]
        # and as long as it lasts nothing more is changed
        state = [tenant.state for tenant in tenants]
        for outcome in fleet.run(tenants, GO).values():
            assert outcome.failed
            assert wanted in outcome.message
        assert [tenant.state for tenant in tenants] == state
        if kind == "full":
            filler.unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        heal(fleet, tenants, dict.fromkeys([tenant.name for tenant in tenants], 0))
        assert all(handed_over(tenant, was[tenant.name]) for tenant in tenants)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# Runs that are not alone


def test_of_two_runs_at_once_one_stops_before_it_changes_anything(fleets: Callable[[int], Fleet]) -> None:
    fleet = fleets(3)
    built_in, own = tenants = prepare(fleet, ["switch", "own store"])
    was = {tenant.name: tenant.stored for tenant in tenants}
    for tenant in tenants:
        fleet.sandbox.fault("delay", tenant=tenant.name, method="POST", path=POSTS, seconds=60.0)
    first = fleet.start(tenants, GO)
    first.wait(lambda: sum(fault["hits"] for fault in fleet.sandbox.faults()) == 2)
    stored, state = [tenant.stored for tenant in tenants], [tenant.state for tenant in tenants]
    for outcome in fleet.run(tenants, GO).values():
        assert outcome.failed
        assert "another run is at work on this tenant" in outcome.message
        assert "Nothing was changed" in outcome.message
        assert not outcome.writes
    assert [tenant.stored for tenant in tenants] == stored
    assert [tenant.state for tenant in tenants] == state
    fleet.sandbox.control("DELETE", "faults")
    for outcome in first.finish().values():
        assert not outcome.failed, outcome.message
        assert changes(outcome) == 1
    for tenant in (built_in, own):
        assert handed_over(tenant, was[tenant.name])
    heal(fleet, tenants, dict.fromkeys([tenant.name for tenant in tenants], 0))


def test_many_runs_at_once_end_with_one_secret_that_works(fleets: Callable[[int], Fleet]) -> None:
    fleet = fleets(2)
    (tenant,) = prepare(fleet, ["create"])
    runs = [fleet.start([tenant], GO) for _unused in range(4)]
    for running in runs:
        outcome = running.finish()[tenant.name]
        assert not outcome.failed or "another run is at work on this tenant" in outcome.message, outcome.message
    in_force(tenant)
    assert len(tenant.applications(NAME)) == 1
    heal(fleet, [tenant], {tenant.name: 0})


def test_a_request_of_a_killed_run_that_arrives_late_loses_nothing(fleets: Callable[[int], Fleet]) -> None:
    """The run's process group is dead, its request is not; the next run starts at once and is faster."""
    fleet = fleets(3)
    tenants = prepare(fleet, ["switch", "integrator"])
    for tenant in tenants:
        fleet.sandbox.fault("delay", tenant=tenant.name, method="POST", path=POSTS, seconds=60.0)
    killed = fleet.start(tenants, GO)
    killed.wait(lambda: sum(fault["hits"] for fault in fleet.sandbox.faults()) == 2)
    killed.kill()
    for outcome in fleet.run(tenants, GO).values():
        assert not outcome.failed, outcome.message
    for tenant in tenants:
        in_force(tenant)
    fleet.sandbox.control("DELETE", "faults")
    killed.rest()
    for tenant in tenants:
        in_force(tenant)
    heal(fleet, tenants, dict.fromkeys([tenant.name for tenant in tenants], 0))
