# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run over a tenant's bindings, Halo and the store in memory: what is refused, sent, stored, and said of it."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.haloops.halo.plugins.module_utils import secret
from ansible_collections.haloops.halo.plugins.module_utils.binding import (
    BINDINGS,
    SystemClock,
    Tenant,
    converge,
    decommission,
)
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, LoginError, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.http import Response
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from helpers.kept import Kept, Lines
from helpers.memory import OWN_ID, OWN_SECRET, Halo, Row, answer

NOW = datetime.datetime(2026, 6, 30, 12, 0, tzinfo=datetime.UTC)
INSTANCE = "https://acme.example.com"


class World(Halo):
    """Halo that lets in whoever has the secret in force, as its agent; with a store, a clock and a trail."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets = {OWN_ID: OWN_SECRET}
        self.store = Kept()
        self.time = NOW
        self.slept: list[float] = []
        self.trail = Lines()
        self.scopes: list[str] = []

    def now(self) -> datetime.datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def send(self, method: str, url: str, *, path: str, body: Any = None, **more: Any) -> Response:
        self.more = more
        return super().send(method, url, path=path, body=body, **more)

    def _serve(self, method: str, path: str, body: Any) -> Response:
        if path == "/token":
            form = self.more["form"]
            self.scopes.append(form["scope"])
            agent = self.agents.get(self.logged_in(form["client_id"]), {})
            if self.secrets.get(form["client_id"]) != form["client_secret"] or agent.get("isdisabled"):
                return answer({"error": "invalid_client"}, 401)
            return answer({"access_token": f"as-{form['client_id']}", "scope": form["scope"], "expires_in": 3600})
        if path == "/Agent/me":
            row = self.agents[self.logged_in(self.more["token"].removeprefix("as-"))]
            return answer({name: row[name] for name in ("id", "name", "isapiagent")})
        sent = body[0] if isinstance(body, list) else {}
        found = super()._serve(method, path, body)
        if sent.get("clientSecret"):
            self.secrets[self.applications[found.data["id"]]["clientId"]] = sent["clientSecret"]
        if sent.get("client_secret_halointegrator"):
            self.secrets[self.control["client_id_halointegrator"]] = sent["client_secret_halointegrator"]
        return found

    def logged_in(self, client_id: str) -> Any:
        if client_id == self.control["client_id_halointegrator"]:
            return self.control["loginas_halointegrator"]
        return next((a["loginas_agent_id"] for a in self.applications.values() if a["clientId"] == client_id), None)

    # What tests begin with

    def bound(self, name: str = "Sync", agent: int = 20, **more: Any) -> Row:
        """An application that was made by a run, and its secret in the store."""
        self.application(f"a-{name}", name, loginas_agent_id=agent)
        if agent not in self.agents:
            self.agent(agent, f"api-{agent}")
        self.secrets[f"c-a-{name}"] = f"s-{name}"
        self.store.entries[name] = kept(current=label(name, agent), **more)
        return self.store.entries[name]

    def params(self, *bindings: Row, **options: Any) -> Row:
        """The options as the validated ones of the module are."""
        validated = ArgumentSpecValidator(BINDINGS.options, **BINDINGS.constraints).validate(
            {"bindings": [copy.deepcopy(one) for one in bindings], **options}
        )
        assert not validated.error_messages
        found: Row = validated.validated_parameters
        return found

    def run(self, *bindings: Row, do: Callable[..., Row] = converge, check_mode: bool = False, **options: Any) -> Row:
        self.client_used = client = self.client(**{key: options.pop(key) for key in [*options] if key[:5] == "halo_"})
        tenant = Tenant(client, self.store, self, timeout=10.0, check_mode=check_mode, trail=self.trail)
        del self.requests[:], self.sent[:], self.store.wrote[:]
        return do(tenant, self.params(*bindings, **options))

    @property
    def warnings(self) -> list[str]:
        return self.client_used.warnings


def label(name: str, agent: int = 20, **more: Any) -> Row:
    return {
        "client_id": f"c-a-{name}",
        "client_secret": f"s-{name}",
        "application_id": f"a-{name}",
        "agent_id": agent,
        "agent_name": f"api-{agent}",
        "scope": "all",
        "made_at": "2026-06-20T12:00:00.000000+00:00",
        "reason": "created",
        **more,
    }


def kept(**more: Any) -> Row:
    return entry({"origin": "created", "attempt": 1, **more})


def bind(name: str = "Sync", agent: str = "api-20", **more: Any) -> Row:
    return {"name": name, "agent": {"name": agent}, "application": {"scopes": ["all"]}, **more}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(Client, "pause", staticmethod(found.slept.append))
    return found


def wrong(world: World, *bindings: Row, **options: Any) -> str:
    """What a run says that is refused as a whole, before anything is asked of Halo or written."""
    with pytest.raises(HaloError) as caught:
        world.run(*bindings, **options)
    assert not world.requests
    assert not world.store.wrote
    return str(caught.value)


def quiet(world: World, *bindings: Row, **options: Any) -> Row:
    """A run that has nothing to do."""
    result = world.run(*bindings, **options)
    assert not result["changed"], result
    assert not world.writes
    assert not world.store.wrote
    assert "failed" not in result
    return result


AGENT_VIEW = {"api_only": True, "default_team": None, "email": None, "enabled": True, "roles": [], "teams": []}
APPLICATION_VIEW = {
    "authentication_method": "client_credentials",
    "cors_origins": [],
    "enabled": True,
    "login_type": "agent",
    "logout_redirect_uris": [],
    "name": "Sync",
    "redirect_uris": [],
    "scopes": ["read:tickets"],
    "system": False,
}
ROW = {
    "kind": "application",
    "agent_id": 20,
    "agent_name": "api-20",
    "application_id": "a-Sync",
    "client_id": "c-a-Sync",
    "hosted": False,
    "changed": False,
    "rotated": False,
    "reason": "none",
    "verified": True,
    "made_at": "2026-06-20T12:00:00.000000+00:00",
    "due_at": None,
    "rights": [],
    "drift": [],
    "previous_agent_id": None,
    "previous_agent": None,
    "warnings": [],
    "error": None,
    "hint": None,
    "handover": None,
}
MADE_NOW = "2026-06-30T12:00:00.000000+00:00"


def test_a_binding_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret.uuid, "uuid4", iter(f"id-{n}" for n in range(9)).__next__)
    spec = {"name": "Sync", "agent": {"name": "api-new"}, "application": {"scopes": ["read:tickets"]}}
    before = {"Sync": {"agent": {}, "application": {}}}
    row = {
        **ROW,
        "agent_name": "api-new",
        "changed": True,
        "rotated": True,
        "reason": "created",
        "drift": ["there is no such agent", "there is no such application"],
    }

    def after(agent: Any, application: Any, client_id: Any) -> Row:
        login = {"id": agent, "name": "api-new"}
        view = {**APPLICATION_VIEW, "id": application, "client_id": client_id, "login_agent": login}
        made = {**AGENT_VIEW, "id": agent, "name": "api-new"}
        return {"Sync": {"agent": made, "application": {**view, "client_secret": "new (created)"}}}

    nothing = {"agent_id": None, "application_id": None, "client_id": None, "verified": None, "made_at": None}
    assert world.run(spec, check_mode=True) == {
        "changed": True,
        "instance": INSTANCE,
        "check_mode": True,
        "bindings": {"Sync": {**row, **nothing}},
        "pending_actions": [],
        "diff": {"before": before, "after": after(None, None, None)},
        "orphans": [],
    }
    assert not world.writes
    assert not world.store.wrote
    made = {"agent_id": 8, "application_id": "a-2", "client_id": "id-2", "verified": True, "made_at": MADE_NOW}
    assert world.run(spec) == {
        "changed": True,
        "instance": INSTANCE,
        "check_mode": False,
        "bindings": {"Sync": {**row, **made}},
        "pending_actions": [],
        "diff": {"before": before, "after": after(8, "a-2", "id-2")},
        "orphans": [],
    }
    assert world.sent == [
        {"name": "api-new", "isapiagent": True, "isdisabled": False},
        {
            "displayName": "Sync",
            "inactive": False,
            "grant_type": "client_credentials",
            "allowagents": True,
            "loginas_agent_id": 8,
            "scopes": [{"name": "read:tickets"}],
            "clientSecret": "id-0-id-1",
            "clientId": "id-2",
        },
    ]
    stored = {"client_id": "id-2", "client_secret": "id-0-id-1", "application_id": "a-2", "agent_id": 8}
    stored |= {"agent_name": "api-new", "scope": "read:tickets", "made_at": MADE_NOW, "reason": "created"}
    assert world.store.entries["Sync"]["current"] == {**stored, "replaces": None, "in_flight": False}
    assert world.store.held == 1
    # its secret is tried for what it was granted
    assert world.scopes[-1] == "read:tickets"
    assert [(line.action, line.cause, line.client_id, line.agent) for line in world.trail.steps] == [
        (action, "created", "id-2", "api-new") for action in ("create", "set", "test", "finish")
    ]
    found = quiet(world, spec)
    assert found["bindings"]["Sync"] == {
        **row,
        **made,
        "changed": False,
        "rotated": False,
        "reason": "none",
        "drift": [],
    }
    assert found["diff"] == {"before": {}, "after": {}}
    assert world.warnings == []


@pytest.mark.parametrize(
    ("how", "says", "agent"), [("keep", None, False), ("disable", "disabled", True), ("delete", "deleted", None)]
)
def test_another_agent_takes_over(world: World, how: str, says: str | None, agent: bool | None) -> None:
    world.bound()
    world.agent(30, "api-30")
    spec = bind(agent="api-30", previous_agent=how)
    row = {**ROW, "agent_id": 30, "agent_name": "api-30", "changed": True, "rotated": True, "reason": "agent_changed"}
    row |= {"drift": ["login agent: api-20 instead of api-30"], "previous_agent_id": 20}
    assert world.run(spec, check_mode=True)["bindings"]["Sync"] == {**row, "verified": None}
    result = world.run(spec)
    assert result["bindings"]["Sync"] == {**row, "made_at": MADE_NOW, "previous_agent": says}
    for when, agent_id, more in (("before", 20, {}), ("after", 30, {"client_secret": "new (agent_changed)"})):
        view = result["diff"][when]["Sync"]
        assert view["agent"] == {**AGENT_VIEW, "id": 30, "name": "api-30"}
        login = {"id": agent_id, "name": f"api-{agent_id}"}
        known = {"id": "a-Sync", "client_id": "c-a-Sync", "scopes": ["all"], "login_agent": login}
        assert view["application"] == {**APPLICATION_VIEW, **known, **more}
    assert (world.agents[20]["isdisabled"] if 20 in world.agents else None) is agent
    assert "GET /Agent/me" in world.requests
    again = quiet(world, spec)["bindings"]["Sync"]
    assert again == {**ROW, "agent_id": 30, "agent_name": "api-30", "made_at": MADE_NOW}


def test_the_agent_and_the_application_are_brought_up_to_date_without_a_new_secret(world: World) -> None:
    world.bound()
    spec = bind(application={"scopes": ["read:tickets"], "enabled": True})
    spec["agent"] |= {"email": "a@example.com", "roles": ["Reader"]}
    foretold = world.run(spec, check_mode=True)
    # check mode has not granted them
    assert world.scopes[-1] == "all"
    result = world.run(spec)
    assert world.scopes[-1] == "read:tickets"
    assert [sent["id"] for sent in world.sent] == [20, "a-Sync"]
    for found in (foretold, result):
        assert found["bindings"]["Sync"]["changed"]
        assert not found["bindings"]["Sync"]["rotated"]
        assert found["bindings"]["Sync"]["drift"] == [
            "email: nothing instead of a@example.com",
            "roles: Reader is missing",
            "scopes: read:tickets is missing",
            "scopes: all is not declared",
        ]
        before, after = found["diff"]["before"]["Sync"], found["diff"]["after"]["Sync"]
        assert before["agent"] == {**AGENT_VIEW, "id": 20, "name": "api-20"}
        assert (after["agent"]["email"], after["agent"]["roles"]) == ("a@example.com", ["Reader"])
        assert (before["application"]["scopes"], after["application"]["scopes"]) == (["all"], ["read:tickets"])
        assert "client_secret" not in after["application"]
    quiet(world, spec)
    spec["application"]["scopes"] = ["read:tickets", "read:agents"]
    world.run(spec, rotate=True)
    assert world.store.entries["Sync"]["current"]["scope"] == "read:agents read:tickets"


@pytest.mark.parametrize(
    "spec",
    [
        bind() | {"agent": {"name": "api-20", "email": "a@example.com"}},
        bind(application={"scopes": ["all"], "redirect_uris": ["https://example.com"]}),
    ],
    ids=["agent", "application"],
)
def test_a_change_of_one_is_a_change(world: World, spec: Row) -> None:
    world.bound()
    for check_mode in (True, False):
        result = world.run(spec, check_mode=check_mode)
        assert (result["changed"], result["bindings"]["Sync"]["changed"]) == (True, True)
        assert [*result["diff"]["after"]] == ["Sync"]
    assert len(world.writes) == 1


def test_what_is_said_of_an_agent_and_of_an_application_is_told_apart(world: World) -> None:
    world.bound()
    world.applications["a-Sync"].update(inactive=True, displayName="SYNC")
    world.agents[20]["isdisabled"] = True
    drift = world.run(bind(), check_mode=True)["bindings"]["Sync"]["drift"]
    assert drift == ["enabled: false instead of true", "application enabled: false instead of true"]
    # what is disabled cannot be tried before it is enabled
    assert world.requests.count("POST /token") == 1
    assert world.run(bind())["bindings"]["Sync"]["verified"] is True


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ({"loginas_agent_id": 3}, "login agent: Admin (a human agent) instead of api-20"),
        ({"loginas_agent_id": 99}, "login agent: 99 (no such agent) instead of api-20"),
        ({"loginas_agent_id": 30}, "login agent: api-30 instead of api-20"),
        ({"loginas_agent_id": 0}, "login agent: nobody instead of api-20"),
        ({"loginas_agent_id": 0, "allowagents": False, "allowusers": True}, "login type: user instead of agent"),
    ],
)
def test_what_it_logs_in_as_instead(world: World, change: Row, drift: str) -> None:
    world.bound()
    world.agent(30, "api-30")
    world.applications["a-Sync"].update(change)
    assert world.run(bind(), check_mode=True)["bindings"]["Sync"]["drift"] == [drift]


def test_a_secret_that_does_not_log_in_any_more_is_replaced(world: World) -> None:
    world.bound()
    world.secrets["c-a-Sync"] = "somebody's"
    row = world.run(bind(), check_mode=True)["bindings"]["Sync"]
    assert (row["rotated"], row["reason"], row["verified"]) == (True, "invalid", None)
    row = world.run(bind())["bindings"]["Sync"]
    assert (row["rotated"], row["reason"], row["verified"]) == (True, "invalid", True)
    assert row["drift"] == ["secret: the stored one does not log in"]
    world.secrets["c-a-Sync"] = "somebody's"
    assert quiet(world, bind(), verify=False)["bindings"]["Sync"]["verified"] is None


@pytest.mark.parametrize("rotate", [True, "yes", 1])
def test_a_new_secret_on_request_and_the_way_back(world: World, rotate: Any) -> None:
    world.bound()
    row = world.run(bind(), rotate=rotate)["bindings"]["Sync"]
    assert (row["rotated"], row["reason"], row["drift"]) == (True, "requested", [])
    result = world.run(bind(), rotate="Rollback")
    assert (result["bindings"]["Sync"]["rotated"], result["bindings"]["Sync"]["reason"]) == (True, "rollback")
    assert result["diff"]["after"]["Sync"]["application"]["client_secret"] == "previous (rollback)"
    assert world.secrets["c-a-Sync"] == "s-Sync"


# Age

OLD = "2026-03-01T12:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("made_at", "days", "reason", "drift", "due_at"),
    [
        ("2026-06-20T12:00:00+00:00", 30, "none", "", "2026-07-14T12:00:00+00:00"),
        ("2026-06-05T12:00:00+00:00", 30, "expired", "due since 2026-06-29", "2026-06-29T12:00:00+00:00"),
        ("2026-05-31T12:00:00+00:00", 30, "expired", "expired on 2026-06-30", "2026-06-24T12:00:00+00:00"),
        ("2026-05-31T12:00:01+00:00", 30, "expired", "due since 2026-06-24", "2026-06-24T12:00:01+00:00"),
        ("once", 30, "expired", "its age is not known", None),
        (OLD, None, "none", "", None),
    ],
)
def test_age(world: World, made_at: str, days: Any, reason: str, drift: str, due_at: Any) -> None:
    world.bound()["current"]["made_at"] = made_at
    row = world.run(bind(max_age_days=days), jitter=0.0, check_mode=True)["bindings"]["Sync"]
    assert (row["reason"], row["due_at"], row["made_at"]) == (reason, due_at, made_at)
    why = f" (max_age_days: {days})" if due_at else ""
    assert row["drift"] == ([f"secret: {drift}{why}"] if drift else [])


def test_tenants_and_bindings_are_due_at_times_of_their_own(world: World) -> None:
    world.bound()
    world.bound("Other")
    world.bound("sync ")
    found = []
    for name, options in (("Sync", {}), ("Other", {}), ("Sync", {"halo_tenant": "acme"}), ("Sync", {"jitter": 0.0})):
        found.append(world.run(bind(name, max_age_days=100), **options, verify=False)["bindings"][name]["due_at"])
    assert len(set(found)) == 4
    assert found[-1] == "2026-09-08T12:00:00+00:00"


def test_what_is_due_waits_for_the_window(world: World) -> None:
    world.bound()["current"]["made_at"] = "2026-06-05T12:00:00+00:00"
    opens, closed = {"from": "11:00", "to": "13:00"}, {"from": "13:00", "to": "15:00"}
    for hours, reason in ((opens, "expired"), (closed, "none"), (None, "expired")):
        spec = bind(max_age_days=30)
        assert world.run(spec, window=hours, jitter=0.0, check_mode=True)["bindings"]["Sync"]["reason"] == reason


@pytest.mark.parametrize(("jitter", "right"), [(-0.1, False), (0.0, True), (20.0, True), (20.1, False)])
def test_jitter(world: World, jitter: float, right: bool) -> None:
    world.bound()
    if right:
        quiet(world, bind(), jitter=jitter)
    else:
        said = f"jitter must be 0 to 20 (per cent of max_age_days), not {jitter:g}."
        assert said in wrong(world, bind(), jitter=jitter)


# What contradicts itself


def test_bindings_or_an_acknowledgement() -> None:
    def said(**options: Any) -> list[str]:
        found: list[str] = (
            ArgumentSpecValidator(BINDINGS.options, **BINDINGS.constraints).validate(options).error_messages
        )
        return found

    done = {"name": "Sync", "made_at": OLD}
    assert said(acknowledge=done) == said(bindings=[bind()]) == []
    assert said() == ["one of the following is required: bindings, acknowledge"]
    assert said(acknowledge=done, bindings=[bind()]) == ["parameters are mutually exclusive: bindings|acknowledge"]


@pytest.mark.parametrize(
    ("bindings", "message"),
    [
        ([bind(), bind(" sync ")], "two bindings are called 'sync'"),
        (
            [bind(), bind("Other") | {"agent": {"name": "API-20", "email": "a@example.com", "enabled": False}}],
            r"the bindings 'Sync' and 'Other' give the agent 'API-20' different settings \(enabled\)",
        ),
        (
            [
                bind() | {"agent": {"name": "a", "roles": ["A", "b"], "email": "one@example.com"}},
                bind("Other") | {"agent": {"name": "a", "roles": ["B", "c"], "email": "two@example.com"}},
            ],
            r"the agent 'a' different settings \(email, roles\)",
        ),
        ([bind("I", kind="integrator")], "binding 'I': the Halo Integrator has no options of an application"),
        ([bind(renamed_from=" SYNC")], "binding 'Sync': renamed_from is 'SYNC', its own name"),
        (
            [bind(renamed_from="Other"), bind("Other")],
            "binding 'Sync': it is renamed from 'Other', and that is declared as a binding too",
        ),
        (
            [bind(renamed_from="Old"), bind("Other", renamed_from="old")],
            "binding 'Other': it is renamed from 'old', and that is what 'Sync' was called too",
        ),
    ],
)
def test_bindings_that_cannot_be(world: World, bindings: list[Row], message: str) -> None:
    for do in (converge, decommission):
        with pytest.raises(HaloError, match=message):
            world.run(*bindings, do=do)
        assert not world.requests


def test_bindings_that_share_an_agent(world: World) -> None:
    """What is not set leaves the other's value, lists are sets, and names count as Halo compares them."""
    first = bind() | {"agent": {"name": "api-new", "roles": ["Admin", "Reader"], "email": "a@example.com"}}
    second = bind("Other") | {"agent": {"name": "API-NEW", "roles": ["reader", "admin"]}}
    world.run(first, second)
    assert world.writes == ["POST /Agent", "POST /Application", "POST /Application"]
    assert {row["loginas_agent_id"] for row in world.applications.values()} == {7, 8}
    del world.applications["a-2"], world.applications["a-3"], world.agents[8]
    world.store.entries.clear()
    foretold = world.run(first, second, check_mode=True)["bindings"]
    for name in ("Sync", "Other"):
        assert foretold[name]["drift"] == ["there is no such agent", "there is no such application"]
    world.bound("Third")
    # one that nobody changes is looked at once
    quiet(world, bind("Third"))
    assert world.reads.count("GET /Agent/20") == 1


