# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every form in which Halo is known, or may be thought, to answer gives the same result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from halo_sandbox.testing import Sandbox
from helpers.playbook import Task, task
from helpers.tasks import perform, perform_both

AGENT, APPLICATION = "halo_api_agent", "halo_application"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(Client, "pause", staticmethod(found.append))
    return found


def life() -> list[Task]:
    """The life of an agent and an application, from nothing to nothing."""
    agent = {"name": "api-x", "roles": ["Read Only"], "teams": ["Projects"]}
    application = {"name": "X", "login_agent": "api-x", "scopes": ["read:tickets"]}
    return [
        task("make the agent", AGENT, **agent, email="x@example.com"),
        task("again", AGENT, **agent, email="x@example.com"),
        task("change it", AGENT, **agent, email="y@example.com"),
        task("make the application", APPLICATION, **application),
        task("change it too", APPLICATION, **{**application, "scopes": ["read:tickets", "read:crm"]}),
        task("remove the application", APPLICATION, name="X", state="absent"),
        task("remove the agent", AGENT, name="api-x", state="absent"),
    ]


FORMS: dict[str, dict[str, Any]] = {
    "as it is by default": {},
    "refusals as objects": {"refusal_shape": "object"},
    "isapiagent null": {"null_isapiagent": True},
    "tokens that are JWTs": {"token_form": "jwt"},
    "lists in pages of two": {"list_shape": "paged", "longest_page": 2},
    "objects that are readable late": {"read_lag": 2},
    "secrets in base64url made by Halo": {"secret_policy": "replace", "secret_form": "base64url"},
    "applications without their tokens": {"token_arrays": False},
    "new members of a team with all switches": {"member_switches": "on"},
}


@pytest.mark.parametrize("settings", FORMS.values(), ids=FORMS)
def test_life_in_every_form(sandbox: Sandbox, folder: Path, settings: dict[str, Any]) -> None:
    sandbox.settings("acme", **settings)
    before = sandbox.state("acme")
    done = perform(sandbox, folder, life())
    for step in done.steps:
        assert step.outcome == "ok", step.result
        assert "warnings" not in step.result, step.result
        if not settings.get("read_lag"):
            assert step.result["changed"] is (step.name != "again")
    secret = done["make the application"].result["client_secret"]
    assert len(secret) == (43 if "secret_form" in settings else 73)
    assert sandbox.state("acme") == before


def test_an_answer_without_details_is_read_until_it_shows_what_was_sent(
    sandbox: Sandbox, folder: Path, waits: list[float]
) -> None:
    sandbox.settings("acme", read_lag=2)
    # as a version that answers without roles and teams would
    sandbox.fault("edit_after", method="POST", path="/api/agent", body={"roles": None}, times=None)
    done = perform(sandbox, folder, life()[:1])
    assert done.steps[0].outcome == "ok", done.steps[0].result
    assert "warnings" not in done.steps[0].result
    assert done.steps[0].result["agent"]["roles"] == ["Read Only"]
    assert waits[:2] == [0.3, 1.0]


def test_what_a_refusal_says_is_passed_on(sandbox: Sandbox, folder: Path) -> None:
    sandbox.settings("acme", agent_needs_email=True)
    for shape in ("string", "object"):
        sandbox.settings("acme", refusal_shape=shape)
        (step,) = perform(sandbox, folder, life()[:1]).steps
        assert step.outcome == "ok"
        (step,) = perform(sandbox, folder, [task("no email", AGENT, name="api-y")]).steps
        assert (
            "POST /Agent answered 400. Halo said: Please enter an email address for this agent." in step.result["msg"]
        )
        assert step.result["error"]["answer"] == "Please enter an email address for this agent."


def test_an_empty_403_is_explained(sandbox: Sandbox, folder: Path) -> None:
    sandbox.put_applications(
        "acme",
        {
            "displayName": "W",
            "clientId": "weak",
            "clientSecret": "s3cret",
            "loginas_agent_id": 7,
            "scopes": [{"name": "x"}],
        },
    )
    weak = {"halo_client_id": "weak", "halo_client_secret": "s3cret", "halo_scope": "x"}
    (step,) = perform(sandbox, folder, [task("applications", "halo_application_info", **weak)]).steps
    assert "GET /Application answered 403. The application's scopes or its login agent's roles" in step.result["msg"]
    asked = {**weak, "halo_scope": "x read:nothing"}
    (step,) = perform(sandbox, folder, [task("applications", "halo_application_info", **asked)]).steps
    assert "(invalid_scope). Halo said: The specified 'scope' parameter is not valid." in step.result["msg"]
    assert "Asked for were the scopes x read:nothing" in step.result["msg"]


def parts(value: Any) -> Iterator[str]:
    """Every string within."""
    if isinstance(value, dict):
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from parts(item)
    elif isinstance(value, str):
        yield value


def test_what_halo_keeps_of_tokens_is_nowhere(sandbox: Sandbox, folder: Path) -> None:
    application = {"name": "Automation", "scopes": ["admin", "all", "read:crm"], "allow_self": True}
    info = "halo_application_info"
    steps = [
        task("list", info),
        task("all", info, include_system=True),
        task("by name", info, name="Automation"),
        task("by id", info, application_id=sandbox.state("acme")["applications"][-1]["id"]),
        task("nothing to do", APPLICATION, name="Automation"),
        {**task("foretold", APPLICATION, **application), "check_mode": True},
        task("changed", APPLICATION, **application),
        task("a new one", APPLICATION, name="X", login_agent="api-automation", scopes=["all"]),
        task("of the Integrator", "halo_integrator"),
        task("refused", APPLICATION, name="X", properties={"tokens": []}),
        task("removed", APPLICATION, name="X", state="absent"),
    ]
    done = perform_both(sandbox, folder, steps)
    held = {text for row in sandbox.state("acme")["applications"] for text in parts(row["tokens"])}
    held |= {text for row in sandbox.state("acme")["applications"] for text in parts(row["authorizations"])}
    held = {text for text in held if len(text) > 20}
    assert len(held) > 8
    for step in done.steps:
        text = json.dumps(step.result)
        assert not [one for one in held if one in text], step.name
        assert "referenceId" not in text
        assert "authorizations" not in json.dumps({key: step.result[key] for key in step.result if key != "msg"})
    assert [step.name for step in done.steps if step.outcome == "failed"] == ["refused"]
    # a version of Halo that puts its whole object into a refusal
    row = next(row for row in sandbox.state("acme")["applications"] if row["displayName"] == "Automation")
    sandbox.fault("status", method="POST", path="/api/application", status=400, body=row)
    (step,) = perform(
        sandbox, folder, [task("refused by Halo", APPLICATION, **{**application, "scopes": ["all"]})]
    ).steps
    assert step.outcome == "failed"
    assert not [one for one in held if one in json.dumps(step.result)]
