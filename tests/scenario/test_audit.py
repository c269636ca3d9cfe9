# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit says of a tenant on which one thing is not as the inventory declares it: that, in words, no more."""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from role_runner import CHECK, NAME, Fleet, Tenant

INTEGRATOR = "Halo Integrator"
AGENT = "api-ansible"
Seed = Callable[[Tenant], Any]


def agent(**fields: Any) -> Seed:
    return lambda tenant: tenant.sandbox.put_agents(tenant.name, {"id": tenant.agent(AGENT)["id"], **fields})


def application(**fields: Any) -> Seed:
    return lambda tenant: tenant.sandbox.put_applications(tenant.name, {"id": tenant.application()["id"], **fields})


def gone(path: str, find: Callable[[Tenant], Any]) -> Seed:
    return lambda tenant: tenant.delete(f"{path}/{find(tenant)['id']}")


def bound_to(name: str) -> Seed:
    return lambda tenant: application(loginas_agent_id=tenant.agent(name)["id"])(tenant)


def aged(days: int) -> Seed:
    """The secret is so old, of which 90 days are the most."""

    def seed(tenant: Tenant) -> None:
        tenant.bind(max_age_days=90)
        made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        tenant.rewrite(lambda entry: entry["current"].update(made_at=made.isoformat()))

    return seed


def pending(valid: bool) -> Seed:
    """A run was killed before or after Halo had the new secret."""

    def begun(entry: dict[str, Any]) -> None:
        entry["pending"] = {**entry["current"], "made_at": "2026-03-01T10:00:00+00:00", "reason": "requested"}
        if not valid:
            entry["pending"]["client_secret"] = "never sent"

    return lambda tenant: (tenant.known.add("never sent"), tenant.rewrite(begun))


def undelivered(tenant: Tenant) -> None:
    tenant.bind(on_rotated="tasks/deliver.yml")
    tenant.rewrite(lambda entry: entry["outstanding"].update(deliver=entry["current"]["made_at"]))


def unretired(tenant: Tenant) -> None:
    item = {"agent_id": "77", "made_at": "2026-03-01T10:00:00+00:00"}
    tenant.rewrite(lambda entry: entry["outstanding"].update(retire=[item]))


def integrator(by: str, hosted: bool) -> Seed:
    """The Integrator logs in as someone else."""

    def seed(tenant: Tenant) -> None:
        tenant.sandbox.settings(tenant.name, hosted_integrator=False)
        tenant.bind(name=INTEGRATOR, kind="integrator")
        assert not tenant.fleet.run(tenant).failed
        tenant.bindings[:] = tenant.bindings[-1:]
        control = {"id": 1, "loginas_halointegrator": tenant.agent(by)["id"]}
        tenant.post("Control", control)
        tenant.sandbox.settings(tenant.name, hosted_integrator=hosted)

    return seed


PENDING = "secret: one is pending since 2026-03-01T10:00:00+00:00, from a run that did not finish"
SEEDS: dict[str, tuple[Seed, list[str]]] = {
    "nothing": (lambda tenant: None, []),
    "agent missing": (
        gone("Agent", lambda tenant: tenant.agent(AGENT)),
        ["there is no such agent", "login agent: 8 (no such agent) instead of api-ansible"],
    ),
    "agent disabled": (agent(isdisabled=True), ["enabled: false instead of true"]),
    "agent not API-only": (agent(isapiagent=False), ["api only: false instead of true"]),
    "role missing": (agent(roles=[]), ["roles: API Integration is missing"]),
    "team missing": (agent(teams=[]), ["teams: 1st Line Support is missing"]),
    "application missing": (
        gone("Application", lambda tenant: tenant.application()),
        ["there is no such application"],
    ),
    "application disabled": (application(inactive=True), ["application enabled: false instead of true"]),
    "bound to another API-only agent": (
        bound_to("api-automation"),
        ["login agent: api-automation instead of api-ansible"],
    ),
    "bound to a human agent": (bound_to("Admin"), ["login agent: Admin (a human agent) instead of api-ansible"]),
    "scope missing": (application(scopes=[{"name": "read:customers"}]), ["scopes: read:tickets is missing"]),
    "scope not declared": (
        application(scopes=[{"name": name} for name in ("read:customers", "read:tickets", "edit:tickets")]),
        ["scopes: edit:tickets is not declared"],
    ),
    "secret due": (aged(89), ["secret: due since DATE (max_age_days: 90)"]),
    "secret expired": (aged(91), ["secret: expired on DATE (max_age_days: 90)"]),
    "secret not due yet": (aged(30), []),
    "secret invalid": (application(clientSecret="someone's own"), ["secret: the stored one does not log in"]),
    "secret pending, never sent": (pending(False), [PENDING]),
    "secret pending, in force": (pending(True), [PENDING]),
    "secret not delivered": (undelivered, ["secret: it has yet to be delivered by on_rotated"]),
    "previous agent not retired": (unretired, ["previous agent: 77 has yet to be retired"]),
    "Integrator bound to a human agent": (
        integrator("Admin", hosted=False),
        ["login agent: Admin (a human agent) instead of api-ansible"],
    ),
    "hosted Integrator bound to a human agent": (
        integrator("Admin", hosted=True),
        ["login agent: Admin (a human agent) instead of api-ansible"],
    ),
}
# what a run would refuse to mend fails the audit as well, and says why
REFUSED = {
    "agent not API-only": "it is a human agent and is not turned into an API-only one",
    "hosted Integrator bound to a human agent": "it is hosted by Halo",
}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=len(SEEDS) + 1) as sandbox:
        yield Fleet(sandbox, Path(folder))


@pytest.mark.parametrize("kind", SEEDS)
def test_what_drifted_is_named_and_nothing_else(fleet: Fleet, kind: str) -> None:
    tenant = fleet.tenant()
    tenant.known |= {"someone's own"}
    tenant.bind()["agent"]["teams"] = ["1st Line Support"]
    assert not fleet.run(tenant).failed
    seed, sentences = SEEDS[kind]
    seed(tenant)
    # that nothing is written, to Halo or to the store, is seen to by the runner
    outcome = fleet.run(tenant, CHECK)
    (row,) = outcome.result["bindings"].values()
    said = [re.sub(r"\b\d{4}-\d\d-\d\d(?= \()", "DATE", text) for text in row["drift"]]
    assert said == sentences
    if kind in REFUSED:
        assert REFUSED[kind] in row["error"]
    else:
        assert not outcome.failed, outcome.message
        assert outcome.changed is bool(sentences)


def test_two_kinds_at_once_are_two_sentences(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    tenant.bind()
    assert not fleet.run(tenant).failed
    for seed in (agent(roles=[]), application(inactive=True), bound_to("Admin")):
        seed(tenant)
    outcome = fleet.run(tenant, CHECK)
    assert outcome[NAME]["drift"] == [
        "roles: API Integration is missing",
        "application enabled: false instead of true",
        "login agent: Admin (a human agent) instead of api-ansible",
    ]
