# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role and its playbooks: each case in check mode, for good, and again.

In check mode the sandbox refuses writes and the store must stay as it is; no output of any run may hold a secret. Both
hold for every run here, see role_runner.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from halo_sandbox.testing import Sandbox
from role_runner import CHECK, FILES, REAL, Case, Fleet, Go, Outcome, Tenant

SITE = Go(playbook=str(FILES / "site.yml"))
NAME = "Ansible integration"
INTEGRATOR = "Halo Integrator"
Steps = Generator[Go, Outcome, None]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def again(tenant: Tenant, go: Go = REAL, proven: bool = True) -> Steps:
    """One more run has nothing to do, and asks little."""
    outcome = yield go
    assert outcome.quiet, (outcome.message, outcome.writes, outcome.names)
    asked = [one["path"] for one in outcome.requests]
    assert len(asked) <= 3 + 3 * len(tenant.bindings), asked
    for binding in tenant.bindings if proven else []:
        assert outcome[binding["name"]]["verified"] is True
        assert tenant.proven(binding["name"])


def rotation(tenant: Tenant, reason: str, go: Go = REAL, name: str = NAME) -> Generator[Go, Outcome, Outcome]:
    """Check mode says why, the run makes one new secret, which is the one in force. Returns the run's outcome."""
    foretold = yield Go(**{**vars(go), "check": True})
    assert not foretold.failed, foretold.message
    assert foretold.changed
    assert f"{name}: would make a new secret ({reason})" in foretold.stdout
    assert foretold[name]["rotated"] is True
    done = yield go
    assert not done.failed, done.message
    assert (done[name]["rotated"], done[name]["reason"], done[name]["verified"]) == (True, reason, True)
    for key in ("kind", "hosted", "agent_name"):
        assert foretold[name][key] == done[name][key]
    assert tenant.entry(name)["pending"] is None
    assert tenant.entry(name)["current"]["reason"] == reason
    assert tenant.proven(name)
    return done


def provisioned(tenant: Tenant, go: Go = REAL) -> Steps:
    outcome = yield go
    assert not outcome.failed, outcome.message
    assert tenant.bindings
    for binding in tenant.bindings:
        assert tenant.proven(binding["name"])


def rewrite(tenant: Tenant, change: Callable[[dict[str, Any]], Any], name: str = NAME) -> None:
    """Change a stored entry by hand."""
    for path in tenant.fleet.inventory.glob("halo_credentials/*/*.yml"):
        told = yaml.safe_load(path.read_text())
        if (told["tenant"], told["binding"]) == (tenant.url, name):
            change(told)
            path.write_text(yaml.safe_dump(told))
            return
    raise AssertionError("nothing is stored")


def posts(outcome: Outcome, path: str) -> int:
    return [one.casefold() for one in outcome.writes].count(f"post /api/{path}")


# Causes


@case
def created(tenant: Tenant) -> Steps:
    tenant.bind(agent="api-ansible")["agent"].update(email="API@example.com", teams=["1st Line Support"])
    done = yield from rotation(tenant, "created")
    assert len(done.requests) <= 11
    assert (posts(done, "agent"), posts(done, "application")) == (1, 1)
    agent, application = tenant.agent("api-ansible"), tenant.application()
    assert agent["isapiagent"]
    assert [role["name"] for role in agent["roles"]] == ["API Integration"]
    assert sorted(scope["name"] for scope in application["scopes"]) == ["all", "read:tickets"]
    assert (done[NAME]["agent_id"], done[NAME]["application_id"]) == (agent["id"], application["id"])
    assert done[NAME]["client_id"] == application["clientId"]
    assert done[NAME]["handover"] is None
    entry = tenant.entry()
    assert entry["origin"] == "created"
    assert (entry["current"]["agent_id"], entry["current"]["agent_name"]) == (str(agent["id"]), "api-ansible")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tenant.fleet.inventory.glob("halo_credentials/**/*.yml")}
    assert modes == {0o600}
    outcome = yield REAL
    assert outcome.quiet
    assert len(outcome.requests) <= 6