def test_what_an_earlier_binding_has_warned_of_is_said_once(world: World) -> None:
    first = bind() | {"agent": {"name": "api-new"}}
    result = world.run(first, first | {"name": "Other"})
    broad = (
        "is granted the scope all, which Halo says not to use in production. Grant what it needs, such as read:tickets."
    )
    for name in ("Sync", "Other"):
        assert result["bindings"][name]["warnings"] == [f"application '{name}' {broad}"]
    assert world.warnings == [f"binding '{name}': application '{name}' {broad}" for name in ("Sync", "Other")]


# What fails


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_failure_is_of_one_binding(world: World, check_mode: bool) -> None:
    world.bound()
    world.bound("Other", 30)
    world.store.fail["Other"] = HaloError("it is not what this store writes.", hint="Restore it.")
    result = world.run(bind(), bind("Other", "api-30"), check_mode=check_mode)
    said = f"{INSTANCE}: binding 'Other': it is not what this store writes. Restore it."
    assert result["bindings"]["Sync"] == ROW
    row = {**ROW, "agent_id": None, "agent_name": "api-30", "application_id": None, "client_id": None}
    row |= {"verified": None, "made_at": None, "error": said.removeprefix(f"{INSTANCE}: "), "hint": "Restore it."}
    assert result["bindings"]["Other"] == row
    assert result["failed"] is True
    assert result["msg"] == f"1 of 2 bindings failed: Other: {row['error']}"
    assert result["error"] == {"method": None, "path": None, "status": None, "answer": None, "hint": "Restore it."}
    assert not result["changed"]
    alone = world.run(bind("Other", "api-30"), check_mode=check_mode)
    assert (alone["failed"], alone["msg"]) == (True, row["error"])


