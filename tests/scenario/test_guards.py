# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused: a clear error that names instance and object, nothing changed in Halo, no traceback."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import http
from halo_sandbox.testing import Sandbox
from helpers.playbook import Step, Task, connection, fault, setting, steered, task
from helpers.tasks import perform, perform_both

AGENT, APPLICATION, INTEGRATOR, LOGIN = "halo_api_agent", "halo_application", "halo_integrator", "halo_login_info"
ROLE, ROLE_INFO = "halo_role", "halo_role_info"
AGENT_INFO, APPLICATION_INFO = "halo_api_agent_info", "halo_application_info"
BOUND = {
    "displayName": "Bound",
    "loginas_agent_id": 8,
    "allowagents": True,
    "scopes": [{"name": "all"}],
    "clientSecret": "an odd one",
}


def prepare(sandbox: Sandbox) -> None:
    reader = next(row["id"] for row in sandbox.state("acme")["roles"] if row["name"] == "Read Only")
    sandbox.put_agents(
        "acme",
        {"name": "api-used", "isapiagent": True, "roles": [{"id": reader}]},
        {"name": "Twice", "isapiagent": True},
        {"name": "twice ", "isapiagent": True, "isdisabled": True},
        {"name": "api-integrator", "isapiagent": True},
    )
    sandbox.put_applications("acme", BOUND, {**BOUND, "displayName": "Two"}, {**BOUND, "displayName": "TWO"})


