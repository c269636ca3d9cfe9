# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed or cut off: the secret in force is always in the store, and the next run finishes the work.

``--kills N`` says how many are killed with each store, by SIGKILL: at each request before or after Halo carried it out,
and at each write to the store before it, in its midst, or after it; for each kind of rotation. ``--store`` picks one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import random
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import client, rotation, run
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import _claim, _files
from halo_sandbox.testing import Sandbox
from helpers import processes
from helpers.controller import Controller
from role_runner import CHECK, NAME, VAULT_PASSWORD, Fleet, Go, Outcome, Play, Tenant

INTEGRATOR = "Halo Integrator"
POST = "(application|control)"
# A killed run's request takes this long, and the next run waits for it as long as a request may take.
SECONDS, TIMEOUT = 0.5, 1
# With each so many are killed as --kills says, or the part that it has the time for.
STORES = ("pass", "sops", "aws_secrets_manager", "hashi_vault", "command", "file", "vault_file")
SHARES = {"pass": 20, "sops": 20}
# So many are killed before the first of them is looked at.
BATCH = 4


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of rotation: what is there before (None: nothing), and what is asked for then."""

    before: Callable[[Tenant], object] | None
    change: Callable[[Tenant], object]
    rotate: bool = False


def _delivered(tenant: Tenant) -> None:
    tenant.bind(on_rotated="tasks/deliver.yml")


def _first(tenant: Tenant) -> None:
    tenant.bind(on_rotated="tasks/deliver.yml", previous_agent="delete")


def _shared(tenant: Tenant) -> None:
    tenant.bind()
    tenant.bind(name="Another")


def _integrator(tenant: Tenant) -> None:
    tenant.sandbox.settings(tenant.name, hosted_integrator=True)
    tenant.bind(name=INTEGRATOR, kind="integrator", allow_hosted=True)


def _there(tenant: Tenant) -> None:
    tenant.put_agent("api-successor")
    tenant.bindings[0]["agent"] = {"name": "api-successor"}


KINDS = {
    "create": Kind(None, _delivered),
    "to a new agent": Kind(_first, lambda tenant: tenant.bind("api-successor")),
    "to an agent that is there": Kind(_first, _there),
    "asked for": Kind(_delivered, lambda tenant: None, rotate=True),
    "integrator": Kind(_integrator, lambda tenant: tenant.bind("api-successor", INTEGRATOR)),
    "two that share": Kind(None, _shared),
}


@dataclasses.dataclass(frozen=True)
class Kill:
    """When a run of a kind is killed: at its n-th request or n-th write to the store, and how far that has come."""

    kind: str
    what: str
    number: int
    when: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} {self.number}, {self.when}"


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with Controller() as one:
        yield one


@pytest.fixture
def fleets() -> Iterator[Callable[..., Fleet]]:
    """Makes fleets of as many tenants, each with a sandbox of its own."""
    with contextlib.ExitStack() as opened:

        def fleet(tenants: int, **how: bool) -> Fleet:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="halo-"))
            return Fleet(opened.enter_context(Sandbox(tenants=tenants)), Path(folder), **how)

        yield fleet


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process wait for nothing that takes a moment to become true."""
    for module in (client, run):
        monkeypatch.setattr(module, "SETTLE", (0.02, 0.05, 0.1))
    monkeypatch.setattr(rotation, "TEST_PAUSE", 0.02)


def prepare(fleet: Fleet, kind: str, servers: Any = None, title: str = "file") -> tuple[Tenant, dict[str, Any]]:
    """A tenant that is ready for a rotation of this kind, and the options of the task that makes it."""
    tenant = fleet.tenant()
    what = KINDS[kind]
    tenant.more["halo_timeout"] = TIMEOUT
    if what.before:
        what.before(tenant)
        outcome = fleet.run(tenant)
        assert not outcome.failed, outcome.message
        acknowledge(fleet, tenant, outcome)
    if servers:
        where = servers.where(title, tenant.inventory / "halo_credentials_kept")
        tenant.move(where.store, where.options, where.environment)
    what.change(tenant)
    return tenant, {"bindings": tenant.bindings, "rotate": what.rotate}