def test_two_failures_are_both_named(world: World) -> None:
    for name in ("Sync", "Other"):
        world.bound(name)
        world.store.fail[name] = HaloError(f"{name} is broken.")
    result = world.run(bind(), bind("Other"))
    assert result["msg"] == (
        "2 of 2 bindings failed: Sync: binding 'Sync': Sync is broken. / Other: binding 'Other': Other is broken."
    )


def test_what_failed_at_first_is_not_tried(world: World) -> None:
    world.bound()
    world.disturb("GET /Application/a-Sync", answer({"Message": "no"}, 500), times=9)
    result = world.run(bind(application={"scopes": ["read:tickets"]}))
    row = result["bindings"]["Sync"]
    assert row["error"].startswith(f"{INSTANCE}: application 'Sync': GET /Application/a-Sync answered 500.")
    assert not world.writes
    known = {"agent_id": 20, "application_id": "a-Sync", "client_id": "c-a-Sync", "verified": None}
    assert {key: row[key] for key in known} == known
    assert (row["hosted"], row["changed"], row["previous_agent_id"]) == (False, False, None)


def test_a_guard_that_says_no_tells_what_it_keeps(world: World) -> None:
    world.bound()
    world.agents[20]["isapiagent"] = False
    world.applications["a-Sync"]["system_use"] = "portal"
    spec = bind(application={"scopes": ["read:tickets"]})
    row = world.run(spec)["bindings"]["Sync"]
    assert "it is a human agent" in row["error"]
    assert row["drift"] == [
        "api only: false instead of true",
        "scopes: read:tickets is missing",
        "scopes: all is not declared",
    ]
    assert not world.writes
    spec["agent"]["allow_conversion"] = True
    assert "it is a system application" in world.run(spec)["bindings"]["Sync"]["error"]
    assert not world.run(spec | {"allow_system": True})["bindings"]["Sync"]["error"]