# name -> module, arguments, what the message must hold (in this order is not needed), and its subject
REFUSED: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "unknown option": (AGENT, {"name": "api-x", "licence": 1}, ["licence is not an option", "default_team"]),
    "wrong choice": (APPLICATION, {"name": "App", "login_type": "application"}, ["login_type must be agent or user"]),
    "not a number": (AGENT, {"agent_id": "eight"}, ["agent_id must be a whole number"]),
    "neither name nor id": (AGENT, {"email": "x@example.com"}, ["name", "agent_id"]),
    "two ids": (AGENT, {"name": "api-used", "agent_id": 8, "cached_id": 8}, ["mutually exclusive", "cached_id"]),
    "two login agents": (
        APPLICATION,
        {"name": "App", "login_agent": "x", "login_agent_id": 8},
        ["mutually exclusive", "login_agent_id"],
    ),
    "no address": (AGENT, {"name": "api-x", "halo_url": ""}, ["halo_url is missing"]),
    "address without scheme": (
        AGENT,
        {"name": "api-x", "halo_url": "acme.example.com"},
        ["halo_url is not an address: acme.example.com", "https://"],
    ),
    "no client ID": (
        AGENT,
        {"name": "api-x", "halo_client_id": ""},
        ["halo_client_id is missing", "halo_access_token"],
    ),
    "wrong secret": (
        AGENT,
        {"name": "api-x", "halo_client_secret": "wr0ng"},
        ["invalid_client", "Check client ID and secret"],
    ),
    "wrong scope": (
        AGENT,
        {"name": "api-x", "halo_scope": "read:nothing"},
        ["invalid_scope", "refuses the whole login. Grant them"],
    ),
    "wrong token": (AGENT, {"name": "api-x", "halo_access_token": "wr0ng"}, ["answered 401", "token was refused"]),
    "wrong tenant": (AGENT, {"name": "api-x", "halo_tenant": "other"}, ["POST /token answered 500", "halo_tenant"]),
    "wrong path": (AGENT, {"name": "api-x", "halo_url": "URL/x"}, ["POST /token answered 404", "halo_url"]),
    "no such host": (
        AGENT,
        {"name": "api-x", "halo_url": "http://halo.invalid"},
        ["no connection could be made", "host name is unknown"],
    ),
    "nobody listens": (
        AGENT,
        {"name": "api-x", "halo_url": "NOBODY"},
        ["no connection could be made", "connection refused"],
    ),
    "no CA file": (
        AGENT,
        {"name": "api-x", "halo_ca_path": "/nowhere/ca.pem"},
        ["halo_ca_path /nowhere/ca.pem does not exist"],
    ),
    "unknown role": (
        AGENT,
        {"name": "api-x", "roles": ["API Integration", "Cook"]},
        ["agent 'api-x'", "there is no role 'Cook'", "Administrator, API Integration, Read Only, Standard User"],
    ),
    "unknown team": (
        AGENT,
        {"name": "api-x", "teams": ["9th Line"]},
        ["there is no team '9th Line'", "2nd Line Support"],
    ),
    "team of two": (
        AGENT,
        {"name": "api-x", "teams": ["operations"]},
        ["2 teams are called 'operations'", "5, 6", "Give the id"],
    ),
    "unknown default team": (AGENT, {"name": "api-x", "default_team": "9th Line"}, ["there is no team '9th Line'"]),
    "unknown login agent": (
        APPLICATION,
        {"name": "App", "login_agent": "nobody"},
        ["application 'App'", "there is no agent 'nobody'", "api-automation"],
    ),
    "unknown login agent id": (
        APPLICATION,
        {"name": "App", "login_agent_id": 99},
        ["there is no agent with the id 99"],
    ),
    "login agent of two": (
        APPLICATION,
        {"name": "App", "login_agent": "twice"},
        ["2 agents are called 'twice'", "9, 10"],
    ),
    "user and agent": (APPLICATION, {"name": "App", "login_type": "user", "login_agent": "api-used"}, ["contradict"]),
    "two agents of one name": (
        AGENT,
        {"name": "twice", "email": "x@example.com"},
        ["there are 2 of this name", "9, 10", "agent_id"],
    ),
    "two agents of one name, absent": (AGENT, {"name": "Twice", "state": "absent"}, ["there are 2 of this name"]),
    "two applications of one name": (APPLICATION, {"name": "two"}, ["there are 2 of this name", "application_id"]),
    "no such id": (AGENT, {"agent_id": 99}, ["agent 99", "there is none with this id"]),
    "no such application id": (
        APPLICATION,
        {"application_id": "00000000-0000-4000-8000-000000000000"},
        ["there is none with this id"],
    ),
    "a human agent": (
        AGENT,
        {"name": "Bianca Rossi"},
        ["agent 'Bianca Rossi'", "is a human agent", "allow_conversion"],
    ),
    "a human agent by id": (AGENT, {"agent_id": 4, "email": "x@example.com"}, ["agent 4", "is a human agent"]),
    "a human agent, absent": (
        AGENT,
        {"name": "Jörg Müller", "state": "absent"},
        ["is a human agent and is not deleted", "force"],
    ),
    "an agent in use, absent": (
        AGENT,
        {"name": "api-used", "state": "absent"},
        ["application 'Bound'", "cannot log in", "force"],
    ),
    "an agent in use, disabled": (AGENT, {"name": "api-used", "enabled": False}, ["application 'Bound'", "force"]),
    "the run's own agent, absent": (AGENT, {"name": "api-automation", "state": "absent"}, ["application 'Automation'"]),
    "the Integrator's agent, disabled": (
        AGENT,
        {"name": "Admin", "api_only": False, "enabled": False},
        ["the Halo Integrator"],
    ),
    "a system application": (
        APPLICATION,
        {"name": "nethelpdesk-agent-web-application", "scopes": ["all", "admin"]},
        ["is a system application", "allow_system"],
    ),
    "a system application, absent": (
        APPLICATION,
        {"name": "Halo Integrator", "state": "absent"},
        ["is a system application"],
    ),
    "a system application, a new secret": (
        APPLICATION,
        {"name": "Halo Integrator", "regenerate_secret": "always"},
        ["is a system application"],
    ),
    "the run's own application, agent": (
        APPLICATION,
        {"name": "Automation", "login_agent": "Admin"},
        ["this run itself logs in with", "allow_self"],
    ),
    "the run's own application, secret": (
        APPLICATION,
        {"name": "Automation", "regenerate_secret": "always"},
        ["this run itself"],
    ),
    "the run's own application, method": (
        APPLICATION,
        {"name": "Automation", "authentication_method": "implicit"},
        ["this run itself", "locks the next run out", "allow_self"],
    ),
    "the run's own application, scopes": (
        APPLICATION,
        {"name": "Automation", "scopes": ["all"]},
        ["this run itself", "locks the next run out", "allow_self"],
    ),
    "the run's own application, disabled": (APPLICATION, {"name": "Automation", "enabled": False}, ["this run itself"]),
    "the run's own application, absent": (APPLICATION, {"name": "Automation", "state": "absent"}, ["this run itself"]),
    "a built-in role": (
        ROLE,
        {"name": "standard user", "permissions": {"tickets": "read"}},
        ["role 'standard user'", "is a built-in role", "allow_built_in"],
    ),
    "a built-in role, absent": (ROLE, {"name": "Administrator", "state": "absent"}, ["is a built-in role"]),
    "a role in use, absent": (
        ROLE,
        {"name": "Read Only", "state": "absent"},
        ["role 'Read Only'", "is a role of the agent 'api-used'", "force"],
    ),
    "a level that there is not": (
        ROLE,
        {"name": "R", "permissions": {"customers": "view"}},
        ["permissions.customers must be none, names, read or modify"],
    ),
    "a misspelt permission": (
        ROLE,
        {"name": "R", "permissions": {"ticket": "read"}},
        ["permissions.ticket is not an option", "did you mean tickets?"],
    ),
    "a permission as a claim": (
        ROLE,
        {"name": "R", "claims": [{"type": "Tx", "value": "2"}]},
        ["claims[0].type: Tx is a permission", "permissions.tickets"],
    ),
    "a claim without a value": (ROLE, {"name": "R", "claims": [{"type": "Px"}]}, ["value", "claims"]),
    "claims as a property": (
        ROLE,
        {"name": "R", "properties": {"Claims": []}},
        ["properties holds Claims", "option claims"],
    ),
    "no such role id": (
        ROLE,
        {"role_id": "00000000-0000-4000-8000-000000000000"},
        ["there is none with this id"],
    ),
    "info: role and id": (ROLE_INFO, {"name": "x", "role_id": "y"}, ["mutually exclusive"]),
    "a scope with a blank": (
        APPLICATION,
        {"name": "App", "scopes": ["all", "read:tickets edit:tickets"]},
        ["scopes[1]", "holds a blank"],
    ),
    "an empty scope": (APPLICATION, {"name": "App", "scopes": [""]}, ["scopes[0] is empty"]),
    "a misspelt option": (AGENT, {"name": "api-x", "email": "x@example.com", "rols": []}, ["did you mean roles?"]),
    "a team without a name": (AGENT, {"name": "api-x", "teams": [{"leader": True}]}, ["teams[0] must be a name"]),
    "300 characters": (AGENT, {"name": "n" * 300}, ["the name has 300 characters, more than 255"]),
    "300 characters, application": (APPLICATION, {"name": "n" * 300}, ["the name has 300 characters"]),
    "empty name": (AGENT, {"name": ""}, ["the name must not be empty"]),
    "blank name": (APPLICATION, {"name": " \t "}, ["the name must not be empty"]),
    "empty name, absent": (AGENT, {"name": "", "state": "absent"}, ["the name must not be empty"]),
    "line break": (AGENT, {"name": "api\nx"}, ["line break"]),
    "a modelled property": (
        AGENT,
        {"name": "api-x", "properties": {"IsApiAgent": False}},
        ["properties holds IsApiAgent", "option api_only"],
    ),
    "a secret property": (
        APPLICATION,
        {"name": "App", "properties": {"ClientSecret": "x"}},
        ["must not hold ClientSecret"],
    ),
    "an id property": (AGENT, {"name": "api-x", "properties": {"id": 3}}, ["must not hold id"]),
    "a password property": (AGENT, {"name": "api-x", "properties": {"password": "x"}}, ["must not hold password"]),
    "what Halo refuses": (
        AGENT,
        {"name": "api-x", "properties": {"workday_id": "one"}},
        ["POST /Agent answered 400", "Halo said", "[0].workday_id"],
    ),
    "info: name and id": (AGENT_INFO, {"name": "x", "agent_id": 3}, ["mutually exclusive"]),
    "info: wrong secret": (APPLICATION_INFO, {"halo_client_secret": "wrong"}, ["invalid_client"]),
    "login: nobody listens": (LOGIN, {"halo_url": "NOBODY"}, ["no connection could be made"]),
    "login: no secret": (LOGIN, {"halo_client_secret": ""}, ["halo_client_secret is missing"]),
    "Integrator: unknown agent": (
        INTEGRATOR,
        {"login_agent": "nobody"},
        ["Halo Integrator", "there is no agent 'nobody'"],
    ),
}
# Refused before there is an instance to name.
BEFORE_HALO = [
    "unknown option",
    "wrong choice",
    "not a number",
    "neither name nor id",
    "two ids",
    "two login agents",
    "info: name and id",
    "a misspelt option",
    "a level that there is not",
    "a misspelt permission",
    "a claim without a value",
    "info: role and id",
]


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """An address on which nobody listens, as long as the tests run."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def unharmed(step: Step, by_halo: bool = False) -> None:
    """Assert that a task failed clearly and did no harm; before it sent anything, unless it was refused ``by_halo``."""
    assert step.outcome == "failed", (step.name, step.result)
    assert by_halo or step.writes == [], step.name
    assert not step.state_changed, step.name
    assert "Traceback" not in str(step.result)
    assert "Unexpected" not in step.result["msg"]


def bad_tasks(sandbox: Sandbox, nobody: str) -> list[Task]:
    """All of REFUSED, with the addresses that are known now."""
    known = {"URL/x": sandbox.tenants["acme"]["url"] + "/x", "NOBODY": nobody}
    return [
        task(name, module, **{**args, **({"halo_url": known.get(url, url)} if (url := args.get("halo_url")) else {})})
        for name, (module, args, _expected) in REFUSED.items()
    ]


def test_bad_input(sandbox: Sandbox, folder: Path, nobody: str) -> None:
    done = perform_both(sandbox, folder, bad_tasks(sandbox, nobody), prepare)
    for step in done.steps:
        unharmed(step, by_halo=step.name == "what Halo refuses")
        args = REFUSED[step.name][1]
        if step.name not in BEFORE_HALO and "halo_url" not in args:
            assert sandbox.tenants["acme"]["url"] in step.result["msg"], (step.name, step.result["msg"])
    assert unsaid(done.steps) == []


def unsaid(steps: list[Step]) -> list[tuple[str, str, str]]:
    """What the messages of refused tasks lack: name, text that it should hold, message."""
    return [
        (step.name, text, step.result["msg"])
        for step in steps
        for text in REFUSED[step.name][2]
        if text not in step.result["msg"]
    ]


def test_bad_input_is_refused_in_check_mode_too(sandbox: Sandbox, folder: Path, nobody: str) -> None:
    prepare(sandbox)
    sandbox.settings(read_only=True)
    # what only Halo finds wrong is not found when nothing is sent
    tasks = [one for one in bad_tasks(sandbox, nobody) if one["name"] != "what Halo refuses"]
    done = perform(sandbox, folder, tasks, check_mode=True)
    for step in done.steps:
        unharmed(step)
    assert unsaid(done.steps) == []


def test_each_guard_has_its_override(sandbox: Sandbox, folder: Path) -> None:
    prepare(sandbox)
    done = perform(
        sandbox,
        folder,
        [
            task("convert", AGENT, name="Bianca Rossi", allow_conversion=True),
            task("delete a human", AGENT, name="Jörg Müller", state="absent", force=True),
            task("delete a human that is meant", AGENT, name="Old Hand", state="absent", api_only=False),
            task("disable one in use", AGENT, name="api-used", enabled=False, force=True),
            task("delete one in use", AGENT, name="api-used", state="absent", force=True),
            task("a built-in role", ROLE, name="Standard User", permissions={}, allow_built_in=True),
            task("delete a role in use", ROLE, name="Read Only", state="absent", force=True),
            task("one of two", AGENT, agent_id=9, email="nine@example.com"),
            task("a team of two", AGENT, agent_id=9, teams=["6"]),
            task(
                "a system application", APPLICATION, name="Halo Integrator", scopes=["admin", "all"], allow_system=True
            ),
            task(
                "scopes of the run's own",
                APPLICATION,
                name="Automation",
                scopes=["admin", "all", "read:tickets"],
                allow_self=True,
            ),
            task(
                "the run's own",
                APPLICATION,
                name="Automation",
                login_agent="Admin",
                allow_self=True,
                new_client_secret="own",
            ),
        ],
    )
    for step in done.steps:
        assert step.outcome == "ok", step.result
        assert step.result["changed"] is True
        assert step.state_changed
    client_id = sandbox.tenants["acme"]["client_id"]
    assert sandbox.check("acme", client_id, "own") == {"valid": True, "agent_id": 3}


def test_what_the_application_may_not_do(sandbox: Sandbox, folder: Path) -> None:
    (row,) = sandbox.put_applications(
        "acme",
        {
            "displayName": "Small",
            "loginas_agent_id": 7,
            "allowagents": True,
            "scopes": [{"name": "read:tickets"}],
            "clientSecret": "an odd one",
        },
    )
    small = connection(
        sandbox.tenants["acme"],
        halo_client_id=row["clientId"],
        halo_client_secret="an odd one",
        halo_scope="read:tickets",
    )
    done = perform(
        sandbox,
        folder,
        [
            task("applications", APPLICATION, name="App"),
            task("agents", AGENT, name="api-x"),
            task("info", AGENT_INFO, name="Admin"),
            task("login", LOGIN),
        ],
        options=small,
    )
    for name in ("applications", "agents"):
        unharmed(done[name], by_halo=True)
        assert "answered 403" in done[name].result["msg"]
        assert "all or admin" in done[name].result["msg"]
    assert done["info"].outcome == done["login"].outcome == "ok"
    assert done["login"].result["scope"] == "read:tickets"


def in_trouble(sandbox: Sandbox, folder: Path, kinds: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever comes back instead of an answer to the creation: it is made once, and as it was asked for."""
    post = {"method": "POST", "path": "^/api/agent"}
    clear = ("DELETE", "faults", None)
    tasks = [
        steered(
            task(f"{kind} {spec}", AGENT, name=f"api-{number}", email=f"x{number}@example.com", halo_timeout=1),
            clear,
            fault(kind, **post, **spec),
        )
        for number, (kind, spec) in enumerate(kinds)
    ]
    done = perform(sandbox, folder, tasks)
    names = [agent["name"] for agent in sandbox.state("acme")["agents"]]
    for number, step in enumerate(done.steps):
        assert names.count(f"api-{number}") == 1, (step.name, names)
        assert step.outcome == "ok", (step.name, step.result)
        assert step.result["changed"] is True
        assert step.result["agent"]["email"] == f"x{number}@example.com"
    assert len(names) == len(set(names))


