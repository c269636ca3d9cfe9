# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine against the sandbox: each case in check mode, for real, and again, through the action plugin that ships.

In check mode the sandbox refuses writes and the store must stay as it is; no result and no file outside of the store
may hold a secret; no lock is left. That holds for every run here, see role_runner.
"""

from __future__ import annotations

import datetime
import json
import re
import stat
import tempfile
import time
import unicodedata
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.errors import AnsibleError
from ansible_collections.haloops.halo.plugins.module_utils import client, rotation, run
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.plugin_utils import trail as trail_file
from halo_sandbox.testing import Sandbox
from helpers import in_process
from role_runner import CHECK, GONE, NAME, REAL, ROLLBACK, ROTATE, Case, Fleet, Go, Outcome, Tenant, leaks

INTEGRATOR = "Halo Integrator"
NO_SECRET = "the store knows no secret of it"
OWN = "it is what this run itself logs in with"
Steps = Generator[Go, Outcome, None]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def again(tenant: Tenant, go: Go = REAL, proven: bool = True) -> Steps:
    """One more run has nothing to do, and asks little."""
    outcome = yield go
    assert outcome.quiet, (outcome.message, outcome.writes, outcome.result)
    asked = [one["path"] for one in outcome.requests]
    assert len(asked) <= 3 + 3 * len(tenant.bindings), asked
    for binding in tenant.bindings if proven else []:
        assert outcome[binding["name"]]["drift"] == []
        assert outcome[binding["name"]]["verified"] is True
        assert tenant.proven(binding["name"])


def rotated(tenant: Tenant, reason: str, go: Go = REAL, name: str = NAME) -> Generator[Go, Outcome, Outcome]:
    """Check mode says why, the run makes one new secret, which is the one in force. Returns the run's outcome."""
    foretold = yield go.checking
    assert not foretold.failed, foretold.message
    assert foretold.changed
    assert (foretold[name]["rotated"], foretold[name]["reason"]) == (True, reason)
    done = yield go
    assert not done.failed, done.message
    assert (done[name]["rotated"], done[name]["reason"], done[name]["verified"]) == (True, reason, True)
    assert foretold.result.keys() - {"warnings"} == done.result.keys() - {"warnings"}
    for key in ("kind", "hosted", "agent_name", "drift", "changed"):
        assert foretold[name][key] == done[name][key]
    current = tenant.entry(name)["current"]
    assert tenant.entry(name)["pending"] is None
    assert (current["reason"], current["made_at"]) == (reason, done[name]["made_at"])
    assert tenant.proven(name)
    return done


def provisioned(tenant: Tenant, go: Go = REAL) -> Steps:
    outcome = yield go
    assert not outcome.failed, outcome.message
    assert tenant.bindings
    for binding in tenant.bindings:
        assert tenant.proven(binding["name"])


def refused(tenant: Tenant, expected: str, go: Go = REAL) -> Steps:
    """In check mode and for real it fails with these words, and changes nothing."""
    before = tenant.state, tenant.stored
    for how in (go.checking, go):
        outcome = yield how
        assert outcome.failed, outcome.result
        assert re.search(expected, outcome.message), outcome.message
        assert not outcome.writes
        assert not outcome.changed
    assert (tenant.state, tenant.stored) == before


def posts(outcome: Outcome, path: str) -> int:
    return [one.casefold() for one in outcome.writes].count(f"post /api/{path}")


# Causes