def test_what_is_behind_a_guard_and_wrong_all_the_same(world: World) -> None:
    """The second look fails as well: what it saw until then is drift."""
    world.bound()
    world.agents[20]["isapiagent"] = False
    row = world.run(bind(application={"scopes": ["all"], "enabled": False}))["bindings"]["Sync"]
    assert row["drift"] == ["api only: false instead of true", "application enabled: true instead of false"]
    world.disturb("GET /Application", answer({"Message": "no"}, 500))
    assert world.run(bind())["bindings"]["Sync"]["drift"] == []


def test_an_unfinished_secret_is_not_delivered(world: World) -> None:
    world.bound(outstanding={"deliver": "2026-06-20T12:00:00.000000+00:00"})
    action = {"action": "deliver", "name": "Sync", "kind": "application", "on_rotated": "/t.yml"}
    action["made_at"] = "2026-06-20T12:00:00.000000+00:00"
    spec = bind(on_rotated="/t.yml")
    result = world.run(spec)
    assert result["pending_actions"] == [action]
    assert result["bindings"]["Sync"]["drift"] == ["secret: it has yet to be delivered by on_rotated"]
    assert result["changed"]
    assert world.run(spec, check_mode=True)["pending_actions"] == []
    found = world.run(bind())
    assert (found["pending_actions"], found["bindings"]["Sync"]["drift"]) == ([], [])
    # a new one is refused, so the old one would be delivered in vain
    world.agent(30, "api-30")
    world.disturb("POST /Application", answer("no", 400), times=9)
    result = world.run(bind(agent="api-30", on_rotated="/t.yml"))
    assert result["bindings"]["Sync"]["error"]
    assert result["pending_actions"] == []