def test_halo_in_trouble(sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 50), monotonic=time.monotonic)
    monkeypatch.setattr(http, "time", hasty)
    in_trouble(
        sandbox,
        folder,
        [
            ("reset", {}),
            ("reset_after", {}),
            ("status", {"status": 500}),
            ("status_after", {"status": 500}),
            ("status_after", {"status": 502}),
            ("status_after", {"status": 504}),
            ("truncate_after", {}),
            ("garbage_after", {}),
            ("html_after", {"status": 200}),
            ("html", {"status": 503}),
            ("empty_after", {}),
        ],
    )


def test_a_row_that_halo_is_slow_to_write_is_found_and_brought_up_to_date(sandbox: Sandbox, folder: Path) -> None:
    in_trouble(sandbox, folder, [("delay", {"seconds": 2})])


def test_a_rate_limit(sandbox: Sandbox, folder: Path) -> None:
    limit = {"requests": 2, "seconds": 2, "retry_after": 1}
    done = perform(
        sandbox,
        folder,
        [
            steered(task("waits", AGENT, name="api-x", halo_retry_seconds=30), setting(rate_limit=limit)),
            steered(task("does not wait", AGENT, name="api-y"), setting(rate_limit={"requests": 0, "seconds": 60})),
        ],
    )
    assert done["waits"].result["changed"] is True
    assert [entry["status"] for entry in done["waits"].requests].count(429) >= 1
    unharmed(done["does not wait"])
    assert "rate limit lasted longer than halo_retry_seconds" in done["does not wait"].result["msg"]


@pytest.fixture(scope="module")
def tls() -> Iterator[Sandbox]:
    with Sandbox(tenants=1, tls=True) as sandbox:
        yield sandbox


def test_certificates(tls: Sandbox, folder: Path) -> None:
    done = perform_both(
        tls,
        folder,
        [
            task("not verified", AGENT, name="api-x"),
            task("verified", AGENT, name="api-x", halo_ca_path=tls.ca_path),
            task("not to be verified", LOGIN, halo_validate_certs=False),
        ],
    )
    unharmed(done["not verified"])
    assert "certificate is refused: self" in done["not verified"].result["msg"]
    assert "halo_ca_path" in done["not verified"].result["msg"]
    assert done["verified"].result["changed"] is True
    assert done["not to be verified"].result["valid"] is True