@case
def another_agent_that_is_new(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    first = tenant.secret()
    tenant.bind("api-successor")["agent"]["teams"] = ["1st Line Support"]
    done = yield from rotation(tenant, "agent_changed")
    assert posts(done, "application") == 1
    # modules that are processes of their own share no token: the one that sets the secret logs in again
    alone = os.environ["ROLE_IN_PROCESS"] != "true"
    assert len(done.requests) <= 10 + alone
    assert tenant.secret() != first
    assert tenant.secret(label="previous") == first
    assert tenant.logs_in(tenant.application()["clientId"], first) is None
    assert tenant.agent("api-ansible")["isdisabled"] is False
    yield from again(tenant)


@case
def another_agent_that_is_there_already(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.sandbox.put_agents(tenant.name, {"name": "api-there", "isapiagent": True})
    tenant.bind("API-There ")
    tenant.bindings[0]["agent"]["roles"] = []
    yield from rotation_named(tenant, "api-there")
    yield from again(tenant, proven=False)


def rotation_named(tenant: Tenant, agent: str) -> Steps:
    done = yield REAL
    assert not done.failed, done.message
    assert len(tenant.agents(agent)) == 1
    assert done[NAME]["reason"] == "agent_changed"
    assert tenant.proven(agent=agent)


@case
def asked_for(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.more["halo_integration_rotate"] = True
    yield from rotation(tenant, "requested")
    del tenant.more["halo_integration_rotate"]
    yield from again(tenant)


@case
def asked_for_by_playbook(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind(agent="api-two", name="Two")
    yield from provisioned(tenant)
    yield from rotation(tenant, "requested", Go(playbook="rotate"))
    assert tenant.entry("Two")["previous"] is not None
    yield from again(tenant)


@case
def too_old(tenant: Tenant) -> Steps:
    tenant.bind(max_age_days=30)
    yield from provisioned(tenant)
    yield from again(tenant)
    rewrite(tenant, lambda entry: entry["current"].update(made_at="2026-01-01T00:00:00+00:00"))
    yield from rotation(tenant, "expired")
    yield from again(tenant)


@case
def missing_from_the_store(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    for path in tenant.fleet.inventory.glob("halo_credentials/*/*.yml"):
        if tenant.url in path.read_text():
            path.unlink()
    yield from rotation(tenant, "missing")
    assert tenant.entry()["origin"] == "adopted"
    yield from again(tenant)


@case
def application_that_was_there_before(tenant: Tenant) -> Steps:
    tenant.sandbox.put_applications(tenant.name, {"displayName": NAME, "loginas_agent_id": 4, "clientSecret": "old"})
    tenant.bind()
    yield from rotation(tenant, "agent_changed")
    assert tenant.entry()["origin"] == "adopted"
    yield from again(tenant)


@case
def no_longer_valid(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "clientSecret": "set by hand"})
    yield from rotation(tenant, "invalid")
    yield from again(tenant)


@case
def not_verified_where_that_is_not_wanted(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "clientSecret": "set by hand"})
    tenant.more["halo_integration_verify"] = False
    outcome = yield REAL
    assert outcome.quiet
    assert outcome[NAME]["verified"] is None
    assert [one["kind"] for one in outcome.requests].count("token") == 1


@case
def agent_changed_by_hand(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "loginas_agent_id": 4})
    yield from rotation(tenant, "agent_changed")
    yield from again(tenant)


@case
def application_deleted_in_halo(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Application", {"id": tenant.application()["id"], "displayName": "Renamed"})
    yield from rotation(tenant, "created")
    yield from again(tenant)


@case
def agent_renamed_in_halo(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    tenant.post("Agent", {"id": tenant.agent("api-ansible")["id"], "name": "someone else"})
    yield from rotation(tenant, "agent_changed")
    assert tenant.agent("api-ansible")["id"] != tenant.agent("someone else")["id"]
    yield from again(tenant)


@case
def drift_without_a_rotation(tenant: Tenant) -> Steps:
    tenant.bind()
    yield from provisioned(tenant)
    before = tenant.stored
    tenant.bindings[0]["application"]["scopes"] = ["all"]
    tenant.bindings[0]["agent"]["roles"] = ["Read Only"]
    foretold = yield CHECK
    assert foretold.changed
    assert "would make a new secret" not in foretold.stdout.replace(f"{tenant.name}:", "")[-1:]
    done = yield REAL
    assert not done.failed, done.message
    assert (posts(done, "agent"), posts(done, "application")) == (1, 1)
    assert (done[NAME]["rotated"], done[NAME]["changed"]) == (False, True)
    assert tenant.stored == before
    yield from again(tenant)


# What Halo answers


@case
def client_id_of_halos_own(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, client_id_policy="replace")
    tenant.bind()
    yield from rotation(tenant, "created")
    yield from again(tenant)


@case
def secret_of_halos_own(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, secret_policy="replace")
    tenant.bind()
    yield from rotation(tenant, "created")
    tenant.bind("api-successor")
    yield from rotation(tenant, "agent_changed")
    yield from again(tenant)


@case
def secret_of_halos_own_for_the_integrator(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, secret_policy="replace")
    tenant.bind(name=INTEGRATOR, kind="integrator")
    yield from rotation(tenant, "agent_changed", name=INTEGRATOR)
    yield from again(tenant)


# Bindings


@case
def two_bindings_that_share_a_new_agent(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind(name="Another")
    yield from rotation(tenant, "created")
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
    files = {path.resolve() for path in tenant.fleet.inventory.parent.rglob("*escape*")}
    assert all(tenant.fleet.inventory / "halo_credentials" in path.parents for path in files)
    assert files
    outcome = yield REAL
    assert outcome.quiet, outcome.names


@case
def nothing_declared(tenant: Tenant) -> Steps:
    outcome = yield REAL
    assert outcome.quiet
    assert outcome.result["bindings"] == {}


# The previous agent


def switch(tenant: Tenant, previous_agent: str) -> Generator[Go, Outcome, Outcome]:
    tenant.bind(previous_agent=previous_agent)
    yield from provisioned(tenant)
    tenant.bind("api-successor")
    return (yield from rotation(tenant, "agent_changed"))


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
    assert done.names.index("Finish, pending becomes current") < done.names.index("Retire the previous agent")
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
    done = yield from rotation(tenant, "agent_changed")
    assert tenant.agent("api-ansible")["isdisabled"] is False
    assert "it is the login agent of application 'Another'" in done[NAME]["previous_agent"]
    assert tenant.proven("Another")
    yield from again(tenant)


def human(tenant: Tenant, previous_agent: str) -> Steps:
    tenant.sandbox.put_applications(tenant.name, {"displayName": NAME, "loginas_agent_id": 4, "clientSecret": "old"})
    tenant.bind(previous_agent=previous_agent)
    done = yield from rotation(tenant, "agent_changed")
    assert (tenant.agent("Bianca Rossi")["isdisabled"], tenant.agent("Bianca Rossi")["isapiagent"]) == (False, False)
    assert "it is a human agent" in done[NAME]["previous_agent"]
    yield from again(tenant)


@case
def previous_agent_who_is_a_person_not_disabled(tenant: Tenant) -> Steps:
    yield from human(tenant, "disable")


@case
def previous_agent_who_is_a_person_not_deleted(tenant: Tenant) -> Steps:
    yield from human(tenant, "delete")


# The Integrator


@case
def integrator_of_ones_own(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, hosted_integrator=False)
    tenant.bind(name=INTEGRATOR, kind="integrator")
    done = yield from rotation(tenant, "agent_changed", SITE, INTEGRATOR)
    assert posts(done, "control") == 1
    assert "Tell Halo's support" not in done.names
    assert (done[INTEGRATOR]["hosted"], done[INTEGRATOR]["handover"]) == (False, None)
    yield from again(tenant)


@case
def integrator_that_halo_hosts(tenant: Tenant) -> Steps:
    tenant.sandbox.settings(tenant.name, hosted_integrator=True)
    tenant.bind()
    tenant.bind("api-integrator", name=INTEGRATOR, kind="integrator")
    before = tenant.state
    for go in (CHECK, REAL):
        outcome = yield go
        assert outcome.failed
        assert "it is hosted by Halo" in outcome.message
        assert "allow_hosted" in outcome.message
    # nothing was changed in any binding
    assert tenant.state == before
    assert tenant.stored == {}
    tenant.bindings[1]["allow_hosted"] = True
    done = yield from rotation(tenant, "agent_changed", SITE, INTEGRATOR)
    text = done[INTEGRATOR]["handover"]
    assert tenant.url in text
    assert tenant.state["control"]["client_id_halointegrator"] in text
    assert "api-integrator" in text
    told = [task["result"]["msg"] for task in done.tasks if task["task"] == "Tell Halo's support"]
    assert told == [text]
    assert done[NAME]["handover"] is None
    # without leave, what is in order stays in order
    del tenant.bindings[1]["allow_hosted"]
    outcome = yield SITE
    assert not outcome.failed, outcome.message
    assert not outcome.writes
    assert "Tell Halo's support" not in outcome.names


# The run's own application


@case
def own_application(tenant: Tenant) -> Steps:
    tenant.bind("api-automation", name="Automation")
    tenant.bindings[0].update(agent={"name": "api-automation"}, application={})
    tenant.bind()
    tenant.more["halo_integration_rotate"] = True
    before = tenant.state
    outcome = yield REAL
    assert outcome.failed
    assert "it is what this run itself logs in with" in outcome.message
    assert (tenant.state, tenant.stored) == (before, {})
    tenant.bindings[0]["allow_self"] = True
    first = tenant.login["client_secret"]
    done = yield SITE
    assert not done.failed, done.message
    assert done.names.index("Go on with the login of the run") > 0
    order = [task["result"]["ansible_facts"] for task in done.tasks if task["task"] == "Note the result"]
    assert [one["halo_integration_result"]["bindings"]["Automation"]["rotated"] for one in order] == [False, True]
    assert tenant.proven("Automation")
    assert tenant.proven(NAME)
    assert tenant.logs_in(tenant.login["client_id"], first) is None
    # the inventory has the old secret still: the run logs in with the stored one
    del tenant.more["halo_integration_rotate"]
    outcome = yield REAL
    assert outcome.quiet, (outcome.message, outcome.writes)
    tenant.login["client_secret"] = tenant.secret("Automation")
    yield from again(tenant)


# The user's own tasks


@case
def handed_to_tasks_of_the_users_own(tenant: Tenant) -> Steps:
    tenant.bind(on_rotated="tasks/deliver.yml")
    yield from rotation(tenant, "created")
    application = tenant.application()
    assert tenant.delivered() == {
        "name": NAME,
        "kind": "application",
        "url": tenant.url,
        "tenant": "",
        "client_id": application["clientId"],
        "client_secret": tenant.secret(),
        "agent_name": "api-ansible",
        "scope": "all read:tickets",
    }
    outcome = yield REAL
    assert outcome.quiet
    assert tenant.delivered() is None


@case
def tasks_of_the_users_own_that_fail_are_repeated(tenant: Tenant) -> Steps:
    tenant.bind(on_rotated="tasks/deliver.yml")
    tenant.more["halo_test_away"] = True
    outcome = yield REAL
    assert outcome.failed
    assert "The machine that needs them is away" in outcome.message
    assert tenant.proven()
    secret = tenant.secret()
    tenant.more["halo_test_away"] = False
    foretold = yield CHECK
    assert f"{NAME}: would run on_rotated" in foretold.stdout
    done = yield REAL
    assert not done.failed, done.message
    assert not done.writes
    assert (tenant.delivered() or {})["client_secret"] == secret == tenant.secret()
    yield from again(tenant)


@case
def tasks_of_the_users_own_that_are_not_there(tenant: Tenant) -> Steps:
    tenant.bind(on_rotated="tasks/nowhere.yml")
    before = tenant.state
    for go in (CHECK, REAL):
        outcome = yield go
        assert outcome.failed
        assert "nowhere.yml" in outcome.message
    assert (tenant.state, tenant.stored) == (before, {})


# Stores


@case
def store_of_the_users_own(tenant: Tenant) -> Steps:
    tenant.more["halo_integration_store"] = "own_store"
    tenant.bind(on_rotated="tasks/deliver.yml", previous_agent="delete")
    tenant.bind("api-two", name="Two")
    yield from rotation(tenant, "created")
    assert tenant.proven("Two")
    assert (tenant.delivered() or {})["client_secret"] == tenant.secret()
    yield from again(tenant)
    first, untouched = tenant.secret(), tenant.entry("Two")
    tenant.bind("api-successor")
    done = yield from rotation(tenant, "agent_changed")
    assert tenant.secret(label="previous") == first
    assert tenant.entry("Two") == untouched
    assert tenant.agents("api-ansible") == []
    assert done["Two"]["changed"] is False
    yield from again(tenant)
    assert not list(tenant.fleet.home.rglob("*.lock")), "the lock was not given back"


@case
def vault_file(tenant: Tenant) -> Steps:
    tenant.more["halo_integration_store"] = "vault_file"
    tenant.bind()
    before = tenant.state
    for go in (CHECK, REAL):
        outcome = yield go
        assert outcome.failed
        for way in ("--vault-password-file", "halo_integration_store: file", "read.yml"):
            assert way in outcome.message
    assert (tenant.state, tenant.stored) == (before, {})
    yield from rotation(tenant, "created", Go(vault=True))
    files = [path.read_bytes() for path in tenant.fleet.inventory.glob("halo_credentials/*/*.yml")]
    assert not any(tenant.secret().encode() in content for content in files)
    assert any(content.startswith(b"$ANSIBLE_VAULT;1.1;AES256\n") for content in files)
    yield from again(tenant, Go(vault=True))


# The way out


GONE = Go(playbook="decommission")


@case
def decommissioned(tenant: Tenant) -> Steps:
    tenant.bind()
    tenant.bind("api-two", name="Two")
    yield from provisioned(tenant)
    secret = tenant.secret()
    foretold = yield Go(playbook="decommission", check=True)
    assert not foretold.failed, foretold.message
    assert foretold.changed
    done = yield GONE
    assert not done.failed, done.message
    assert tenant.applications(NAME) == tenant.applications("Two") == []
    assert tenant.agent("api-ansible")["isdisabled"] is True
    entry = tenant.entry()
    assert (entry["pending"], entry["current"]) == (None, None)
    assert tenant.secret(label="previous") == secret
    outcome = yield GONE
    assert outcome.quiet, (outcome.message, outcome.names)
    yield from rotation(tenant, "created")
    assert tenant.agent("api-ansible")["isdisabled"] is False
    tenant.more["halo_integration_decommission_agent"] = "delete"
    done = yield GONE
    assert not done.failed, done.message
    assert tenant.agents("api-ansible") == tenant.agents("api-two") == []


@case
def not_decommissioned_what_was_there_before(tenant: Tenant) -> Steps:
    tenant.sandbox.put_applications(tenant.name, {"displayName": NAME, "loginas_agent_id": 4, "clientSecret": "old"})
    tenant.bind()
    yield from provisioned(tenant)
    before = tenant.state, tenant.stored
    for go in (Go(playbook="decommission", check=True), GONE):
        outcome = yield go
        assert outcome.failed
        assert "was there before" in outcome.message
    assert (tenant.state, tenant.stored) == before
    tenant.more["halo_integration_decommission_adopted"] = True
    done = yield GONE
    assert not done.failed, done.message
    assert tenant.applications(NAME) == []


@case
def not_decommissioned_what_the_store_does_not_know(tenant: Tenant) -> Steps:
    tenant.sandbox.put_applications(tenant.name, {"displayName": NAME, "loginas_agent_id": 4, "clientSecret": "old"})
    tenant.bind()
    before = tenant.state
    yield GONE
    assert tenant.state == before


@case
def not_decommissioned_the_integrator(tenant: Tenant) -> Steps:
    tenant.bind(name=INTEGRATOR, kind="integrator")
    yield from provisioned(tenant)
    before = tenant.state, tenant.stored
    outcome = yield GONE
    assert outcome.failed
    assert "the Halo Integrator cannot be deleted" in outcome.message
    assert (tenant.state, tenant.stored) == before


@case
def audited(tenant: Tenant) -> Steps:
    tenant.bind()
    audit = Go(playbook="audit")
    before = tenant.state
    outcome = yield audit
    assert not outcome.failed, outcome.message
    assert (tenant.state, tenant.stored) == (before, {})
    assert not outcome.writes
    tenant.more["halo_audit_fail"] = True
    outcome = yield audit
    assert outcome.failed
    yield from provisioned(tenant)
    outcome = yield audit
    assert outcome.quiet, outcome.message


# What must not be


def bad(expected: str, more: dict[str, Any] | None = None, **binding: Any) -> Case:
    """A good binding beside a bad one: neither is carried out, in check mode or for good."""

    def run(tenant: Tenant) -> Steps:
        tenant.bind()
        tenant.bindings.append({"name": "Bad", "agent": {"name": "api-bad"}, **binding})
        tenant.sandbox.put_agents(tenant.name, *[{"name": "api-twice", "isapiagent": True}] * 2)
        tenant.more.update(more or {})
        before = tenant.state
        for go in (CHECK, REAL):
            outcome = yield go
            assert outcome.failed
            assert re.search(expected, outcome.message), outcome.message
        assert (tenant.state, tenant.stored) == (before, {})

    return run


BAD = {
    "an unknown role": bad(
        "there is no role 'Chief'. There are: Administrator", agent={"name": "a", "roles": ["Chief"]}
    ),
    "an unknown team": bad("there is no team 'Rowers'", agent={"name": "a", "teams": ["Rowers"]}),
    "a team of which there are two": bad(
        "2 teams are called 'Operations'", agent={"name": "a", "teams": ["Operations"]}
    ),
    "two agents of one name": bad("there are 2 of this name, with the ids", agent={"name": "api-twice"}),
    "a human agent": bad("it is a human agent", agent={"name": "Bianca Rossi"}),
    "a system application": bad("it is a system application", name="nethelpdesk-agent-web-application"),
    "its own application": bad("it is what this run itself logs in with", name="Automation"),
    "a name of 300 characters": bad("the name has 300 characters", name="n" * 300),
    "an empty name": bad("the name must not be empty", name=" "),
    "an agent without a name": bad("the name must not be empty", agent={"name": ""}),
    "a name twice": bad("two bindings are called 'ansible integration'", name="ANSIBLE INTEGRATION "),
    "no agent": bad("'?agent'?", agent=None),
    "an unknown option": bad("previous_agents", previous_agents="keep"),
    "an unknown choice": bad("destroy", previous_agent="destroy"),
    "an unknown option of the agent": bad("role[^s]", agent={"name": "a", "role": "Administrator"}),
    "a field that has an option": bad(
        "properties holds isapiagent", agent={"name": "a", "properties": {"isapiagent": False}}
    ),
    "a disabled agent": bad("agent 'a': it would be disabled", agent={"name": "a", "enabled": False}),
    "a disabled application": bad("application 'Bad': it would be disabled", application={"enabled": False}),
    "an application without a secret": bad(
        "its authentication_method is implicit", application={"authentication_method": "implicit"}
    ),
    "an address without a scheme": bad("is not an address", {"halo_url": "acme.example.com"}),
    "a wrong secret": bad("invalid_client", {"halo_client_secret": "wrong"}),
    "a secret that is not defined": bad("vault_acme", {"halo_client_secret": "{{ vault_acme }}"}),
    "no secret": bad("halo_client_secret", {"halo_client_secret": ""}),
    "a host that is not there": bad(
        "no connection could be made", {"halo_url": "http://127.0.0.1:9", "halo_retry_seconds": 0}
    ),
    "a store that is not there": bad("read.yml|halo_integration_store", {"halo_integration_store": "nowhere"}),
}
CASES.update(BAD)


# All of them, together


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, BaseException | None]]:
    """What each of the cases that are collected came to."""
    chosen = {
        item.callspec.params["name"]: CASES[item.callspec.params["name"]]
        for item in request.session.items
        if getattr(item, "originalname", "") == test_case.__name__
    }
    with tempfile.TemporaryDirectory(prefix="halo-") as name, Sandbox(tenants=len(chosen) + 1) as sandbox:
        fleet = Fleet(sandbox, Path(name))
        yield fleet.drive(chosen)


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, outcomes: dict[str, BaseException | None]) -> None:
    """Each case is a generator above; they run together, because starting ansible-playbook is what takes long."""
    error = outcomes[name]
    if error is not None:
        raise error