def test_a_failure_can_wait_until_what_is_pending_is_done(world: World) -> None:
    world.bound(outstanding={"deliver": OLD})
    world.bound("Other", 30)
    world.store.fail["Other"] = HaloError("broken.")
    specs = bind(on_rotated="/t.yml"), bind("Other", "api-30")
    assert world.run(*specs)["failed"] is True
    result = world.run(*specs, defer_failure=True)
    assert (result["failed"], result["pending_actions"][0]["made_at"]) == (False, OLD)
    assert result["msg"]
    assert world.run(specs[1], defer_failure=True)["failed"] is True
    assert "failed" not in world.run(specs[0], defer_failure=True)


def test_a_new_secret_is_noted_for_delivery(world: World) -> None:
    world.bound()
    result = world.run(bind(on_rotated="/t.yml"), rotate=True)
    assert [(one["action"], one["made_at"]) for one in result["pending_actions"]] == [("deliver", MADE_NOW)]


def test_what_an_earlier_run_left(world: World) -> None:
    found = world.bound(
        outstanding={"retire": [{"agent_id": "30", "made_at": OLD}, {"agent_id": "31", "made_at": OLD}]}
    )
    found["pending"] = label("Sync", made_at=OLD, client_secret="pending")
    world.agent(30, "api-30")
    world.agent(31, "api-31")
    row = world.run(bind(previous_agent="disable"), check_mode=True)["bindings"]["Sync"]
    assert row["drift"] == [
        f"secret: one is pending since {OLD}, from a run that did not finish",
        "previous agent: 30, 31 has yet to be retired",
    ]
    assert world.run(bind(previous_agent="disable"))["bindings"]["Sync"]["previous_agent"] == "disabled"
    assert world.agents[30]["isdisabled"]
    assert world.agents[31]["isdisabled"]
    quiet(world, bind(previous_agent="disable"))


def test_an_agent_that_cannot_be_retired_is_an_error_that_names_it(world: World) -> None:
    world.bound(outstanding={"retire": [{"agent_id": "30", "made_at": OLD}]})
    world.agent(30, "api-30")
    world.disturb("POST /Agent", answer("no", 400), times=9)
    row = world.run(bind(previous_agent="disable"))["bindings"]["Sync"]
    assert "previous agent 30: POST /Agent answered 400" in row["error"]
    world.application("a-x", "X", loginas_agent_id=30)
    row = world.run(bind(previous_agent="disable"))["bindings"]["Sync"]
    assert (row["error"], row["previous_agent"][:6]) == (None, "kept: ")
    assert row["warnings"][0].startswith("the previous agent 30 stays as it is: ")
    assert world.warnings == [f"binding 'Sync': {row['warnings'][0]}"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (bind(application=None), "application.scopes is missing"),
        (bind(application={"scopes": []}), "without scopes lets nobody in"),
        (bind() | {"agent": {"name": "api-20", "enabled": False}}, "agent 'api-20': it would be disabled"),
        (bind(application={"enabled": False, "scopes": ["all"]}), "application 'Sync': it would be disabled"),
        (
            bind(application={"authentication_method": "implicit", "scopes": ["all"]}),
            "application 'Sync': its authentication_method is implicit",
        ),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_what_could_never_log_in(world: World, spec: Row, message: str, there: bool) -> None:
    if there:
        world.bound()
    row = world.run(spec)["bindings"]["Sync"]
    assert not row["changed"]
    if there and spec["application"] is None:
        assert row["error"] is None
    elif there and "agent" in message:
        # a guard says no before
        assert "it is the login agent of application 'Sync'" in row["error"]
    else:
        assert message in row["error"]
    assert not world.writes


def test_what_is_bound_is_enabled_without_a_word(world: World) -> None:
    world.bound()
    world.applications["a-Sync"]["inactive"] = True
    row = world.run(bind(application=None), check_mode=True)["bindings"]["Sync"]
    assert row["drift"] == ["application enabled: false instead of true"]


def test_a_method_that_is_not_known_is_left_to_the_login(world: World) -> None:
    world.bound()
    world.applications["a-Sync"]["grant_type"] = "device_code"
    quiet(world, bind())


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answer({"error": "invalid_scope"}, 400), "its scopes cannot be had, so its secret cannot be proven"),
        (answer({"error": "invalid_client", "s": "x"}, 400), None),
    ],
)
def test_the_login_of_what_is_stored(world: World, reply: Response, message: str | None) -> None:
    world.bound()
    world.disturb("POST /token", reply, skip=1)
    row = world.run(bind(), check_mode=True)["bindings"]["Sync"]
    if message:
        assert message in row["error"]
        assert "Halo said: " in row["error"]
    else:
        assert (row["error"], row["reason"]) == (None, "invalid")


def test_the_agent_that_is_bound_is_read_back(world: World) -> None:
    world.bound()
    world.agent(30, "api-30")
    bound = {**world.applications["a-Sync"], "clientSecret": None}
    world.disturb("POST /Application", answer(bound))
    row = world.run(bind(agent="api-30"))["bindings"]["Sync"]
    assert "did not keep the login agent: it is 20 instead of 30" in row["error"]