def acknowledge(fleet: Fleet, tenant: Tenant, outcome: Outcome) -> list[str]:
    """Do as the role does with what is to be delivered; which bindings that concerned."""
    delivered = [one for one in outcome.pending_actions if one["action"] == "deliver"]
    for one in delivered:
        assert tenant.credential(one["name"])["made_at"] == one["made_at"]
        done = fleet.run(tenant, Go(options={"acknowledge": {key: one[key] for key in ("name", "made_at")}}))
        assert done.changed
    return [one["name"] for one in delivered]


def in_force(tenant: Tenant) -> dict[str, list[str]]:
    """For each binding whose application has a secret, the labels in the store that log in: one at least.

    Of each agent and application there is at most one, and the store is nobody else's.
    """
    state, stored = tenant.state, tenant.stored
    for path in tenant.inventory.glob("halo_credentials/**/*"):
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
            if not applications or not applications[0]["secret_set"]:
                continue
            client_id = applications[0]["clientId"]
        labels = stored.get(name) or dict.fromkeys(LABELS)
        secrets = {label: labels[label]["client_secret"] for label in LABELS if labels[label]}
        found[name] = [label for label, secret in secrets.items() if tenant.logs_in(client_id, secret) is not None]
        assert found[name], f"{tenant.name}: {name}: the secret in force is not in the store"
    return found


def changes(requests: list[dict[str, Any]]) -> int:
    """How many new secrets were sent."""
    paths = [one["path"].casefold() for one in requests if one["method"] == "POST"]
    return sum(path in ("/api/application", "/api/control") for path in paths)


def strike(fleet: Fleet, controller: Controller, tenant: Tenant, options: dict[str, Any], kill: Kill) -> None:
    """One run that is killed, and what must be true right after."""
    die = {"write": kill.number, "when": kill.when} if kill.what == "write" else None
    if not die:
        # of all requests of this tenant, whatever they are
        fleet.sandbox.fault(kill.when, tenant=tenant.name, path="", skip=kill.number - 1, seconds=SECONDS)
    pid = controller.start(
        options,
        tenant.variables,
        tenant.inventory,
        environment=tenant.environment,
        vault_password=VAULT_PASSWORD,
        die=die,
    )
    if not die:
        until = time.monotonic() + 20
        while not fleet.sandbox.faults()[-1]["hits"]:
            assert time.monotonic() < until, f"{kill}: it did not come to that"
            time.sleep(0.002)
        if kill.when == "delay_after":
            # what is carried out is so before the delay
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
    assert controller.finish() is None, f"{kill}: it was not killed"
    # a program that keeps the entries goes on without the run
    processes.wait(f"HELPERS_RUN={pid}")
    tenant.look_again()


def heal(fleet: Fleet, tenant: Tenant, kill: Kill, since: int, was: dict[str, Any]) -> bool:
    """The next run finishes what was begun, and the one after it has nothing to do.

    :returns: whether the next run had to wait until the claim of the killed one had ended
    """
    begun = any(entry["pending"] or entry != was.get(name) for name, entry in tenant.stored.items())
    outcome = fleet.run(tenant, beside_another=True)
    is_held = "another run is at work on this tenant" in outcome.message
    if is_held:
        assert outcome.requests == [], str(kill)
        with pytest.MonkeyPatch.context() as later:
            later.setattr(_claim.SharedStore, "clock", lambda _store: time.time() + 125)
            later.setattr(_claim.SharedStore, "_hear", lambda _store, date: None)
            outcome = fleet.run(tenant)
    assert not outcome.failed, (str(kill), outcome.message)
    # what the killed run had sent has arrived by now
    time.sleep(max(0.0, SECONDS - 0.2) if kill.when == "delay" else 0.0)
    fleet.sandbox.control("DELETE", "faults")
    causes = 0 if kill.kind == "asked for" and not begun else len(tenant.bindings)
    sent = changes(fleet.sandbox.requests(tenant.name)[since:])
    assert sent == causes, f"{kill}: {sent} new secrets for {causes} causes"
    in_force(tenant)
    for binding in tenant.bindings:
        name = binding["name"]
        assert outcome[name]["verified"] is True
        assert tenant.proven(name)
        entry = tenant.entry(name)
        assert (entry["pending"], entry["outstanding"]["retire"]) == (None, [])
        # one new secret, whatever it took: what was in force before is the previous one
        before = was[name]["current"] if name in was else None
        assert (entry["previous"] if causes else entry["current"]) == before
        if binding.get("previous_agent") == "delete":
            assert tenant.agents("api-ansible") == [], str(kill)
    owing = [binding["name"] for binding in tenant.bindings if binding.get("on_rotated") and causes]
    assert acknowledge(fleet, tenant, outcome) == owing, str(kill)
    outcome = fleet.run(tenant)
    assert outcome.quiet, (str(kill), outcome.message, outcome.result)
    return is_held