@case
def created(tenant: Tenant) -> Steps:
    spec = tenant.bind(application={"scopes": ["all", "read:tickets"]})
    spec["agent"].update(email="API@example.com", teams=["1st Line Support"])
    done = yield from rotated(tenant, "created")
    assert len(done.requests) <= 9
    assert (posts(done, "agent"), posts(done, "application")) == (1, 1)
    agent, application = tenant.agent("api-ansible"), tenant.application()
    assert agent["isapiagent"]
    assert [role["name"] for role in agent["roles"]] == ["API Integration"]
    assert sorted(scope["name"] for scope in application["scopes"]) == ["all", "read:tickets"]
    assert (done[NAME]["agent_id"], done[NAME]["application_id"]) == (agent["id"], application["id"])
    assert (done[NAME]["client_id"], done[NAME]["handover"]) == (application["clientId"], None)
    assert done[NAME]["drift"] == ["there is no such agent", "there is no such application"]
    assert len(done.warnings) == 1
    assert "is granted the scope all, which Halo says not to use in production" in done.warnings[0]
    assert (done.pending_actions, done[NAME]["error"]) == ([], None)
    entry = tenant.entry()
    assert (entry["origin"], entry["attempt"]) == ("created", 1)
    assert (entry["current"]["agent_id"], entry["current"]["agent_name"]) == (agent["id"], "api-ansible")
    files = list(tenant.inventory.glob("halo_credentials/**/*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600, 0o700}
    yield from again(tenant)


@case
def another_agent_that_is_new(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    first = tenant.secret()
    tenant.bind("api-successor")["agent"]["teams"] = ["1st Line Support"]
    done = yield from rotated(tenant, "agent_changed")
    assert len(done.requests) <= 9
    assert posts(done, "application") == 1
    assert "login agent: api-ansible instead of api-successor" in done[NAME]["drift"]
    assert tenant.secret() != first
    assert tenant.secret(label="previous") == first
    assert tenant.logs_in(tenant.application()["clientId"], first) is None
    assert tenant.agent("api-ansible")["isdisabled"] is False
    yield from again(tenant)


@case
def another_agent_that_is_there_already(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.put_agent("api-there")
    tenant.bind("API-There ")["agent"] = {"name": "API-There "}
    outcome = yield REAL
    assert not outcome.failed, outcome.message
    assert len(outcome.requests) <= 7
    assert len(tenant.agents("api-there")) == 1
    assert outcome[NAME]["reason"] == "agent_changed"
    assert tenant.proven(agent="api-there")
    yield from again(tenant, proven=False)


@case
def asked_for(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind(agent="api-two", name="Two")
    yield from provisioned(tenant)
    done = yield from rotated(tenant, "requested", ROTATE)
    assert done[NAME]["drift"] == []
    assert tenant.entry("Two")["previous"] is not None
    assert tenant.entry()["attempt"] == 2
    yield from again(tenant)
    # the playbook audit takes no notice of what is asked for, and the playbook rotate none of a survey's answer
    tenant.more["halo_integration_rotate_all"] = False
    yield from again(tenant, ROTATE)
    yield from again(tenant, ROLLBACK)
    tenant.more["halo_integration_rotate_all"] = True
    yield from rotated(tenant, "requested", Go(options={"rotate": False}))
    yield from rotated(tenant, "rollback", ROLLBACK)


@case
def rolled_back(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    first, client_id = tenant.secret(), tenant.application()["clientId"]
    tenant.bind("api-successor", previous_agent="disable")
    yield from provisioned(tenant)
    second = tenant.secret()
    done = yield from rotated(tenant, "rollback", ROLLBACK)
    assert len(done.requests) <= 6
    assert (posts(done, "application"), done.warnings, done[NAME]["drift"]) == (1, [], [])
    assert (tenant.secret(), tenant.secret(label="previous")) == (first, second)
    # the secret is the old one, and the agent is the one that is declared
    assert tenant.logs_in(client_id, first) == tenant.agent("api-successor")["id"]
    assert tenant.logs_in(client_id, second) is None
    assert tenant.agent("api-ansible")["isdisabled"] is True
    assert done.result["diff"]["after"][NAME]["application"]["client_secret"] == "previous (rollback)"
    yield from again(tenant)
    yield from rotated(tenant, "rollback", ROLLBACK)
    assert (tenant.secret(), tenant.secret(label="previous")) == (second, first)
    yield from again(tenant)


@case
def rolled_back_with_another_agent(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    first = tenant.secret()
    yield from rotated(tenant, "requested", ROTATE)
    tenant.bind("api-successor", previous_agent="disable")
    done = yield from rotated(tenant, "rollback", ROLLBACK)
    assert (tenant.secret(), posts(done, "application")) == (first, 1)
    assert tenant.agent("api-ansible")["isdisabled"] is True
    yield from again(tenant)


@case
def rolled_back_where_halo_makes_the_secrets(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    first = tenant.secret()
    yield from rotated(tenant, "requested", ROTATE)
    tenant.sandbox.settings(tenant.name, secret_policy="replace")
    done = yield from rotated(tenant, "rollback", ROLLBACK)
    assert tenant.secret() != first
    assert done[NAME]["warnings"] == ["Halo made a secret of its own instead of taking the previous one."]
    yield from again(tenant)


@case
def rolled_back_integrator(tenant: Tenant) -> Steps:
    tenant.bind(name=INTEGRATOR, kind="integrator")
    yield from provisioned(tenant)
    yield from refused(tenant, f"binding '{INTEGRATOR}': the store knows no previous secret", ROLLBACK)
    first = tenant.secret(INTEGRATOR)
    yield from rotated(tenant, "requested", ROTATE, name=INTEGRATOR)
    yield from rotated(tenant, "rollback", ROLLBACK, name=INTEGRATOR)
    assert tenant.secret(INTEGRATOR) == first
    yield from again(tenant)


@case
def rolled_back_where_there_is_nothing_to_go_back_to(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    yield from refused(tenant, f"binding '{NAME}': the store knows no previous secret", ROLLBACK)
    tenant.bind(agent="api-two", name="Two")
    outcome = yield ROLLBACK
    assert "2 of 2 bindings failed" in outcome.message
    assert not outcome.writes
    yield from provisioned(tenant)
    yield from rotated(tenant, "requested", ROTATE)
    # of one that was made anew
    tenant.rewrite(lambda entry: entry.update(previous=None), "Two")
    outcome = yield ROLLBACK
    assert (outcome[NAME]["reason"], outcome[NAME]["error"]) == ("rollback", None)
    assert "no previous secret" in outcome["Two"]["error"]
    assert posts(outcome, "application") == 1
    tenant.rewrite(lambda entry: entry["previous"].update(client_id="of another one"))
    two = tenant.bindings.pop()
    yield from refused(tenant, r"the previous secret is of the application .*\(client ID of another one\)", ROLLBACK)
    tenant.bindings.append(two)
    yield from again(tenant)


@case
def rolled_back_while_a_rotation_is_unfinished(tenant: Tenant) -> Steps:
    tenant.more["halo_retry_seconds"] = 0
    tenant.bind()
    yield from provisioned(tenant)
    first = tenant.secret()
    tenant.fault("status", "POST", "Application", status=400)
    outcome = yield ROTATE
    assert outcome.failed
    tenant.mend()
    yield from refused(tenant, r"a rotation \(requested\) was begun and has yet to be finished", ROLLBACK)
    yield from provisioned(tenant)
    yield from rotated(tenant, "rollback", ROLLBACK)
    assert tenant.secret() == first
    # and one that fails in the middle is taken up by a run that asks for nothing
    tenant.fault("status", "POST", "Application", status=400)
    second = tenant.secret(label="previous")
    outcome = yield ROLLBACK
    assert outcome.failed
    tenant.mend()
    yield from rotated(tenant, "rollback")
    assert tenant.secret() == second
    yield from again(tenant)


@case
def misspelt_rotate(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    wrong = Go(options={"rotate": "rolback"})
    yield from refused(tenant, "rotate must be true, false or rollback, .*; did you mean rollback\\?", wrong)
    yield from rotated(tenant, "requested", Go(options={"rotate": "yes"}))
    yield from again(tenant, Go(options={"rotate": "no"}))


# The audit trail

TRAIL = {"log_path": "trail.jsonl"}


def trail(tenant: Tenant) -> list[tuple[str, str, str, str]]:
    """What a run has noted: binding, action, cause and outcome."""
    path = tenant.inventory / TRAIL["log_path"]
    noted = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for one in noted:
        assert (one["instance"], one["tenant"]) == (tenant.url, None)
        assert one["client_id"] == tenant.entry(one["binding"])["current"]["client_id"]
    path.unlink(missing_ok=True)
    return [(one["binding"], one["action"], one["cause"], one["outcome"]) for one in noted]


def steps(cause: str, *actions: str, name: str = NAME) -> list[tuple[str, str, str, str]]:
    return [(name, action, cause, "ok") for action in actions or ("create", "set", "test", "finish")]


@case
def what_is_noted(tenant: Tenant) -> Steps:
    """No secret, as for all files: see role_runner."""
    tenant.bind()
    tenant.bind(agent="api-two", name="Two")
    note = Go(options=TRAIL)
    yield from rotated(tenant, "created", note)
    assert trail(tenant) == steps("created") + steps("created", name="Two")
    # neither a converged run nor check mode makes the file
    yield from again(tenant, note)
    yield Go(options={**TRAIL, "rotate": True}).checking
    assert trail(tenant) == []
    tenant.bind("api-successor", previous_agent="delete")
    yield from rotated(tenant, "agent_changed", note)
    assert trail(tenant) == [*steps("agent_changed"), *steps("agent_changed", "retire")]
    yield from rotated(tenant, "requested", Go(options={**TRAIL, "rotate": True}))
    assert trail(tenant) == steps("requested") + steps("requested", name="Two")
    yield from rotated(tenant, "rollback", Go(options={**TRAIL, "rotate": "rollback"}))
    back = ("rollback", "set", "test", "finish")
    assert trail(tenant) == steps("rollback", *back) + steps("rollback", *back, name="Two")


@case
def what_is_noted_of_what_fails(tenant: Tenant) -> Steps:
    tenant.more["halo_retry_seconds"] = 0
    tenant.bind()
    yield from provisioned(tenant)
    tenant.fault("status", "POST", "Application", status=400)
    note = Go(options={**TRAIL, "rotate": True})
    outcome = yield note
    assert outcome.failed
    created, failed = trail(tenant)
    assert created == (NAME, "create", "requested", "ok")
    assert failed[:3] == (NAME, "set", "requested")
    assert "POST /Application answered 400" in failed[3]
    tenant.mend()
    yield from rotated(tenant, "requested", Go(options=TRAIL))
    assert trail(tenant) == steps("requested")
    # and what is set and not proven is finished by the next run
    tenant.sandbox.fault("status", tenant=tenant.name, method="POST", path="^/auth/token$", status=503, skip=1)
    outcome = yield note
    assert outcome.failed
    assert [(action, outcome == "ok") for _name, action, _cause, outcome in trail(tenant)] == [
        ("create", True),
        ("set", True),
        ("test", False),
    ]
    tenant.mend()
    outcome = yield Go(options=TRAIL)
    assert not outcome.failed, outcome.message
    assert trail(tenant) == steps("requested", "test", "finish")
    yield from again(tenant, Go(options=TRAIL))


@case
def what_is_noted_of_the_end(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    path = tenant.inventory / TRAIL["log_path"]
    yield Go(options={**TRAIL, "state": "absent"}).checking
    assert not path.exists()
    path.mkdir()
    gone = Go(options={**TRAIL, "state": "absent"})
    before = tenant.state, tenant.stored
    outcome = yield gone
    assert "Is a directory. Nothing was changed" in outcome.message
    assert (tenant.state, tenant.stored) == before
    path.rmdir()
    outcome = yield gone
    assert not outcome.failed, outcome.message
    noted = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["action"], one["cause"], one["outcome"]) for one in noted] == [
        ("delete", "absent", "ok"),
        ("retire", "absent", "ok"),
    ]
    assert [one["agent"] for one in noted] == ["api-ansible", str(tenant.agent("api-ansible")["id"])]


@case
def what_is_noted_of_an_adoption(tenant: Tenant) -> Steps:
    tenant.put_application("known to someone", agent=tenant.put_agent("api-ansible")["id"])
    tenant.bind(adopt="proven", adopt_secret="known to someone")
    outcome = yield Go(options=TRAIL)
    assert not outcome.failed, outcome.message
    assert trail(tenant) == steps("proven", "adopt")


@case
def trail_that_cannot_be_kept(tenant: Tenant) -> Steps:
    tenant.bind()
    nowhere = {"log_path": str(tenant.inventory / "nowhere" / "trail.jsonl")}
    before = tenant.state, tenant.stored
    for options in (nowhere, {**nowhere, "rotate": True}):
        outcome = yield Go(options=options)
        assert outcome.failed
        assert re.search(
            f"binding '{NAME}': the audit trail .* its folder does not exist. Nothing was", outcome.message
        )
        assert not outcome.writes
        assert (tenant.state, tenant.stored) == before
        if not tenant.stored:
            yield from provisioned(tenant)
            # what is converged does not ask for it
            yield from again(tenant, Go(options=nowhere))
            before = tenant.state, tenant.stored
    # not even the agent is changed
    tenant.bindings[0]["agent"]["roles"] = ["Read Only"]
    outcome = yield Go(options=nowhere)
    assert not outcome.writes
    assert "its folder does not exist" in outcome.message


@case
def trail_that_fails_in_the_middle(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    with mock.patch.object(trail_file.FileTrail, "note", side_effect=HaloError("the disk is full.")):
        done = yield Go(options={**TRAIL, "rotate": True})
    assert not done.failed, done.message
    assert tenant.proven()
    assert done[NAME]["warnings"] == [
        f"the audit trail lacks the line of the step {action} (ok): the disk is full."
        for action in ("create", "set", "test", "finish")
    ]
    tenant.more["halo_retry_seconds"] = 0
    tenant.fault("status", "POST", "Application", status=400)
    with mock.patch.object(trail_file.FileTrail, "note", side_effect=HaloError("the disk is full.")):
        failed = yield Go(options={**TRAIL, "rotate": True})
    assert "POST /Application answered 400" in failed.message
    assert ["step create (ok)" in failed[NAME]["warnings"][0], "step set (" in failed[NAME]["warnings"][1]] == [
        True,
        True,
    ]
    tenant.mend()
    yield from provisioned(tenant)
    yield from again(tenant)


@case
def too_old(tenant: Tenant) -> Steps:
    tenant.bind(max_age_days=30)
    yield from provisioned(tenant)
    yield from again(tenant)
    tenant.rewrite(lambda entry: entry["current"].update(made_at="2026-01-01T00:00:00+00:00"))
    outcome = yield from rotated(tenant, "expired")
    made = datetime.datetime.fromisoformat(outcome[NAME]["made_at"])
    due = (yield REAL)[NAME]["due_at"]
    # at 80 % of the age, and a jitter of up to 10 %
    assert 21 <= (datetime.datetime.fromisoformat(due) - made) / datetime.timedelta(days=1) <= 27
    assert tenant.credential(max_age_days=30)["due_at"][:19] == due[:19]
    yield from again(tenant)


@case
def too_old_and_not_yet_time(tenant: Tenant) -> Steps:
    tenant.bind(max_age_days=30)
    yield from provisioned(tenant)
    now = datetime.datetime.now(datetime.UTC)
    made = now - datetime.timedelta(days=28)
    tenant.rewrite(lambda entry: entry["current"].update(made_at=made.isoformat()))
    tenant.more["halo_integration_jitter"] = 0
    closed, opened = ({"window": {"days": [f"{now + datetime.timedelta(days=days):%a}".lower()]}} for days in (3, 0))
    outcome = yield Go(options=closed)
    assert outcome.quiet, outcome.result
    yield from rotated(tenant, "expired", Go(options=opened))
    assert (yield Go(options=closed))[NAME]["due_at"].startswith(f"{now + datetime.timedelta(days=24):%Y-%m-%d}")
    # nothing holds back what has expired in full
    made -= datetime.timedelta(days=3)
    tenant.rewrite(lambda entry: entry["current"].update(made_at=made.isoformat()))
    yield from rotated(tenant, "expired", Go(options=closed))
    yield from again(tenant)


@case
def application_that_was_there_before(tenant: Tenant) -> Steps:
    tenant.put_application()
    tenant.bind()
    yield from rotated(tenant, "agent_changed")
    assert tenant.entry()["origin"] == "adopted"
    yield from again(tenant)


@case
def no_longer_valid(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "clientSecret": "set by hand"})
    yield from rotated(tenant, "invalid")
    yield from again(tenant)


@case
def not_verified_where_that_is_not_desired(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "clientSecret": "set by hand"})
    outcome = yield Go(options={"verify": False})
    assert outcome.quiet
    assert outcome[NAME]["verified"] is None
    assert [one["kind"] for one in outcome.requests].count("token") == 1
    # the same by the role's variable, which an option of the task goes before
    tenant.more["halo_integration_verify"] = "{{ 1 == 2 }}"
    assert (yield REAL).quiet
    yield from rotated(tenant, "invalid", Go(options={"verify": True}))


@case
def agent_changed_by_hand(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "loginas_agent_id": 4})
    yield from rotated(tenant, "agent_changed")
    yield from again(tenant)


@case
def application_renamed_in_halo(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "displayName": "Renamed"})
    yield from rotated(tenant, "created")
    yield from again(tenant)


@case
def agent_renamed_in_halo(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Agent", {"id": tenant.agent("api-ansible")["id"], "name": "someone else"})
    yield from rotated(tenant, "agent_changed")
    assert tenant.agent("api-ansible")["id"] != tenant.agent("someone else")["id"]
    yield from again(tenant)


@case
def drift_without_a_rotation(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    before = tenant.stored
    tenant.bindings[0]["application"]["scopes"] = ["read:customers"]
    tenant.bindings[0]["agent"]["roles"] = ["Read Only"]
    foretold = yield CHECK
    done = yield REAL
    for outcome in (foretold, done):
        assert not outcome.failed, outcome.message
        assert (outcome.changed, outcome[NAME]["changed"]) == (True, True)
        assert (outcome[NAME]["rotated"], outcome[NAME]["reason"]) == (False, "none")
        assert sorted(outcome[NAME]["drift"]) == [
            "roles: API Integration is not declared",
            "roles: Read Only is missing",
            "scopes: read:tickets is not declared",
        ]
        assert outcome[NAME]["verified"] is True
    assert (posts(done, "agent"), posts(done, "application")) == (1, 1)
    assert tenant.stored == before
    yield from again(tenant)


@case
def disabled_by_hand(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    before = tenant.stored
    tenant.post("Agent", {"id": tenant.agent("api-ansible")["id"], "isdisabled": True})
    foretold = yield CHECK
    assert (foretold[NAME]["rotated"], foretold[NAME]["drift"]) == (False, ["enabled: false instead of true"])
    done = yield REAL
    assert not done.failed, done.message
    assert (done[NAME]["rotated"], done[NAME]["verified"]) == (False, True)
    assert tenant.stored == before
    yield from again(tenant)


# What Halo answers


@case
def client_id_of_halos_own(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, client_id_policy="replace")
    tenant.bind()
    yield from rotated(tenant, "created")
    yield from again(tenant)


@case
def secret_of_halos_own(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, secret_policy="replace")
    tenant.bind()
    yield from rotated(tenant, "created")
    tenant.bind("api-successor")
    yield from rotated(tenant, "agent_changed")
    yield from again(tenant)


@case
def secret_of_halos_own_for_the_integrator(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, secret_policy="replace")
    tenant.bind(name=INTEGRATOR, kind="integrator")
    yield from rotated(tenant, "agent_changed", name=INTEGRATOR)
    yield from again(tenant)


def own_secret_kept(method: str, path: str, reason: str, **fault: Any) -> Case:
    """Halo makes its own secret, and what comes after its answer fails: the secret is not lost."""

    def run(tenant: Tenant) -> Steps:
        tenant.sandbox.settings(tenant.name, secret_policy="replace")
        tenant.more["halo_retry_seconds"] = 0
        tenant.bind()
        if reason != "created":
            yield from provisioned(tenant)
            tenant.bind("api-successor")
        tenant.sandbox.fault("status", tenant=tenant.name, method=method, path=path, status=500, times=None, **fault)
        outcome = yield REAL
        assert outcome.failed
        assert "500" in outcome.message
        pending = tenant.entry()["pending"]
        application = tenant.application()
        assert tenant.logs_in(application["clientId"], pending["client_secret"]) == application["loginas_agent_id"]
        tenant.mend()
        outcome = yield REAL
        assert not outcome.failed, outcome.message
        assert (posts(outcome, "application"), posts(outcome, "agent")) == (0, 0)
        assert tenant.secret() == pending["client_secret"]
        assert outcome[NAME]["reason"] == reason
        yield from again(tenant)

    return run


# the first login is the run's own
CASES["its_own_secret_and_then_no_login"] = own_secret_kept("POST", "^/auth/token$", "created", skip=1)
CASES["its_own_secret_and_then_no_login_of_another_agent"] = own_secret_kept(
    "POST", "^/auth/token$", "agent_changed", skip=1
)
CASES["its_own_secret_and_then_nobody_says_whose"] = own_secret_kept("GET", "^/api/agent/me$", "created")


EMPTY: dict[str, dict[str, Any]] = {
    "nothing": {"kind": "empty"},
    "204": {"kind": "empty", "status": 204},
    "null": {"kind": "status", "status": 200, "body": "null"},
    "an empty list": {"kind": "status", "status": 200, "body": "[]"},
    "an empty object": {"kind": "status", "status": 200, "body": "{}"},
    "no rows": {"kind": "status", "status": 200, "body": {"record_count": 0, "agents": [], "applications": []}},
    "an object of errors": {"kind": "status", "status": 200, "body": {"errors": [], "Message": "try again"}},
    "a list of something else": {"kind": "status", "status": 200, "body": {"tickets": []}},
}


def wrongly_empty(path: str, fault: dict[str, Any]) -> Case:
    """A list that is empty without reason makes nothing a second time, nor a first one."""

    def run(tenant: Tenant) -> Steps:
        tenant.fault(method="GET", path=path, times=None, **fault)
        tenant.bind()
        yield from refused(tenant, f"GET /{path}")
        tenant.mend()
        yield from provisioned(tenant)
        tenant.fault(method="GET", path=path, times=None, **fault)
        yield from refused(tenant, f"GET /{path}")
        yield from refused(tenant, f"GET /{path}", GONE if path == "Application" else ROTATE)
        tenant.mend()
        yield from again(tenant)

    return run


for kind, spec in EMPTY.items():
    for listed in ("Agent", "Application"):
        CASES[f"GET {listed} gives {kind}"] = wrongly_empty(listed, spec)


@case
def list_that_lacks_the_runs_own_application(tenant: Tenant) -> Steps:
    tenant.bind()
    others = [row for row in tenant.state["applications"] if row["displayName"] != "Automation"]
    tenant.fault("status", "GET", "Application", status=200, body=others, times=None)
    for go in (CHECK, REAL):
        outcome = yield go
        assert "lacks the one that this run logs in with" in " ".join(outcome.warnings), outcome.warnings


def cannot_be_read(path: str, **declared: Any) -> Case:
    """What a list names and nobody can read is there all the same."""

    def run(tenant: Tenant) -> Steps:
        tenant.bind()
        yield from provisioned(tenant)
        tenant.bindings[0]["agent"].update(declared)
        tenant.fault("status", "GET", path, status=404, times=None)
        yield from refused(tenant, "it is in the list with the id .* and cannot be read")
        tenant.mend()
        outcome = yield REAL
        assert not outcome.failed, outcome.message
        assert (len(tenant.agents("api-ansible")), len(tenant.applications(NAME))) == (1, 1)
        yield from again(tenant)

    return run


CASES["an agent that is listed and gives 404"] = cannot_be_read(r"Agent/\d+", roles=["Read Only"])
CASES["an application that is listed and gives 404"] = cannot_be_read("Application/[0-9a-f-]+")


@case
def second_object_of_the_name(tenant: Tenant) -> Steps:
    """It is reported although the store knows the id of the first."""
    tenant.bind()
    yield from provisioned(tenant)
    twin = tenant.put_agent("API-ansible")
    yield from refused(tenant, f"agent 'api-ansible': there are 2 of this name, with the ids .*{twin['id']}")
    tenant.post("Agent", {"id": twin["id"], "name": "another"})
    twin = tenant.put_application()
    yield from refused(tenant, f"application '{NAME}': there are 2 of this name, with the ids .*{twin['id']}")
    yield from refused(tenant, "there are 2 of this name", GONE)


def shortened(length: int, noun: str) -> Case:
    def run(tenant: Tenant) -> Steps:
        tenant.bind("api-agent-0123456789", name="Application with a rather long name")
        tenant.sandbox.settings(tenant.name, longest_name=length)
        outcome = yield REAL
        assert outcome.failed
        assert f"{noun} 'A" in outcome.message or f"{noun} 'api" in outcome.message, outcome.message
        assert "Halo made it under another name" in outcome.message

    return run


CASES["a name of an agent that Halo shortens"] = shortened(10, "agent")
CASES["a name of an application that Halo shortens"] = shortened(25, "application")


@case
def one_name_in_two_spellings_of_unicode(tenant: Tenant) -> Steps:
    names = [[unicodedata.normalize(form, name) for name in ("api-é", "Zürich")] for form in ("NFD", "NFC")]
    assert names[0] != names[1]
    tenant.put_agent(names[0][0])
    tenant.bind(names[1][0], name=names[1][1])["agent"] = {"name": names[1][0]}
    yield from rotated(tenant, "created", name=names[1][1])
    assert len([one for one in tenant.state["agents"] if one["name"] in (names[0][0], names[1][0])]) == 1
    tenant.bindings.clear()
    tenant.bind(names[0][0], name=names[0][1])["agent"] = {"name": names[0][0]}
    outcome = yield REAL
    assert outcome.quiet, outcome.result
    assert tenant.credential(names[0][1]) == tenant.credential(names[1][1])


# Bindings


@case
def two_bindings_that_share_a_new_agent(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind(name="Another")
    yield from rotated(tenant, "created")
    assert tenant.proven("Another")
    assert len(tenant.agents("api-ansible")) == 1
    yield from again(tenant)
    tenant.bind("api-successor")
    tenant.bind("api-successor", name="Another")
    yield from provisioned(tenant)
    assert len(tenant.agents("api-successor")) == 1
    yield from again(tenant)


@case
def names_that_are_not_plain(tenant: Tenant) -> Steps:
    for name in ("Jörg's + 日本語", "../../../escape", "a/b\\c: {d}", "  blanks  ", "#: [x] & *y !z"):
        tenant.bind(agent=f"api {name.strip()}", name=name)
    outcome = yield REAL
    assert not outcome.failed, outcome.message
    assert set(outcome.result["bindings"]) == {one["name"] for one in tenant.bindings}
    files = {path.resolve() for path in tenant.inventory.parent.rglob("*escape*")}
    assert all(tenant.inventory.resolve() / "halo_credentials" in path.parents for path in files)
    assert files
    outcome = yield REAL
    assert outcome.quiet, outcome.result


@case
def nothing_declared(tenant: Tenant) -> Steps:
    outcome = yield REAL
    assert outcome.quiet
    assert outcome.result["bindings"] == {}


@case
def one_of_three_that_fails(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind("api-bad", name="Bad")["agent"]["roles"] = ["Chief"]
    tenant.bind("api-good", name="Good")
    for go in (CHECK, REAL):
        outcome = yield go
        assert outcome.failed
        assert outcome.message.count("there is no role 'Chief'") == 1
        assert "Bad: " in outcome.message
        assert "1 of 3 bindings failed" in outcome.message
        assert [outcome[name]["error"] is None for name in (NAME, "Bad", "Good")] == [True, False, True]
        assert [outcome[name]["rotated"] for name in (NAME, "Bad", "Good")] == [True, False, True]
    assert tenant.proven()
    assert tenant.proven("Good")
    assert (tenant.applications("Bad"), tenant.agents("api-bad")) == ([], [])
    tenant.bindings[1]["agent"]["roles"] = []
    outcome = yield REAL
    assert not outcome.failed, outcome.message
    assert [outcome[name]["rotated"] for name in (NAME, "Bad", "Good")] == [False, True, False]
    yield from again(tenant)


@case
def one_of_three_that_fails_in_the_middle_of_its_work(tenant: Tenant) -> Steps:
    tenant.more["halo_retry_seconds"] = 0
    for name in ("One", "Two", "Three"):
        tenant.bind(f"api-{name}", name=name)
    tenant.fault("status", "POST", "Application", status=400, body={"Message": "Not today"}, skip=1)
    outcome = yield REAL
    assert outcome.failed
    assert "1 of 3 bindings failed: Two: " in outcome.message
    assert "Not today" in outcome.message
    assert outcome.result["error"]["status"] == 400
    assert [outcome[name]["verified"] for name in ("One", "Two", "Three")] == [True, None, True]
    assert [bool(outcome[name]["error"]) for name in ("One", "Two", "Three")] == [False, True, False]
    outcome = yield REAL
    assert not outcome.failed, outcome.message
    assert posts(outcome, "application") == 1
    yield from again(tenant)


# The previous agent


def switch(tenant: Tenant, previous_agent: str) -> Generator[Go, Outcome, Outcome]:
    tenant.bind(previous_agent=previous_agent)
    yield from provisioned(tenant)
    tenant.bind("api-successor")
    return (yield from rotated(tenant, "agent_changed"))


@case
def previous_agent_kept(tenant: Tenant) -> Steps:
    done = yield from switch(tenant, "keep")
    assert tenant.agent("api-ansible")["isdisabled"] is False
    assert done[NAME]["previous_agent"] is None
    assert done[NAME]["previous_agent_id"] == tenant.agent("api-ansible")["id"]
    yield from again(tenant)


@case
def previous_agent_disabled(tenant: Tenant) -> Steps:
    done = yield from switch(tenant, "disable")
    assert tenant.agent("api-ansible")["isdisabled"] is True
    assert done[NAME]["previous_agent"] == "disabled"
    order = [(one["method"], one["kind"]) for one in done.requests]
    proof, retired = len(order) - order[::-1].index(("POST", "token")), len(order) - order[::-1].index(("POST", "api"))
    assert proof < retired, "it was disabled before the new secret was proven"
    yield from again(tenant)


@case
def previous_agent_deleted(tenant: Tenant) -> Steps:
    done = yield from switch(tenant, "delete")
    assert tenant.agents("api-ansible") == []
    assert done[NAME]["previous_agent"] == "deleted"
    yield from again(tenant)


@case
def previous_agent_that_another_application_needs(tenant: Tenant) -> Steps:
    tenant.bind(previous_agent="delete")
    tenant.bind(name="Another")
    yield from provisioned(tenant)
    tenant.bind("api-successor")
    done = yield from rotated(tenant, "agent_changed")
    assert tenant.agent("api-ansible")["isdisabled"] is False
    assert "still the login agent of application 'Another'" in done[NAME]["previous_agent"]
    assert "still the login agent of application 'Another'" in " ".join(done.warnings)
    assert tenant.proven("Another")
    yield from again(tenant)


def human(previous_agent: str) -> Case:
    def run(tenant: Tenant) -> Steps:
        tenant.put_application(agent=4)
        tenant.bind(previous_agent=previous_agent)
        done = yield from rotated(tenant, "agent_changed")
        person = tenant.agent("Bianca Rossi")
        assert (person["isdisabled"], person["isapiagent"]) == (False, False)
        for text in (done[NAME]["previous_agent"], " ".join(done[NAME]["warnings"]), " ".join(done.warnings)):
            assert "'Bianca Rossi' is a human one and stays as it is" in text
        yield from again(tenant)

    return run


CASES["previous_agent_who_is_a_person_not_disabled"] = human("disable")
CASES["previous_agent_who_is_a_person_not_deleted"] = human("delete")


@case
def two_previous_agents_outstanding(tenant: Tenant) -> Steps:
    """The run from A to B fails before A is retired; the one from B to C retires both."""
    for name in ("api-b", "api-c"):
        tenant.put_agent(name)
    tenant.bind("api-a", previous_agent="disable")
    yield from provisioned(tenant)
    tenant.more["halo_retry_seconds"] = 0
    tenant.bindings[0]["agent"] = {"name": "api-b"}
    tenant.fault("status", "POST", "Agent", status=400, times=None)
    outcome = yield REAL
    assert outcome.failed
    assert tenant.proven()
    assert [one["agent_id"] for one in tenant.entry()["outstanding"]["retire"]] == [str(tenant.agent("api-a")["id"])]
    tenant.mend()
    tenant.bindings[0]["agent"] = {"name": "api-c"}
    outcome = yield REAL
    assert not outcome.failed, outcome.message
    assert [tenant.agent(f"api-{one}")["isdisabled"] for one in "abc"] == [True, True, False]
    assert tenant.entry()["outstanding"] == {"deliver": None, "retire": []}
    yield from again(tenant)


@case
def previous_agent_that_is_logged_in_as_again(tenant: Tenant) -> Steps:
    tenant.put_agent("api-b")
    tenant.bind("api-a", previous_agent="delete")
    yield from provisioned(tenant)
    tenant.more["halo_retry_seconds"] = 0
    tenant.bindings[0]["agent"] = {"name": "api-b"}
    tenant.fault("status", "DELETE", r"Agent/\d+", status=400, times=None)
    assert (yield REAL).failed
    tenant.mend()
    tenant.bindings[0]["agent"] = {"name": "api-a"}
    outcome = yield REAL
    assert not outcome.failed, outcome.message
    assert tenant.agents("api-b") == []
    assert tenant.agent("api-a")["isdisabled"] is False
    yield from again(tenant)


def not_retired(method: str, path: str, **fault: Any) -> Case:
    """What cannot be seen to be retired stays outstanding, and the next run does it."""

    def run(tenant: Tenant) -> Steps:
        tenant.put_agent("api-there")
        tenant.bind(previous_agent="disable")
        yield from provisioned(tenant)
        tenant.bindings[0]["agent"] = {"name": "api-there"}
        tenant.fault(method=method, path=path, **fault)
        outcome = yield REAL
        assert outcome.failed, outcome.result
        assert "previous agent" in outcome.message
        assert outcome[NAME]["rotated"] is True
        assert tenant.proven()
        assert len(tenant.entry()["outstanding"]["retire"]) == 1
        assert tenant.agent("api-ansible")["isdisabled"] is False
        foretold = yield CHECK
        assert (foretold.failed, foretold.changed) == (False, True)
        outcome = yield REAL
        assert not outcome.failed, outcome.message
        assert outcome[NAME]["previous_agent"] == "disabled"
        assert (outcome[NAME]["rotated"], posts(outcome, "application")) == (False, 0)
        assert tenant.agent("api-ansible")["isdisabled"] is True
        yield from again(tenant)

    return run


for kind, spec in {
    "nothing": {"kind": "empty"},
    "null": {"kind": "status", "status": 200, "body": "null"},
    "404": {"kind": "status", "status": 404},
    "another agent": {"kind": "status", "status": 200, "body": {"id": 3, "name": "Admin", "isapiagent": True}},
}.items():
    CASES[f"a retirement whose GET gives {kind}"] = not_retired("GET", r"Agent/\d+", **spec)
CASES["a retirement whose POST does nothing"] = not_retired(
    "POST", "Agent", kind="status", status=200, body={"id": 8, "isdisabled": True}
)


# The Integrator


@case
def integrator_of_ones_own(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, hosted_integrator=False)
    tenant.bind(name=INTEGRATOR, kind="integrator")
    done = yield from rotated(tenant, "agent_changed", name=INTEGRATOR)
    assert posts(done, "control") == 1
    assert (done[INTEGRATOR]["hosted"], done[INTEGRATOR]["handover"]) == (False, None)
    assert done.pending_actions == []
    yield from again(tenant)


@case
def integrator_that_halo_hosts(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, hosted_integrator=True)
    tenant.bind("api-integrator", name=INTEGRATOR, kind="integrator")
    yield from refused(tenant, "it is hosted by Halo.*allow_hosted")
    tenant.bindings[0]["allow_hosted"] = True
    done = yield from rotated(tenant, "agent_changed", name=INTEGRATOR)
    text = done[INTEGRATOR]["handover"]
    for word in (tenant.url, tenant.state["control"]["client_id_halointegrator"], "api-integrator"):
        assert word in text
    assert done.pending_actions == [{"action": "handover", "name": INTEGRATOR}]
    # without leave, what is in order stays in order
    del tenant.bindings[0]["allow_hosted"]
    yield from again(tenant, proven=False)
    yield from refused(tenant, "it is hosted by Halo", ROTATE)
    # nor is it replaced where it is too old or no longer known
    tenant.bindings[0]["max_age_days"] = 0
    outcome = yield REAL
    assert outcome.quiet, outcome.result


# The run's own application


def own(tenant: Tenant, **application: Any) -> None:
    tenant.bindings.append(
        {"name": "Automation", "agent": {"name": "api-automation"}, "application": application, "adopt": "rotate"}
    )


@case
def own_application_rotated(tenant: Tenant) -> Steps:
    own(tenant)
    tenant.bind()
    yield from refused_alone(tenant, OWN)
    tenant.bindings[0]["allow_self"] = True
    first = tenant.login["client_secret"]
    done = yield ROTATE
    assert not done.failed, done.message
    # it comes last, and the run goes on with its new secret
    assert list(done.result["bindings"]) == [NAME, "Automation"]
    assert done.pending_actions == [{"action": "own_login", "name": "Automation"}]
    assert tenant.proven("Automation")
    assert tenant.proven(NAME)
    assert tenant.logs_in(tenant.login["client_id"], first) is None
    # the inventory has the old secret still: the run logs in with the stored one
    for go in (CHECK, REAL):
        outcome = yield go
        assert not outcome.failed, outcome.message
        assert not outcome.changed
        assert outcome.pending_actions == [{"action": "own_login", "name": "Automation"}]
    outcome = yield ROTATE
    assert not outcome.failed, outcome.message
    assert tenant.proven("Automation")
    tenant.login["client_secret"] = tenant.secret("Automation")
    yield from again(tenant)


def refused_alone(tenant: Tenant, expected: str) -> Steps:
    """The first binding is refused and stays as it is; the others are done."""
    name = tenant.bindings[0]["name"]
    was = tenant.application(name)
    for go in (CHECK, REAL):
        outcome = yield go
        assert outcome.failed
        assert re.search(expected, outcome[name]["error"] or ""), outcome[name]
        assert not outcome[name]["changed"]
    assert tenant.application(name) == was
    assert all(tenant.proven(binding["name"]) for binding in tenant.bindings[1:])


@case
def own_application_with_the_previous_agent_to_retire(tenant: Tenant) -> Steps:
    tenant.put_agent("api-next")
    own(tenant)
    tenant.bindings[0].update(agent={"name": "api-next"}, allow_self=True, previous_agent="disable")
    foretold = yield CHECK
    # there is nothing yet to go on with
    assert foretold.pending_actions == []
    done = yield from rotated(tenant, "agent_changed", name="Automation")
    assert done["Automation"]["previous_agent"] == "disabled"
    tenant.login["client_secret"] = tenant.secret("Automation")
    yield from again(tenant)


def own_login_changed(more: dict[str, Any] | None = None, expected: str = OWN, **application: Any) -> Case:
    """What a login hangs on is not changed on the run's own application by accident."""

    def run(tenant: Tenant) -> Steps:
        own(tenant, **application)
        if more is not None:
            tenant.more.update(more, halo_access_token=tenant.token())
        yield from refused(tenant, expected)
        tenant.bindings[0]["application"] = {"redirect_uris": ["https://example.com/back"]}
        tenant.bindings[0].update(adopt="proven", adopt_secret=tenant.login["client_secret"])
        outcome = yield REAL
        assert not outcome.failed, outcome.message
        assert outcome["Automation"]["changed"]

    return run


ANONYMOUS = {"halo_client_id": None, "halo_client_secret": None}
CASES["its own application's scopes"] = own_login_changed(scopes=["admin"])
CASES["its own application's method"] = own_login_changed(authentication_method="authorization_code")
CASES["its own application disabled"] = own_login_changed(enabled=False)
CASES["its own application's scopes, by a token"] = own_login_changed(ANONYMOUS, "it may be what", scopes=["admin"])
CASES["its own application's secret, by a token"] = own_login_changed(ANONYMOUS, "it may be what")


# The user's own tasks


@case
def delivery(tenant: Tenant) -> Steps:
    tenant.bind(on_rotated="tasks/deliver.yml")
    foretold = yield CHECK
    assert foretold.pending_actions == []
    done = yield REAL
    (action,) = done.pending_actions
    made_at = tenant.entry()["current"]["made_at"]
    assert action == {
        "action": "deliver",
        "name": NAME,
        "kind": "application",
        "made_at": made_at,
        "on_rotated": str(tenant.inventory / "tasks/deliver.yml"),
    }
    application = tenant.application()
    assert tenant.credential() == {
        "client_id": application["clientId"],
        "client_secret": tenant.secret(),
        "agent_name": "api-ansible",
        "scope": "read:customers read:tickets",
        "made_at": made_at,
        "due_at": None,
        "url": tenant.url,
        "tenant": None,
    }
    # until somebody says that it is done, it is to be done
    outcome = yield REAL
    assert outcome.pending_actions == [action]
    assert not outcome.writes
    # an old acknowledgement does not clear a newer debt
    outcome = yield ROTATE
    (newer,) = outcome.pending_actions
    stale = yield Go(options={"acknowledge": {"name": NAME, "made_at": made_at}})
    assert (stale.failed, stale.changed, stale.requests) == (False, False, [])
    assert (yield REAL).pending_actions == [newer]
    acknowledged = Go(options={"acknowledge": {"name": NAME, "made_at": newer["made_at"]}})
    assert (yield Go(options=acknowledged.options, check=True)).changed
    assert (yield acknowledged).changed
    outcome = yield REAL
    assert outcome.quiet
    assert outcome.pending_actions == []


@case
def delivery_that_waits_while_something_else_fails(tenant: Tenant) -> Steps:
    """A secret is to be delivered although its binding's old agent cannot be retired."""
    tenant.put_agent("api-there")
    tenant.bind(previous_agent="disable")
    yield from provisioned(tenant)
    tenant.bindings[0].update(agent={"name": "api-there"}, on_rotated="tasks/deliver.yml")
    tenant.fault("status", "GET", "Control", status=400, times=None)
    for _run in range(2):
        outcome = yield Go(options={"defer_failure": True})
        assert not outcome.failed
        assert "previous agent" in outcome.message
        assert [one["action"] for one in outcome.pending_actions] == ["deliver"], outcome.result
    tenant.mend()
    outcome = yield REAL
    assert not outcome.failed, outcome.message
    assert [one["action"] for one in outcome.pending_actions] == ["deliver"]


@case
def failure_of_one_while_another_is_to_be_delivered(tenant: Tenant) -> Steps:
    tenant.bind(on_rotated="tasks/deliver.yml")
    tenant.bind("api-bad", name="Bad")["agent"]["roles"] = ["Chief"]
    outcome = yield Go(options={"defer_failure": True})
    assert not outcome.failed
    assert "there is no role 'Chief'" in outcome.message
    assert [one["name"] for one in outcome.pending_actions] == [NAME]
    # nothing left to wait for: it fails at once
    tenant.bindings[0].pop("on_rotated")
    outcome = yield Go(options={"defer_failure": True})
    assert outcome.failed


@case
def tasks_of_the_users_own_that_are_not_there(tenant: Tenant) -> Steps:
    tenant.bind(on_rotated="tasks/nowhere.yml")
    yield from refused(tenant, "there is no file tasks/nowhere.yml")


# The store, and a secret that it does not know


def missed(change: str) -> Case:
    """The store does not know a secret that someone may be using: it is not replaced."""

    def run(tenant: Tenant) -> Steps:
        tenant.bind()
        yield from provisioned(tenant)
        more = {
            "another folder": {"halo_integration_store_dir": "halo_credentials_moved"},
            "a host by another name": {"halo_url": tenant.url.replace("127.0.0.1", "localhost")},
            "a tenant's name": {"halo_tenant": tenant.name},
            "a key": {"halo_integration_store_key": "moved"},
        }.get(change, {})
        if change == "nothing in the store":
            tenant.lose_store()
        before = tenant.stored
        tenant.more.update(more)
        yield from refused(tenant, NO_SECRET)
        outcome = yield REAL
        for word in ("another store", "another address or tenant name", "adopt: rotate", "adopt: proven"):
            assert word in outcome.message
        assert tenant.stored == before
        for name in more:
            del tenant.more[name]
        tenant.bindings[0]["adopt"] = "rotate" if change == "nothing in the store" else "false"
        outcome = yield REAL
        assert not outcome.failed
        assert outcome[NAME]["rotated"] is (change == "nothing in the store")
        yield from again(tenant)

    return run


for kind in ("nothing in the store", "another folder", "a host by another name", "a tenant's name", "a key"):
    CASES[f"a store that misses by {kind}"] = missed(kind)


@case
def the_same_address_spelt_otherwise(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.more["halo_url"] = tenant.url.replace("http://", "HTTP://") + "/"
    yield from again(tenant)


@case
def adopted_by_a_new_secret(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.put_application(agent=tenant.put_agent("api-ansible")["id"])
    tenant.bindings[0]["agent"] = {"name": "api-ansible"}
    yield from refused(tenant, NO_SECRET)
    tenant.bindings[0]["adopt"] = "rotate"
    yield from rotated(tenant, "missing")
    assert tenant.entry()["origin"] == "adopted"
    # said once and for all: what is known is not replaced
    yield from again(tenant)


@case
def adopted_as_it_is(tenant: Tenant) -> Steps:
    row = tenant.put_application("in force since last year", agent=tenant.put_agent("api-ansible")["id"])
    tenant.bind(adopt="proven", max_age_days=30)["agent"] = {"name": "api-ansible"}
    tenant.bindings[0]["application"] = {}
    yield from refused(tenant, "adopt: proven needs adopt_secret")
    tenant.bindings[0]["adopt_secret"] = "not this one"
    tenant.known.add("not this one")
    yield from refused(tenant, "adopt_secret does not log in as api-ansible")
    tenant.bindings[0]["adopt_secret"] = "in force since last year"
    foretold = yield CHECK
    assert (foretold.failed, foretold.changed, foretold[NAME]["rotated"]) == (False, True, False)
    done = yield REAL
    assert not done.failed, done.message
    assert not done.writes
    assert (done[NAME]["rotated"], done[NAME]["verified"]) == (False, True)
    entry = tenant.entry()
    assert (entry["origin"], tenant.secret()) == ("adopted", "in force since last year")
    assert entry["current"]["client_id"] == row["clientId"]
    assert tenant.proven()
    # its age counts from now on
    yield from again(tenant)


@case
def adopted_as_someone_else(tenant: Tenant) -> Steps:
    """A secret that logs in is not enough: it must log in as the agent."""
    tenant.put_application("in force", agent=tenant.put_agent("api-ansible")["id"])
    tenant.fault("status", "GET", "Agent/me", status=200, body={"id": 3, "name": "Admin"}, times=None)
    tenant.bind(adopt="proven", adopt_secret="in force")["agent"] = {"name": "api-ansible"}
    tenant.bindings[0]["application"] = {}
    yield from refused(tenant, "adopt_secret does not log in as api-ansible")


@case
def vault_file(tenant: Tenant) -> Steps:
    tenant.more["halo_integration_store"] = None
    tenant.bind()
    yield from refused(tenant, "--vault-password-file or --vault-id", Go(vault=None))
    yield from rotated(tenant, "created")
    files = [path.read_bytes() for path in tenant.inventory.glob("halo_credentials/*/*.yml")]
    assert not any(tenant.secret().encode() in content for content in files)
    assert any(content.startswith(b"$ANSIBLE_VAULT;1.1;AES256\n") for content in files)
    yield from refused(tenant, "[Vv]ault|decrypt", Go(vault="wrong"))
    yield from again(tenant)
    tenant.more["halo_integration_store"] = "file"
    yield from refused(tenant, "is encrypted, and the store is 'file'")


@case
def plain_file_that_is_cut_off(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind("api-two", name="Two")
    yield from provisioned(tenant)
    (path,) = (path for path, content in tenant._files() if content["binding"] == NAME)
    whole = path.read_bytes()
    # at the end of a line, so that it is YAML still
    for length in (len(whole) - 1 - len("end: true"), whole.index(b"\n", len(whole) // 2), 0):
        path.write_bytes(whole[:length])
        outcome = yield REAL
        assert outcome.failed
        assert "not what this store writes" in outcome[NAME]["error"], outcome[NAME]
        assert outcome["Two"]["verified"] is True
        assert not outcome.writes
    path.write_bytes(whole)
    yield from again(tenant)


@case
def relative_folder_and_no_inventory(tenant: Tenant) -> Steps:
    tenant.bind()
    for none in (None, "None"):
        tenant.more.update(inventory_dir=none, halo_integration_store_dir="secrets")
        yield from refused(tenant, r"halo_integration_store_dir is relative \(secrets\).*absolute path")
        del tenant.more["halo_integration_store_dir"]
        yield from refused(tenant, "no inventory folder to make one in.*halo_integration_store_dir")
    tenant.more["halo_integration_store_dir"] = str(tenant.inventory / "halo_credentials")
    yield from rotated(tenant, "created")


@case
def folder_of_a_job(tenant: Tenant) -> Steps:
    tenant.bind()
    job = {"AWX_PRIVATE_DATA_DIR": str(tenant.inventory)}
    yield from refused(tenant, "is gone when this job ends.*ephemeral: true", Go(environment=job))
    tenant.more["halo_integration_store_options"] = {"ephemeral": True}
    yield from rotated(tenant, "created", Go(environment=job))
    del tenant.more["halo_integration_store_options"]
    # the folder of a plain ansible-runner stays where it is
    yield from again(tenant)


# Requests in flight


@case
def request_that_may_be_on_its_way(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)

    def begun(entry: dict[str, Any]) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        secret = "00000000-0000-4000-8000-000000000000-00000000-0000-4000-8000-000000000001"
        entry["pending"] = {**entry["current"], "client_secret": secret, "made_at": now, "reason": "requested"}
        entry["pending"]["in_flight"] = True

    tenant.more["halo_timeout"] = 2
    for on_its_way in (True, False):
        tenant.rewrite(begun)
        tenant.rewrite(lambda entry, flies=on_its_way: entry["pending"].update(in_flight=flies))
        started = time.monotonic()
        outcome = yield REAL
        took = time.monotonic() - started
        assert (took > 1) is on_its_way, took
        assert outcome[NAME]["reason"] == "requested"
        yield from again(tenant)


def answer_that_comes_too_late(tenant: Tenant) -> Steps:
    """The POST takes longer than the time-out; the application is made once, whoever looks when."""
    tenant.more.update(halo_timeout=1, halo_retry_seconds=0)
    tenant.bind()
    tenant.fault("delay", "POST", "Application", seconds=1.6)
    outcome = yield REAL
    while outcome.failed:
        assert len(tenant.applications(NAME)) <= 1
        outcome = yield REAL
    time.sleep(0.7)
    assert len(tenant.applications(NAME)) == 1
    assert tenant.proven()
    yield from again(tenant)


# The environment alone


@case
def everything_from_the_environment(tenant: Tenant) -> Steps:
    environment = {
        "HALO_URL": tenant.url,
        "HALO_CLIENT_ID": tenant.login["client_id"],
        "HALO_CLIENT_SECRET": tenant.login["client_secret"],
        "HALO_TENANT": tenant.name,
        # set but empty counts as not set
        "HALO_ACCESS_TOKEN": "",
    }
    go = Go(environment=environment)
    tenant.more.update(dict.fromkeys(("halo_url", "halo_client_id", "halo_client_secret")))
    tenant.bind(on_rotated="tasks/deliver.yml")
    done = yield from rotated(tenant, "created", go)
    assert done.result["instance"] == tenant.url
    stored = tenant.credential(environment=environment)
    assert (stored["url"], stored["tenant"], stored["client_secret"]) == (tenant.url, tenant.name, tenant.secret())
    (action,) = done.pending_actions
    acknowledge = {key: action[key] for key in ("name", "made_at")}
    assert (yield Go(environment=environment, options={"acknowledge": acknowledge})).changed
    yield from again(tenant, go)
    outcome = yield Go(environment={**environment, "HALO_URL": ""})
    assert outcome.failed
    assert "halo_url" in outcome.message
    outcome = yield Go(environment=environment, options={"state": "absent"})
    assert not outcome.failed, outcome.message
    assert tenant.applications(NAME) == []


# The way out


@case
def decommissioned(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind("api-two", name="Two")
    yield from provisioned(tenant)
    secret = tenant.secret()
    foretold = yield GONE.checking
    assert not foretold.failed, foretold.message
    assert foretold.changed
    done = yield GONE
    assert not done.failed, done.message
    assert [done[name]["changed"] for name in (NAME, "Two")] == [True, True]
    assert done[NAME]["previous_agent"] == "disabled"
    assert tenant.applications(NAME) == tenant.applications("Two") == []
    assert tenant.agent("api-ansible")["isdisabled"] is True
    entry = tenant.entry()
    assert (entry["pending"], entry["current"]) == (None, None)
    assert tenant.secret(label="previous") == secret
    outcome = yield GONE
    assert outcome.quiet, (outcome.message, outcome.result)
    yield from rotated(tenant, "created")
    assert tenant.agent("api-ansible")["isdisabled"] is False
    delete = Go(options={"state": "absent", "decommission_agent": "delete"})
    done = yield delete
    assert not done.failed, done.message
    assert tenant.agents("api-ansible") == tenant.agents("api-two") == []


@case
def decommissioned_but_for_the_agent(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind(name="Stays")
    yield from provisioned(tenant)
    staying = tenant.bindings.pop()
    done = yield GONE
    assert not done.failed, done.message
    assert "still the login agent of application 'Stays'" in " ".join(done.warnings + done[NAME]["warnings"])
    assert tenant.agent("api-ansible")["isdisabled"] is False
    tenant.bindings[:] = [staying]
    yield from again(tenant)


@case
def not_decommissioned_what_was_there_before(tenant: Tenant) -> Steps:
    tenant.put_application()
    tenant.bind()
    # all are looked at before the first is deleted
    tenant.bindings.insert(0, {**tenant.bindings[0], "name": "Made", "agent": {"name": "api-made"}})
    yield from provisioned(tenant)
    yield from refused(tenant, "was there before", GONE)
    done = yield Go(options={**GONE.options, "decommission_adopted": True})
    assert not done.failed, done.message
    assert tenant.applications(NAME) == tenant.applications("Made") == []


@case
def not_decommissioned_what_the_store_does_not_know(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.lose_store()
    yield from refused(tenant, "the store knows nothing of it", GONE)
    tenant.bindings[0]["adopt"] = "rotate"
    yield from rotated(tenant, "missing")
    yield from refused(tenant, "was there before", GONE)
    done = yield Go(options={**GONE.options, "decommission_adopted": True})
    assert not done.failed, done.message
    assert tenant.applications(NAME) == []
    assert tenant.agent("api-ansible")["isdisabled"] is True


@case
def not_decommissioned_another_application_of_the_name(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "displayName": "Renamed"})
    tenant.put_application()
    outcome = yield GONE
    assert outcome.failed
    assert not outcome.writes
    assert len(tenant.applications(NAME)) == 1


@case
def not_decommissioned_the_integrator(tenant: Tenant) -> Steps:
    tenant.bind(name=INTEGRATOR, kind="integrator")
    yield from provisioned(tenant)
    yield from refused(tenant, "the Halo Integrator cannot be deleted", GONE)


@case
def not_decommissioned_its_own_application(tenant: Tenant) -> Steps:
    own(tenant)
    tenant.bindings[0].update(adopt="proven", adopt_secret=tenant.login["client_secret"])
    yield from provisioned(tenant)
    adopted_too = Go(options={**GONE.options, "decommission_adopted": True})
    yield from refused(tenant, OWN, adopted_too)
    tenant.more.update(ANONYMOUS, halo_access_token=tenant.token())
    yield from refused(tenant, "it may be what this run itself logs in with", adopted_too)


# Another name

OLD = "Tickets"


def named_before(tenant: Tenant, **more: Any) -> Steps:
    """A binding is provisioned by its old name, and from then on called ``NAME``."""
    tenant.bind(name=OLD, **more)
    yield from provisioned(tenant)
    tenant.bindings[0].update(name=NAME, renamed_from="TICKETS ")


def renamed(tenant: Tenant, go: Go = REAL, posts_of: int = 1) -> Generator[Go, Outcome, Outcome]:
    """Check mode and the run say the same, and nothing but the name is new. Returns the run's outcome."""
    secret = tenant.secret(OLD)
    foretold = yield go.checking
    done = yield go
    for outcome in (foretold, done):
        assert not outcome.failed, outcome.message
        assert (outcome.changed, outcome[NAME]["changed"]) == (True, True)
        assert (outcome[NAME]["rotated"], outcome[NAME]["reason"]) == (False, "none")
        assert outcome[NAME]["verified"] is True
        assert (outcome.result["orphans"], outcome.warnings) == ([], [])
    assert foretold[NAME]["drift"] == done[NAME]["drift"]
    assert done.writes == ["POST /api/Application"] * posts_of
    assert (tenant.secret(), tenant.proven()) == (secret, True)
    left = tenant.entry(OLD)
    assert [left[label] for label in ("pending", "current", "previous", "renamed_to")] == [None, None, None, NAME]
    return done


@case
def renamed_and_nothing_else(tenant: Tenant) -> Steps:
    yield from named_before(tenant)
    identity = tenant.application(OLD)["id"]
    done = yield from renamed(tenant)
    assert done[NAME]["drift"] == [
        f"application name: {OLD} instead of {NAME}",
        f"stored secret: under the name {OLD} instead of {NAME}",
    ]
    assert (tenant.application()["id"], tenant.applications(OLD)) == (identity, [])
    assert len(done.requests) <= 6
    yield from again(tenant)
    with pytest.raises(AnsibleError, match=f"It is called '{NAME}' by now"):
        tenant.credential(OLD)
    # someone else may have the old name
    tenant.put_application(name=OLD)
    yield from again(tenant)
    del tenant.bindings[0]["renamed_from"]
    yield from again(tenant)


@case
def renamed_with_a_trail(tenant: Tenant) -> Steps:
    yield from named_before(tenant)
    # nothing in Halo has to change: the entry alone would move
    tenant.post("Application", {"id": tenant.application(OLD)["id"], "displayName": NAME})
    before = tenant.state, tenant.stored
    outcome = yield Go(options={"log_path": str(tenant.inventory / "nowhere" / "trail.jsonl")})
    assert "its folder does not exist" in outcome.message
    assert (tenant.state, tenant.stored) == before
    done = yield Go(options=TRAIL)
    assert not done.failed, done.message
    assert trail(tenant) == steps("renamed", "move")
    yield from again(tenant)


@case
def renamed_back(tenant: Tenant) -> Steps:
    yield from named_before(tenant)
    yield from renamed(tenant)
    secret = tenant.secret()
    tenant.bindings[0].update(name=OLD, renamed_from=NAME)
    outcome = yield REAL
    assert (outcome.failed, outcome[OLD]["rotated"], outcome.writes) == (False, False, ["POST /api/Application"])
    assert (tenant.secret(OLD), tenant.entry()["renamed_to"]) == (secret, OLD)
    yield from again(tenant)


@case
def renamed_together_with_another_agent(tenant: Tenant) -> Steps:
    yield from named_before(tenant, on_rotated="tasks/deliver.yml")
    made_at = tenant.entry(OLD)["outstanding"]["deliver"]
    assert made_at
    tenant.put_agent("api-there")
    tenant.bindings[0]["agent"] = {"name": "api-there"}
    done = yield from rotated(tenant, "agent_changed")
    assert done.writes == ["POST /api/Application"]
    assert f"application name: {OLD} instead of {NAME}" in done[NAME]["drift"]
    assert tenant.applications(OLD) == []
    (action,) = done.pending_actions
    assert (action["name"], action["made_at"] > made_at) == (NAME, True)
    assert (yield Go(options={"acknowledge": {"name": NAME, "made_at": action["made_at"]}})).changed
    yield from again(tenant)


@case
def renamed_while_a_delivery_is_outstanding(tenant: Tenant) -> Steps:
    yield from named_before(tenant, on_rotated="tasks/deliver.yml")
    tenant.fault("status", "GET", "Application", status=400, times=None)
    outcome = yield Go(options={"defer_failure": True})
    assert outcome.failed
    assert outcome.pending_actions == []
    tenant.mend()
    done = yield from renamed(tenant)
    (action,) = done.pending_actions
    assert (action["name"], action["made_at"]) == (NAME, tenant.entry()["current"]["made_at"])


@case
def renamed_by_hand_before(tenant: Tenant) -> Steps:
    yield from named_before(tenant)
    tenant.post("Application", {"id": tenant.application(OLD)["id"], "displayName": NAME})
    done = yield from renamed(tenant, posts_of=0)
    assert done[NAME]["drift"] == [f"stored secret: under the name {OLD} instead of {NAME}"]
    yield from again(tenant)


@case
def renamed_and_halo_does_not_answer(tenant: Tenant) -> Steps:
    yield from named_before(tenant)
    tenant.more["halo_retry_seconds"] = 0
    secret = tenant.secret(OLD)
    tenant.fault("status", "POST", "Application", status=500, times=None)
    outcome = yield REAL
    assert outcome.failed
    assert tenant.secret() == secret
    tenant.mend()
    outcome = yield REAL
    assert (outcome.failed, outcome[NAME]["rotated"]) == (False, False)
    assert (len(tenant.applications(NAME)), tenant.applications(OLD), tenant.proven()) == (1, [], True)
    yield from again(tenant)


@case
def renamed_and_nothing_is_there(tenant: Tenant) -> Steps:
    tenant.bind(renamed_from=OLD)
    done = yield from rotated(tenant, "created")
    assert len(done.requests) <= 9
    yield from again(tenant)
    # the name is free again
    tenant.bindings[0].update(renamed_from=" ")
    yield from again(tenant)


@case
def renamed_and_the_store_knows_nothing(tenant: Tenant) -> Steps:
    row = tenant.put_application(agent=tenant.put_agent("api-ansible")["id"], name=OLD)
    tenant.bind(renamed_from=OLD)["agent"] = {"name": "api-ansible"}
    for go in (CHECK, REAL):
        outcome = yield go
        assert NO_SECRET in outcome.message
        assert not outcome.writes
    tenant.bindings[0]["adopt"] = "rotate"
    yield from rotated(tenant, "missing")
    assert tenant.application()["id"] == row["id"]
    yield from again(tenant)


@case
def renamed_to_what_the_store_has_too(tenant: Tenant) -> Steps:
    tenant.bind(name=OLD)
    tenant.bind()
    yield from provisioned(tenant)
    del tenant.bindings[0]
    tenant.bindings[0]["renamed_from"] = OLD
    yield from refused(tenant, f"secrets of '{NAME}' and of '{OLD}'")
    yield from refused(tenant, f"secrets of '{NAME}' and of '{OLD}'", GONE)


@case
def renamed_to_what_halo_has_too(tenant: Tenant) -> Steps:
    yield from named_before(tenant)
    row = tenant.put_application()
    yield from refused(tenant, f"both '{NAME}' with the id .* and 'TICKETS' with the id")
    # what the secret was of is gone, and the other is somebody's
    tenant.post("Application", {"id": row["id"], "displayName": "Something"})
    identity = tenant.application(OLD)["id"]
    tenant.post("Application", {"id": identity, "displayName": "Else"})
    yield from refused(tenant, "called 'Else' in Halo by now")
    tenant.post("Application", {"id": row["id"], "displayName": NAME})
    tenant.delete(f"Application/{identity}")
    yield from refused(tenant, f"client ID client of {NAME}, and the secret that is stored as 'TICKETS' is of another")
    yield from refused(tenant, "is of another one", GONE)


@case
def renamed_integrator(tenant: Tenant) -> Steps:
    """There is one Integrator, whatever the binding is called: nothing is sent to Halo."""
    tenant.bind(name=INTEGRATOR, kind="integrator")
    yield from provisioned(tenant)
    secret = tenant.secret(INTEGRATOR)
    tenant.bindings[0].update(name=NAME, renamed_from=INTEGRATOR)
    foretold = yield CHECK
    done = yield REAL
    for outcome in (foretold, done):
        assert (outcome.failed, outcome.changed, outcome[NAME]["rotated"]) == (False, True, False)
        assert outcome[NAME]["drift"] == [f"stored secret: under the name {INTEGRATOR} instead of {NAME}"]
        assert not outcome.writes
    assert (tenant.secret(), tenant.proven()) == (secret, True)
    yield from again(tenant)
    # what is stored of an application is none of the Integrator's
    tenant.bindings.clear()
    tenant.bind(name="Made")
    yield from provisioned(tenant)
    tenant.bindings.clear()
    tenant.bind(name="Wrong", kind="integrator", renamed_from="Made")
    yield from refused(tenant, "the secret that is stored as 'Made' is of another one")


@case
def renamed_and_taken_out_of_service(tenant: Tenant) -> Steps:
    yield from named_before(tenant)
    secret = tenant.secret(OLD)
    foretold = yield GONE.checking
    assert foretold.changed
    done = yield GONE
    assert (done.failed, done[NAME]["changed"], done[NAME]["previous_agent"]) == (False, True, "disabled")
    assert tenant.applications(OLD) == tenant.applications(NAME) == []
    assert (tenant.secret(label="previous"), tenant.entry()["current"]) == (secret, None)
    assert tenant.entry(OLD)["renamed_to"] == NAME
    # whoever has the old name now is let be
    tenant.put_application(name=OLD)
    outcome = yield GONE
    assert outcome.quiet, (outcome.message, outcome.result)
    assert len(tenant.applications(OLD)) == 1


@case
def renamed_login_of_the_run_itself(tenant: Tenant) -> Steps:
    """The secret in the inventory is refused, and the one in the store has the old name yet."""
    own(tenant)
    tenant.bindings[0]["allow_self"] = True
    yield ROTATE
    tenant.bindings[0].update(name="Automation of all", renamed_from="Automation")
    foretold = yield CHECK
    assert foretold.pending_actions == [{"action": "own_login", "name": "Automation"}], foretold.message
    done = yield REAL
    assert done.pending_actions == [{"action": "own_login", "name": "Automation of all"}]
    assert done.writes == ["POST /api/Application"]
    assert tenant.proven("Automation of all")


# What is not declared any more


@case
def orphans(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind("api-two", name="Two")
    tenant.bind("api-three", name="Three")
    yield from provisioned(tenant)
    outcome = yield REAL
    assert outcome.result["orphans"] == []
    asked = len(outcome.requests)
    removed = tenant.bindings.pop(), tenant.bindings.pop()
    for go in (CHECK, REAL):
        outcome = yield go
        assert (outcome.failed, outcome.changed) == (False, False)
        assert outcome.result["orphans"] == ["Three", "Two"]
        (warning,) = outcome.warnings
        assert "secrets of bindings that are not declared: 'Three', 'Two'." in warning
        assert len(outcome.requests) < asked
    # what was taken out of service is none
    outcome = yield Go(options={"state": "absent", "bindings": [*removed]})
    assert not outcome.failed, outcome.message
    outcome = yield REAL
    assert (outcome.quiet, outcome.result["orphans"]) == (True, [])


@case
def orphans_in_a_store_that_cannot_be_listed(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind("api-two", name="Two")
    yield from provisioned(tenant)
    tenant.bindings.pop()
    (path,) = (path for path, content in tenant._files() if content["binding"] == "Two")
    path.write_text("end: true\n")
    for go in (CHECK, REAL):
        outcome = yield go
        assert (outcome.failed, outcome.changed, outcome.result["orphans"]) == (False, False, [])
        (warning,) = outcome.warnings
        assert re.search(rf"not searched for bindings .*{path.name} is not what this store writes", warning)
    path.unlink()


# What must not be


def bad(expected: str, more: dict[str, Any] | None = None, alone: bool = False, **binding: Any) -> Case:
    """A bad binding beside a good one.

    :param alone: the bad one is its own failure; else nothing is carried out
    """

    def run(tenant: Tenant) -> Steps:
        tenant.bind()
        tenant.bindings.append({"name": "Bad", "agent": {"name": "api-bad"}, **binding})
        tenant.sandbox.put_agents(tenant.name, *[{"name": "api-twice", "isapiagent": True}] * 2)
        tenant.more.update(more or {})
        if not alone:
            yield from refused(tenant, expected)
            return
        was = tenant.state
        for go in (CHECK, REAL):
            outcome = yield go
            assert outcome.failed
            assert f"1 of 2 bindings failed: {binding.get('name', 'Bad')}: " in outcome.message
            assert re.search(expected, outcome.message), outcome.message
            assert outcome[NAME]["error"] is None
        assert tenant.proven()
        others = [one for one in tenant.state["agents"] if one["name"] != "api-ansible"]
        assert others == was["agents"]
        assert [one for one in tenant.state["applications"] if one["displayName"] != NAME] == was["applications"]

    return run


CASES.update(
    {
        # of its own
        "an unknown role": bad(
            "there is no role 'Chief'. There are: Administrator, API Integration",
            alone=True,
            agent={"name": "a", "roles": ["Chief"]},
            application={"scopes": ["all"]},
        ),
        "an unknown team": bad("there is no team 'Rowers'", alone=True, agent={"name": "a", "teams": ["Rowers"]}),
        "a team of which there are two": bad(
            "2 teams are called 'Operations'", alone=True, agent={"name": "a", "teams": ["Operations"]}
        ),
        "two agents of one name": bad(
            "there are 2 of this name, with the ids", alone=True, agent={"name": "api-twice"}
        ),
        "a human agent": bad("it is a human agent", alone=True, agent={"name": "Bianca Rossi"}),
        "a system application": bad("it is a system application", alone=True, name="nethelpdesk-agent-web-application"),
        "its own application": bad(OWN, alone=True, name="Automation"),
        "a name of 300 characters": bad("the name has 300 characters", alone=True, name="n" * 300),
        "an empty name": bad("the name must not be empty", alone=True, name=" "),
        "an agent without a name": bad("the name must not be empty", alone=True, agent={"name": ""}),
        "a field that has an option": bad(
            "properties holds isapiagent", alone=True, agent={"name": "a", "properties": {"isapiagent": False}}
        ),
        "a disabled agent": bad("agent 'a': it would be disabled", alone=True, agent={"name": "a", "enabled": False}),
        "a disabled application": bad(
            "it would be disabled", alone=True, application={"enabled": False, "scopes": ["all"]}
        ),
        "an application without a secret": bad(
            "its authentication_method is implicit", alone=True, application={"authentication_method": "implicit"}
        ),
        "no application and no scopes": bad("application.scopes", alone=True),
        "an application without scopes": bad("application.scopes", alone=True, application={"enabled": True}),
        "an application with no scopes": bad("application.scopes", alone=True, application={"scopes": []}),
        "a scope with a blank": bad(
            r"scopes\[0\] 'all read:tickets' holds a blank", alone=True, application={"scopes": ["all read:tickets"]}
        ),
        # of the tenant, or of the bindings together
        "a name twice": bad("two bindings are called 'ansible integration'", name="ANSIBLE INTEGRATION "),
        "an agent of two kinds": bad(
            f"the bindings '{NAME}' and 'Bad' give the agent 'API-ansible ' different settings .roles",
            agent={"name": "API-ansible ", "roles": ["Read Only"]},
        ),
        "an old name that is declared": bad(
            "binding 'Bad': it is renamed from 'ansible INTEGRATION', and that is declared as a binding too",
            renamed_from="ansible INTEGRATION",
        ),
        "its own name as the old one": bad("renamed_from is 'bad', its own name", renamed_from="bad "),
        "no agent": bad(r"bindings\[1\] 'Bad': agent is missing", agent=None),
        "an unknown option": bad(
            r"bindings\[1\] 'Bad': previous_agents is not an option; did you mean previous_agent\?",
            previous_agents="keep",
        ),
        "a misspelt agent": bad(
            r"bindings\[1\] 'Bad': agnet is not an option; did you mean agent\?", agnet={"name": "a"}
        ),
        "an agent by its bare name": bad(
            r"bindings\[1\] 'Bad': agent must be a dictionary, such as \{name: api-a\}", agent="api-a"
        ),
        "an option in the wrong place": bad(
            r"bindings\[1\] 'Bad': scopes is not an option; did you mean application.scopes\?", scopes=["all"]
        ),
        "an unknown choice": bad(
            "previous_agent must be keep, disable or delete, not .*destroy", previous_agent="destroy"
        ),
        "an unknown option of the agent": bad(
            r"bindings\[1\] 'Bad': agent.role is not an option; did you mean roles\?",
            agent={"name": "a", "role": "Administrator"},
        ),
        "options of an application for the Integrator": bad(
            "the Halo Integrator has no options of an application", kind="integrator", application={"scopes": ["all"]}
        ),
        "an address without a scheme": bad("is not an address", {"halo_url": "acme.example.com"}),
        "a wrong secret": bad("invalid_client", {"halo_client_secret": "wrong"}),
        "a secret that is not defined": bad("vault_acme", {"halo_client_secret": "{{ vault_acme }}"}),
        "no secret": bad("halo_client_secret", {"halo_client_secret": ""}),
        "a host that is not there": bad(
            "no connection could be made", {"halo_url": "http://127.0.0.1:9", "halo_retry_seconds": 0}
        ),
        "a misspelt store": bad(
            r"halo_integration_store must be .*\bfile\b.* or vault_file, not .*'vault_fiel'; did you mean vault_file",
            {"halo_integration_store": "vault_fiel"},
        ),
        "an unknown option of the store": bad(
            "halo_integration_store_options.*ephemral.*did you mean.*ephemeral",
            {"halo_integration_store_options": {"ephemral": True}},
        ),
    }
)


@case
def two_that_had_one_name(tenant: Tenant) -> Steps:
    tenant.bind(renamed_from=OLD)
    tenant.bind("api-two", name="Two", renamed_from=OLD.upper())
    yield from refused(tenant, f"binding 'Two': it is renamed from 'TICKETS', and that is what '{NAME}' was called too")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as name, Sandbox(tenants=len(CASES) + 2) as sandbox:
        yield Fleet(sandbox, Path(name))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here takes a moment to become true."""
    for module in (client, run):
        monkeypatch.setattr(module, "SETTLE", (0.02, 0.05, 0.1))
    monkeypatch.setattr(rotation, "TEST_PAUSE", 0.02)


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, fleet: Fleet, capfd: pytest.CaptureFixture[str]) -> None:
    fleet.sandbox.clear()
    tenant = fleet.drive(CASES[name])
    said = capfd.readouterr()
    assert not leaks([tenant], {"the terminal": (said.out + said.err).encode()})


def test_an_answer_that_comes_too_late(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SETTLE", (0.3, 1.0, 3.0))
    fleet.drive(answer_that_comes_too_late)


def test_async_is_refused_before_anything_is_done(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    tenant.bind()
    args = {"bindings": tenant.bindings}
    result = in_process.task("halo_binding", args, tenant.variables, tenant.inventory, async_seconds=60)
    assert result["failed"]
    assert "Remove async" in result["msg"]
    assert fleet.sandbox.requests(tenant.name) == []