def test_what_halo_has_answered_is_kept_whatever_fails_then(world: World) -> None:
    world.agent(20, "api-20")
    world.disturb("POST /Application", answer({"id": "a-9", "clientId": "c-9"}, 201))
    assert "cannot be read back" in world.run(bind())["bindings"]["Sync"]["error"]
    pending = world.store.entries["Sync"]["pending"]
    assert (pending["application_id"], pending["client_id"], pending["in_flight"]) == ("a-9", "c-9", False)


def test_adopting(world: World) -> None:
    world.bound()
    world.store.entries.clear()
    assert "set adopt: rotate" in world.run(bind())["bindings"]["Sync"]["error"]
    wrong_secret = world.run(bind(adopt="proven", adopt_secret="other-s3cret"))["bindings"]["Sync"]
    assert "adopt_secret does not log in as api-20 (the credentials were refused (invalid_client)" in wrong_secret[
        "error"
    ].replace(f"{INSTANCE}: login: ", "")
    assert "other-s3cret" in world.client_used.secrets
    row = world.run(bind(adopt="proven", adopt_secret="s-Sync"))["bindings"]["Sync"]
    assert (row["changed"], row["rotated"], row["verified"]) == (True, False, True)
    assert world.store.entries["Sync"]["current"]["client_secret"] == "s-Sync"
    world.store.entries.clear()
    row = world.run(bind(adopt="rotate"))["bindings"]["Sync"]
    assert (row["rotated"], row["reason"], row["drift"]) == (True, "missing", ["secret: the store has none"])


# What the store has of others


def test_what_nobody_declares_is_a_warning(world: World) -> None:
    world.bound()
    world.bound("Lost\n")
    world.bound("Also lost")
    assert world.run(bind())["orphans"] == ["Also lost", "Lost\n"]
    [said] = world.warnings
    assert said.startswith(
        "the store has secrets of bindings that are not declared: 'Also lost', 'Lost'. If one was renamed, say so with "
        "renamed_from; "
    )
    world.store.fail["others"] = HaloError("it cannot be listed.")
    assert world.run(bind())["orphans"] == []
    assert world.warnings == [
        "the store was not searched for bindings that are no longer declared: it cannot be listed."
    ]
    del world.store.fail["others"], world.store.entries["Lost\n"]
    assert world.run(bind(renamed_from="Also lost"))["orphans"] == []


# Its own login


def own(**more: Any) -> Row:
    return {"name": "Automation", "agent": {"name": "api-own"}, "allow_self": True, **more}


def own_stored(world: World, **labels: str) -> None:
    of = {"client_id": OWN_ID, "application_id": "a-own", "agent_id": 7, "agent_name": "api-own"}
    world.store.entries["Automation"] = kept(
        **{name: label("x", **of, client_secret=found) for name, found in labels.items()}
    )


def test_the_own_login_comes_last_and_is_said(world: World) -> None:
    world.bound()
    own_stored(world, current=OWN_SECRET)
    spec = bind(on_rotated="/t.yml")
    result = world.run(own(), spec, rotate=True, check_mode=True)
    assert [*result["bindings"]] == ["Sync", "Automation"]
    assert result["pending_actions"] == []
    result = world.run(own(), spec, rotate=True)
    assert [one["action"] for one in result["pending_actions"]] == ["own_login", "deliver"]
    assert result["pending_actions"][0] == {"action": "own_login", "name": "Automation"}
    # and from then on the run itself logs in with the new one
    new = world.store.entries["Automation"]["current"]["client_secret"]
    assert world.client_used.login.connection.client_secret == new != OWN_SECRET
    assert "own_login" not in str(world.run(own(), spec, halo_client_secret=new))
    assert "its login is not changed" in world.run(own(allow_self=False), rotate=True, halo_client_secret=new)["msg"]


@pytest.mark.parametrize("place", ["current", "pending"])
def test_a_stored_secret_is_used_where_the_given_one_is_refused(world: World, place: str) -> None:
    own_stored(world, **{"current": "older", place: OWN_SECRET})
    result = world.run(own(), halo_client_secret="lost", verify=False)
    assert result["pending_actions"][0] == {"action": "own_login", "name": "Automation"}
    assert world.client_used.login.connection.client_secret == OWN_SECRET
    world.store.entries["Old"] = world.store.entries.pop("Automation")
    world.store.entries["Automation"] = entry(None)
    result = world.run(own(renamed_from="Old"), halo_client_secret="lost", check_mode=True)
    # it still has the old name there
    assert result["pending_actions"] == [{"action": "own_login", "name": "Old"}]


@pytest.mark.parametrize(
    ("spec", "stored", "reply"),
    [
        (own(allow_self=False), OWN_SECRET, None),
        (own(), "older", None),
        (own(), OWN_SECRET, answer({"error": "invalid_scope"}, 400)),
    ],
)
def test_the_refusal_of_the_given_one_stands(world: World, spec: Row, stored: str, reply: Any) -> None:
    own_stored(world, current=stored)
    if reply:
        world.disturb("POST /token", reply)
    with pytest.raises(LoginError, match="the credentials were refused"):
        world.run(spec, halo_client_secret="lost")
    assert world.requests.count("POST /token") == (2 if stored == "older" else 1)
    with pytest.raises(LoginError):
        world.run(spec, halo_client_secret="lost", halo_client_id="another")


def test_the_refusal_stands_where_the_entry_cannot_be_read(world: World) -> None:
    own_stored(world, current=OWN_SECRET)
    world.store.fail["Automation"] = HaloError("broken.")
    with pytest.raises(LoginError):
        world.run(own(), halo_client_secret="lost")


# Renaming


def test_a_binding_gets_another_name(world: World) -> None:
    world.bound("Old")
    spec = bind(renamed_from=" Old ", on_rotated="/t.yml")
    world.store.entries["Old"]["outstanding"]["deliver"] = OLD
    foretold = world.run(spec, check_mode=True)
    assert foretold["bindings"]["Sync"]["drift"] == [
        "application name: Old instead of Sync",
        "secret: it has yet to be delivered by on_rotated",
        "stored secret: under the name Old instead of Sync",
    ]
    assert foretold["pending_actions"] == []
    result = world.run(spec)
    assert world.applications["a-Old"]["displayName"] == "Sync"
    assert world.store.entries["Sync"]["current"]["client_secret"] == "s-Old"
    assert world.store.entries["Old"]["current"] is None
    assert [one["name"] for one in result["pending_actions"]] == ["Sync"]
    assert ("move", "renamed") in [(line.action, line.cause) for line in world.trail.steps]