@pytest.fixture(scope="module")
def counts() -> dict[str, tuple[int, int]]:
    """How many requests and how many writes to files each kind takes, counted in runs that nobody kills."""
    found = {}
    real = _files._replace
    with (
        tempfile.TemporaryDirectory(prefix="halo-") as folder,
        Sandbox(tenants=len(KINDS)) as sandbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        fleet = Fleet(sandbox, Path(folder))
        for kind in KINDS:
            tenant, options = prepare(fleet, kind)
            writes: list[Any] = []

            def replace(noted: list[Any], *args: Any) -> None:
                noted.append(args)
                real(*args)

            patch.setattr(_files, "_replace", functools.partial(replace, writes))
            outcome = fleet.run(tenant, Go(options=options))
            assert not outcome.failed, outcome.message
            assert len(writes) >= 2
            found[kind] = (len(outcome.requests), len(writes))
    return found


def planned(counts: dict[str, tuple[int, int]], kills: int) -> list[Kill]:
    """Which instants, in turn: at a request, at a write; each of them at least once where there are enough."""
    chance = random.Random(kills)
    at_requests = [
        Kill(kind, "request", number, when)
        for kind, (requests, _writes) in counts.items()
        for number in range(1, requests + 1)
        for when in ("delay", "delay_after")
    ]
    at_writes = [
        Kill(kind, "write", number, when)
        for kind, (_requests, writes) in counts.items()
        for number in range(1, writes + 1)
        for when in ("before", "between", "after")
    ]
    for instants in (at_requests, at_writes):
        chance.shuffle(instants)
    mixed = [one for pair in itertools.zip_longest(at_requests, at_writes) for one in pair if one]
    return list(itertools.islice(itertools.cycle(mixed), kills))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "title" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("store") or STORES
        metafunc.parametrize("title", [pytest.param(title, id=f"on-{title}") for title in STORES if title in chosen])


def test_a_killed_run_loses_nothing_and_the_next_one_finishes_it(
    title: str,
    fleets: Callable[..., Fleet],
    controller: Controller,
    counts: dict[str, tuple[int, int]],
    servers: Any,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    kills = -(-request.config.getoption("kills") // SHARES.get(title, 1))
    fleet = fleets(kills)
    # elsewhere than in files the claim is written when it is taken, and when it is given back
    more = 0 if "file" in title else 2
    held = 0
    left = planned({kind: (requests, writes + more) for kind, (requests, writes) in counts.items()}, kills)
    while left:
        struck = []
        for kill in left[:BATCH]:
            tenant, options = prepare(fleet, kill.kind, servers, title)
            was, since = tenant.stored, len(fleet.sandbox.requests(tenant.name))
            strike(fleet, controller, tenant, options, kill)
            in_force(tenant)
            struck.append((tenant, kill, since, was))
        # the last one at once, while its request may be on its way; the first one when that is over
        held += sum(heal(fleet, *one) for one in reversed(struck))
        left = left[BATCH:]
    record_property("kills", {"killed": kills, "held a claim": held})
    assert bool(held) is ("file" not in title)


def test_a_secret_of_halos_own_is_stored_before_it_is_proven(
    fleets: Callable[..., Fleet], controller: Controller
) -> None:
    """Halo answers it once: a run that is killed at the login after that has kept it."""
    fleet = fleets(1)
    tenant = fleet.tenant()
    tenant.more["halo_timeout"] = TIMEOUT
    tenant.sandbox.settings(tenant.name, secret_policy="replace", client_id_policy="replace")
    tenant.bind()
    # the first login is the run's own
    fleet.sandbox.fault("delay", tenant=tenant.name, path="^/auth/token$", skip=1, seconds=SECONDS)
    pid = controller.start({"bindings": tenant.bindings}, tenant.variables, tenant.inventory)
    while not fleet.sandbox.faults()[-1]["hits"]:
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    assert controller.finish() is None
    assert in_force(tenant) == {NAME: ["pending"]}
    outcome = fleet.run(tenant)
    assert not outcome.failed, outcome.message
    assert outcome.writes == []
    assert tenant.proven()
    assert fleet.run(tenant).quiet


@pytest.mark.parametrize("kind", ["to an agent that is there", "integrator"])
def test_a_request_of_a_killed_run_that_arrives_after_all_waiting_loses_nothing(
    kind: str, fleets: Callable[..., Fleet], controller: Controller
) -> None:
    """The next run sends the same secret, so that it does not matter which of the two comes last."""
    fleet = fleets(1)
    tenant, options = prepare(fleet, kind)
    tenant.fault("delay", "POST", POST, seconds=60.0)
    pid = controller.start(options, tenant.variables, tenant.inventory)
    while not fleet.sandbox.faults()[-1]["hits"]:
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    assert controller.finish() is None
    outcome = fleet.run(tenant)
    assert not outcome.failed, outcome.message
    fleet.sandbox.control("DELETE", "faults")
    until = time.monotonic() + 10
    while any(one["status"] is None for one in fleet.sandbox.requests(tenant.name)):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert in_force(tenant) == {tenant.bindings[0]["name"]: ["current"]}
    acknowledge(fleet, tenant, outcome)
    assert fleet.run(tenant).quiet


# In plays, where it is a worker that sends


@pytest.mark.parametrize("killed", ["the main process alone", "all processes of the run"])
def test_a_play_that_is_killed_while_its_workers_post_is_on_the_way(killed: str, fleets: Callable[..., Fleet]) -> None:
    fleet = fleets(2, shared=True)
    tenants = [fleet.tenant() for _unused in range(2)]
    for tenant, path in zip(tenants, ("Agent", "Application"), strict=True):
        tenant.more["halo_timeout"] = 3
        tenant.bind()
        tenant.fault("delay", "POST", path, seconds=1.5)
    running = fleet.start(tenants, Play())
    running.wait(lambda: all(fault["hits"] for fault in fleet.sandbox.faults()))
    if killed == "the main process alone":
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
    else:
        running.kill()
        running.all_over()
    stopped = 0
    for tenant in tenants:
        until = time.monotonic() + 20
        while (outcome := fleet.run(tenant, beside_another=True)).failed:
            # the worker lives on, and its lock with it
            assert "another run is at work on this tenant" in outcome.message
            assert time.monotonic() < until
            stopped += 1
            time.sleep(0.1)
    assert bool(stopped) is (killed == "the main process alone")
    running.all_over()
    for tenant in tenants:
        in_force(tenant)
        assert (len(tenant.agents("api-ansible")), len(tenant.applications(NAME))) == (1, 1)
        assert changes(fleet.sandbox.requests(tenant.name)) == 1
        assert tenant.proven()
        assert fleet.run(tenant).quiet


# A run that is cut off


FAULTS: dict[str, dict[str, Any]] = {
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
def test_an_answer_that_does_not_come_loses_nothing(times: int | None, fleets: Callable[..., Fleet]) -> None:
    kinds = ("create", "to a new agent", "integrator")[:: times or -1]
    fleet = fleets(len(FAULTS))
    # the other way round, each fault meets another kind
    for (what, fault), kind in zip(FAULTS.items(), itertools.cycle(kinds), strict=False):
        tenant, options = prepare(fleet, kind)
        tenant.more["halo_retry_seconds"] = 1 if times else 0
        was, name = tenant.stored, tenant.bindings[0]["name"]
        tenant.fault(method="POST", path=POST, times=times, **fault)
        outcome = fleet.run(tenant, Go(options=options))
        fleet.sandbox.control("DELETE", "faults")
        in_force(tenant)
        if times == 1:
            assert not outcome.failed, (kind, what, outcome.message)
        first = was.get(name, {}).get("current")
        again = fleet.run(tenant)
        assert not again.failed, (kind, what, again.message)
        assert not (times == 1 and again.writes), (kind, what)
        in_force(tenant)
        assert tenant.proven(name)
        assert (tenant.entry(name)["pending"], tenant.entry(name)["previous"]) == (None, first)
        acknowledge(fleet, tenant, again)
        assert fleet.run(tenant).quiet, (kind, what)


def test_a_store_that_is_full_between_two_steps_loses_nothing(
    fleets: Callable[..., Fleet], controller: Controller
) -> None:
    """The store fails while Halo is at work on the POST: what it answers cannot be noted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    fleet = fleets(1)
    tenant, options = prepare(fleet, "to a new agent")
    folder = tenant.inventory / "halo_credentials"
    stored = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("root that may not mount")
    try:
        for path, content in stored.items():
            (folder / path).parent.mkdir(mode=0o700, exist_ok=True)
            (folder / path).touch(0o600)
            (folder / path).write_bytes(content)
        tenant.fault("delay", "POST", "Application", seconds=60.0)
        controller.start(options, {**tenant.variables, "halo_timeout": 60}, tenant.inventory)
        while not fleet.sandbox.faults()[-1]["hits"]:
            time.sleep(0.01)
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 512):
                pass
        filler.chmod(0o600)
        fleet.sandbox.control("DELETE", "faults")
        result = controller.finish() or {}
        reason = "No space left on device"
        assert reason in result["msg"], result
        assert "pending" in in_force(tenant)[NAME]
        # and as long as it lasts nothing more is changed
        state = tenant.state
        outcome = fleet.run(tenant)
        assert outcome.failed
        assert reason in outcome.message
        assert tenant.state == state
        filler.unlink()
        outcome = fleet.run(tenant)
        assert not outcome.failed, outcome.message
        assert changes(outcome.requests) == 0
        assert tenant.proven()
        assert acknowledge(fleet, tenant, outcome) == [NAME]
        assert tenant.agents("api-ansible") == []
        assert fleet.run(tenant).quiet
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_run_beside_one_that_is_at_work_stops(fleets: Callable[..., Fleet], controller: Controller) -> None:
    fleet = fleets(1)
    tenant, options = prepare(fleet, "to a new agent")
    tenant.fault("delay", "POST", "Application", seconds=60.0)
    controller.start(options, {**tenant.variables, "halo_timeout": 60}, tenant.inventory)
    while not fleet.sandbox.faults()[-1]["hits"]:
        time.sleep(0.01)
    before = tenant.state, tenant.stored
    for options in ({}, {"state": "absent"}, {"acknowledge": {"name": NAME, "made_at": "then"}}):
        outcome = fleet.run(tenant, Go(options=options), beside_another=True)
        assert outcome.failed
        assert "another run is at work on this tenant (process " in outcome.message
        assert outcome.requests == []
    # check mode changes nothing, and so needs not be alone
    outcome = fleet.run(tenant, CHECK, beside_another=True)
    assert not outcome.failed, outcome.message
    assert (tenant.state, tenant.stored) == before
    fleet.sandbox.control("DELETE", "faults")
    result = controller.finish() or {}
    assert not result.get("failed"), result
    assert changes(fleet.sandbox.requests(tenant.name)) == 2