def test_what_cannot_be_moved_is_not_delivered_under_the_new_name(world: World) -> None:
    world.bound("Old")
    world.store.entries["Old"]["outstanding"]["deliver"] = OLD
    world.disturb("GET /Application/a-Old", answer({"Message": "no"}, 500), times=9)
    result = world.run(bind(renamed_from="Old", on_rotated="/t.yml"))
    assert result["bindings"]["Sync"]["error"]
    assert result["pending_actions"] == []


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({"displayName": "Sync"}, False),
        ({"displayName": "Sync", "clientId": "c-x"}, False),
        ({"displayName": "Sync", "clientId": "c-x", "id": "a-x"}, True),
    ],
)
@pytest.mark.parametrize("do", [converge, decommission])
def test_what_has_the_new_name_is_another_one(world: World, change: Row, taken: bool, do: Any) -> None:
    world.bound("Old")
    row = world.applications.pop("a-Old")
    row |= change
    world.applications[row["id"]] = row
    spec = bind(renamed_from="Old")
    if do is decommission and taken:
        with pytest.raises(HaloError, match="the secret that is stored as 'Old' is of another one"):
            world.run(spec, do=do, check_mode=True)
        return
    error = world.run(spec, do=do, check_mode=True)["bindings"]["Sync"]["error"]
    assert ("the secret that is stored as 'Old' is of another one" in (error or "")) is taken


# The Integrator


def integrator(**more: Any) -> Row:
    return {"name": "Integrator", "kind": "integrator", "agent": {"name": "api-20"}, **more}


def test_the_integrator(world: World) -> None:
    world.agent(20, "api-20")
    foretold = world.run(integrator(), check_mode=True)["bindings"]["Integrator"]
    result = world.run(integrator())
    row = {**ROW, "kind": "integrator", "application_id": 1, "client_id": "i-1", "changed": True, "rotated": True}
    row |= {"reason": "agent_changed", "drift": ["login agent: Admin (a human agent) instead of api-20"]}
    row |= {"previous_agent_id": 3, "made_at": MADE_NOW}
    assert result["bindings"]["Integrator"] == row
    assert foretold == {**row, "application_id": None, "verified": None, "made_at": None}
    assert world.control["loginas_halointegrator"] == 20
    assert world.store.entries["Integrator"]["current"]["application_id"] == 1
    assert result["diff"]["after"]["Integrator"]["integrator"]["client_secret"] == "new (agent_changed)"
    quiet(world, integrator())


def test_a_hosted_integrator(world: World) -> None:
    world.agent(20, "api-20")
    world.control["hashostedintegrator"] = True
    row = world.run(integrator())["bindings"]["Integrator"]
    assert "it is hosted by Halo" in row["error"]
    assert row["drift"] == ["login agent: Admin (a human agent) instead of api-20"]
    assert not world.writes
    result = world.run(integrator(allow_hosted=True))
    row = result["bindings"]["Integrator"]
    assert row["hosted"] is True
    assert row["handover"].startswith(
        f"Please reconnect the Halo Integrator that you host for {INSTANCE} (client ID i-1). "
        'It now logs in as the agent "api-20", and '
    )
    assert result["pending_actions"] == [{"action": "handover", "name": "Integrator"}]
    found = quiet(world, integrator())
    assert (found["bindings"]["Integrator"]["handover"], found["bindings"]["Integrator"]["hosted"]) == (None, True)
    world.secrets["i-1"] = "entered by Halo"
    assert not world.run(integrator())["bindings"]["Integrator"]["rotated"]
    assert world.run(integrator(allow_hosted=True))["bindings"]["Integrator"]["reason"] == "invalid"


# What has just been written


def test_what_the_list_does_not_show_yet_is_found_by_what_the_store_knows(world: World) -> None:
    world.bound()
    agents = [row for row in world.agents.values() if row["id"] != 20]
    world.disturb("GET /Agent", answer(agents), times=9)
    world.disturb("GET /Application", answer([world.applications["a-own"]]), times=9)
    quiet(world, bind())
    world.store.entries["Sync"]["current"]["agent_name"] = "another"
    assert world.run(bind(), check_mode=True)["bindings"]["Sync"]["drift"][0] == "there is no such agent"
    # what is pending is newer
    world.store.entries["Sync"]["current"]["agent_name"] = "api-20"
    world.store.entries["Sync"]["current"]["application_id"] = "a-gone"
    world.store.entries["Sync"]["pending"] = label("Sync")
    assert "there is no such application" not in world.run(bind(), check_mode=True)["bindings"]["Sync"]["drift"]


# The way out


GONE = {"changed": False, "application_id": None, "client_id": None, "agent_id": None, "agent_name": None}
GONE |= {"previous_agent": None, "warnings": [], "error": None, "hint": None}


@pytest.mark.parametrize(("how", "says"), [("keep", None), ("disable", "disabled"), ("delete", "deleted")])
def test_a_binding_is_taken_out_of_service(world: World, how: str, says: str | None) -> None:
    world.bound()
    view = {**APPLICATION_VIEW, "id": "a-Sync", "client_id": "c-a-Sync", "scopes": ["all"]}
    view["login_agent"] = {"id": 20, "name": "api-20"}
    row = {**GONE, "changed": True, "application_id": "a-Sync", "client_id": "c-a-Sync", "agent_id": 20}
    row["agent_name"] = "api-20"
    expected = {
        "changed": True,
        "instance": INSTANCE,
        "pending_actions": [],
        "diff": {"before": {"Sync": {"application": view}}, "after": {"Sync": {"application": None}}},
    }
    foretold = world.run(bind(), do=decommission, check_mode=True, decommission_agent=how)
    assert foretold == {**expected, "check_mode": True, "bindings": {"Sync": row}}
    assert not world.writes
    assert not world.store.wrote
    result = world.run(bind(), do=decommission, decommission_agent=how)
    assert result == {**expected, "check_mode": False, "bindings": {"Sync": {**row, "previous_agent": says}}}
    assert "a-Sync" not in world.applications
    found = world.store.entries["Sync"]
    assert (found["current"], found["previous"]["client_secret"]) == (None, "s-Sync")
    lines = [(line.action, line.cause, line.client_id, line.agent, line.outcome) for line in world.trail.steps]
    retired = [("retire", "absent", "c-a-Sync", "20", "ok")] if says else []
    assert lines == [("delete", "absent", "c-a-Sync", "api-20", "ok"), *retired]
    again = world.run(bind(), do=decommission)
    assert again["bindings"] == {"Sync": GONE}
    assert again["diff"] == {"before": {}, "after": {}}
    assert not again["changed"]
    assert not world.writes
    assert not world.store.wrote


def test_what_is_gone_already_leaves_the_store(world: World) -> None:
    world.bound()
    del world.applications["a-Sync"]
    result = world.run(bind(), do=decommission)
    assert (result["changed"], result["diff"]["before"]) == (True, {"Sync": {"application": None}})
    assert world.store.entries["Sync"]["current"] is None
    assert world.agents[20]["isdisabled"]


def test_what_only_a_pending_secret_is_known_of(world: World) -> None:
    found = world.bound()
    found["pending"], found["current"] = found["current"], None
    assert world.run(bind(), do=decommission)["bindings"]["Sync"]["client_id"] == "c-a-Sync"


def test_what_the_list_does_not_show_yet_is_taken_out_by_what_the_store_knows(world: World) -> None:
    world.bound()
    world.disturb("GET /Application", answer([world.applications["a-own"]]), times=9)
    world.run(bind(), do=decommission, decommission_agent="keep")
    assert "a-Sync" not in world.applications


def test_an_agent_that_stays(world: World) -> None:
    world.bound()
    world.application("a-x", "X", loginas_agent_id=20)
    row = world.run(bind(), do=decommission)["bindings"]["Sync"]
    assert row["previous_agent"].startswith("kept: the agent 'api-20' is still the login agent of")
    assert row["warnings"] == [f"the agent 20 stays as it is: {row['previous_agent'].removeprefix('kept: ')}"]
    assert world.trail.steps[-1].outcome != "ok"
    assert world.store.entries["Sync"]["current"] is None


def test_a_way_out_that_fails_is_one_bindings(world: World) -> None:
    world.bound()
    world.bound("Other", 30)
    world.disturb("DELETE /Application/a-Sync", answer("no", 403), times=9)
    result = world.run(bind(), bind("Other", "api-30"), do=decommission)
    row = result["bindings"]["Sync"]
    assert row["error"].startswith(f"{INSTANCE}: application 'Sync': DELETE /Application/a-Sync answered 403.")
    assert (row["hint"][:30], row["previous_agent"]) == ("The application's scopes or it", None)
    assert result["failed"] is True
    assert result["msg"].startswith("1 of 2 bindings failed: Sync: ")
    assert not result["bindings"]["Other"]["error"]
    assert world.store.entries["Sync"]["current"]
    assert world.store.entries["Other"]["current"] is None


@pytest.mark.parametrize(
    ("prepare", "spec", "message"),
    [
        (lambda world: None, integrator(), "binding 'Integrator': the Halo Integrator cannot be deleted"),
        (lambda world: world.store.entries.clear(), bind(), "the store knows nothing of it"),
        (
            lambda world: world.store.entries["Sync"]["current"].update(application_id="a-other"),
            bind(),
            r"it is another application \(a-Sync\) than the one that the store knows \(a-other\)",
        ),
        (
            lambda world: world.store.entries["Sync"].update(origin="adopted"),
            bind(),
            "the application was there before this collection gave it a secret",
        ),
        (lambda world: world.store.fail.update(Sync=HaloError("broken.")), bind(), "binding 'Sync': broken"),
        (lambda world: world.applications["a-Sync"].update(system_use="x"), bind(), "it is a system application"),
        (lambda world: None, own(allow_self=False), "it is what this run itself logs in with"),
    ],
)
def test_what_is_not_taken_out_of_service(world: World, prepare: Any, spec: Row, message: str) -> None:
    world.bound()
    world.bound("Other", 30)
    own_stored(world, current=OWN_SECRET)
    prepare(world)
    with pytest.raises(HaloError, match=message):
        world.run(bind("Other", "api-30"), spec, do=decommission)
    assert not world.writes
    assert not world.store.wrote


def test_what_has_to_be_said_for_a_way_out(world: World) -> None:
    world.bound()["origin"] = "adopted"
    assert world.run(bind(), do=decommission, decommission_adopted=True)["changed"]
    own_stored(world, current=OWN_SECRET)
    assert world.run(own(), do=decommission, decommission_agent="keep")["changed"]
    world.bound()
    world.applications["a-Sync"]["system_use"] = "x"
    assert world.run(bind(allow_system=True), do=decommission, decommission_agent="keep")["changed"]


def test_the_way_out_of_a_binding_that_had_another_name(world: World) -> None:
    world.bound("Old")
    assert world.run(bind(renamed_from="Old"), do=decommission)["bindings"]["Sync"]["changed"]
    assert world.store.entries["Sync"]["previous"]["client_secret"] == "s-Old"
    assert world.store.entries["Old"]["renamed_to"] == "Sync"
    assert "a-Old" not in world.applications
    first = world.trail.steps[0]
    assert (first.action, first.cause, first.client_id, first.agent) == ("move", "renamed", "c-a-Old", "api-20")
    # what has the old name and is not known is somebody else's
    world.application("a-new", "Old")
    assert world.run(bind(renamed_from="Old"), do=decommission)["bindings"]["Sync"] == GONE
    assert "a-new" in world.applications


def test_a_tenant_that_is_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def hold() -> None:
        raise TenantBusy("someone else is at work.")

    monkeypatch.setattr(world.store, "hold", hold)
    world.bound()
    for do in (converge, decommission):
        with pytest.raises(TenantBusy):
            world.run(bind(), do=do)
        world.run(bind(), do=do, check_mode=True)


@pytest.mark.parametrize("do", [converge, decommission])
def test_what_may_be_on_its_way_is_waited_for(world: World, do: Any) -> None:
    found = world.bound()
    found["pending"] = label("Sync", made_at="2026-06-30T11:59:57+00:00", in_flight=True)
    world.run(bind(), do=do)
    assert world.slept[0] == 7.0
    del world.slept[:]
    world.run(bind(), do=do, check_mode=True)
    assert world.slept == []


def test_the_clock() -> None:
    slept: list[float] = []
    clock = SystemClock(slept.append)
    clock.sleep(2)
    assert slept == [2]
    assert abs(clock.now() - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
