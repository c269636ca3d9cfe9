# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications, the Integrator and their secrets from a playbook's point of view."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.haloops.halo.plugins.modules import halo_binding
from conftest import Play
from halo_sandbox.testing import Sandbox
from helpers.playbook import Steps, foretold, task
from helpers.tasks import perform, perform_both, predicted, promised

APPLICATION = "halo_application"
INTEGRATOR = "halo_integrator"
SECRET = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OWN = "p@ss w/ord+&=%\"' ü"
# ids in a tenant as it was seeded: 3 Admin, 7 api-automation; the next is 8
AGENTS = [{"name": "api-a", "isapiagent": True}, {"name": "api-b", "isapiagent": True}]


def agents(sandbox: Sandbox) -> None:
    sandbox.put_agents("acme", *AGENTS)


def id_of_app(done: Steps) -> str:
    found: str = done["create"].result["application"]["id"]
    return found


def state_of(sandbox: Sandbox, name: str, tenant: str = "acme") -> dict[str, Any]:
    (found,) = (row for row in sandbox.state(tenant)["applications"] if row["displayName"] == name)
    return found


def test_the_life_of_an_application(sandbox: Sandbox, folder: Path) -> None:
    done = perform_both(
        sandbox,
        folder,
        [
            *foretold(
                "create",
                APPLICATION,
                name="App",
                login_agent="api-a",
                scopes=["read:tickets", "edit:tickets"],
                new_client_secret=OWN,
            ),
            *foretold(
                "change",
                APPLICATION,
                name="aPP",
                scopes=["read:tickets"],
                redirect_uris=["https://b.example.com", "https://a.example.com/x?y=1"],
                logout_redirect_uris=["https://a.example.com/bye"],
                cors_origins=["https://a.example.com"],
            ),
            *foretold("disable", APPLICATION, name="App", enabled=False, redirect_uris=[]),
            *foretold("rename", APPLICATION, application_id=id_of_app, name="Renamed", enabled=True),
            *foretold("remove", APPLICATION, name="Renamed", state="absent"),
        ],
        agents,
    )
    created = promised(done, "create", "application")
    application = created["application"]
    assert {**application, "id": None, "client_id": None} == {
        "id": None,
        "client_id": None,
        "name": "App",
        "enabled": True,
        "authentication_method": "client_credentials",
        "login_type": "agent",
        "login_agent": {"id": 8, "name": "api-a"},
        "scopes": ["edit:tickets", "read:tickets"],
        "redirect_uris": [],
        "logout_redirect_uris": [],
        "cors_origins": [],
        "system": False,
    }
    assert application["id"]
    assert application["client_id"]
    assert created["rotation"] == {"required": True, "performed": True, "reason": "created", "previous_agent_id": None}
    assert created["diff"]["after"]["client_secret"] == "new (created)"
    assert "client_secret" not in created
    changed = promised(done, "change", "application")
    assert changed["application"]["redirect_uris"] == ["https://a.example.com/x?y=1", "https://b.example.com"]
    assert changed["application"]["scopes"] == ["read:tickets"]
    assert changed["rotation"]["reason"] == "none"
    assert promised(done, "disable", "application")["application"]["redirect_uris"] == []
    assert promised(done, "rename", "application")["application"]["name"] == "Renamed"
    removed = promised(done, "remove", "application")
    assert removed["application"] is None
    assert removed["rotation"]["required"] is False
    assert [row["displayName"] for row in sandbox.state("acme")["applications"] if not row["_issystem"]] == [
        "Halo Integrator",
        "Automation",
    ]


def test_a_secret_that_the_module_makes(sandbox: Sandbox, folder: Path) -> None:
    """It is hidden, returned, in force at once, and changes with the login agent in the one POST."""
    spec = {"name": "App", "scopes": ["all"]}

    def login(name: str, made_by: str) -> Any:
        def client_id(done: Steps) -> str:
            return str(done[made_by].result["application"]["client_id"])

        def secret(done: Steps) -> str:
            return str(done[made_by].result["client_secret"])

        return task(name, "halo_login_info", halo_client_id=client_id, halo_client_secret=secret)

    done = perform_both(
        sandbox,
        folder,
        [
            *foretold("create", APPLICATION, repeat=False, **spec, login_agent="api-a"),
            login("the first logs in", "create"),
            *foretold("switch", APPLICATION, repeat=False, **spec, login_agent="api-b"),
            login("the first is dead", "create"),
            login("the second logs in", "switch"),
            task("again", APPLICATION, **spec, login_agent_id=9),
        ],
        agents,
    )
    for name in ("create", "switch"):
        result = done[name].result
        assert done[name].writes == ["POST /api/Application"]
        assert "client_secret" not in done[f"{name}, check"].result
        # Ansible shows nothing of it, whatever the task says
        assert result["_ansible_no_log"] is True
        assert SECRET.fullmatch(result["client_secret"])
        assert result["client_secret"] not in json.dumps([result["diff"], result["application"], result["rotation"]])
        predicted(done, name, "application")
    assert done["switch"].result["rotation"] == {
        "required": True,
        "performed": True,
        "reason": "agent_changed",
        "previous_agent_id": 8,
    }
    assert done["create"].result["client_secret"] != done["switch"].result["client_secret"]
    assert done["the first logs in"].result["agent"] == {"id": 8, "name": "api-a", "api_only": True}
    dead = done["the first is dead"]
    assert (dead.outcome, dead.result["valid"], dead.result["agent"]) == ("ok", False, None)
    assert "invalid_client" in dead.result["error"]
    assert done["the second logs in"].result["agent"]["name"] == "api-b"
    assert done["again"].result["changed"] is False
    assert done["again"].writes == []


def test_ansible_hides_the_secret_and_registers_it(sandbox: Sandbox, play: Play) -> None:
    """A play, since the hiding is Ansible's own; the connection is that of the action group's defaults."""
    agents(sandbox)
    done = play(
        [
            task("create", APPLICATION, name="App", scopes=["read:tickets"], login_agent="api-a"),
            {"name": "use", "ansible.builtin.set_fact": {"kept": "{{ done }}"}, "no_log": True},
            task(
                "log in",
                "halo_login_info",
                halo_client_id="{{ kept.application.client_id }}",
                halo_client_secret="{{ kept.client_secret }}",
                halo_scope="read:tickets",
            ),
            {"name": "show", "ansible.builtin.debug": {"var": "done"}},
        ],
        arguments=["-vv", "--diff"],
    )
    assert done.status == 0
    assert done.warnings == []
    assert set(done["create"].result) - {"_ansible_no_log"} == {"changed", "censored"}
    assert done["log in"].result["agent"] == {"id": 8, "name": "api-a", "api_only": True}
    parts = re.split(r"^TASK \[(\w[\w ]*)\]", done.stdout, flags=re.MULTILINE)
    assert {name for name, text in zip(parts[1::2], parts[2::2], strict=True) if SECRET.search(text)} <= {"show"}


def test_policies_and_deferral(sandbox: Sandbox, folder: Path) -> None:
    spec = {"name": "App", "scopes": ["all"]}
    done = perform_both(
        sandbox,
        folder,
        [
            task("deferred creation", APPLICATION, **spec, login_agent="api-a", defer_rotation=True),
            task("create", APPLICATION, **spec, login_agent="api-a", new_client_secret="s-1"),
            *foretold(
                "defer",
                APPLICATION,
                repeat=False,
                name="App",
                login_agent="api-b",
                scopes=["admin"],
                defer_rotation=True,
            ),
            task("defer again", APPLICATION, name="App", login_agent="api-b", scopes=["admin"], defer_rotation=True),
            *foretold(
                "bring it", APPLICATION, name="App", login_agent="api-b", defer_rotation=True, new_client_secret="s-2"
            ),
            task("always", APPLICATION, name="App", regenerate_secret="always", new_client_secret="s-3"),
            task("always, deferred", APPLICATION, name="App", regenerate_secret="always", defer_rotation=True),
            task("never", APPLICATION, name="App", login_agent="api-a", regenerate_secret="never"),
        ],
        agents,
    )
    created = done["deferred creation"]
    assert created.result["changed"] is False
    assert created.result["rotation"] == {
        "required": True,
        "performed": False,
        "reason": "created",
        "previous_agent_id": None,
    }
    assert created.writes == []
    for name in ("defer, check", "defer"):
        result = done[name].result
        assert result["changed"] is True
        assert result["rotation"] == {
            "required": True,
            "performed": False,
            "reason": "agent_changed",
            "previous_agent_id": 8,
        }
        assert result["application"]["login_agent"] == {"id": 8, "name": "api-a"}
        assert result["application"]["scopes"] == ["admin"]
    again = done["defer again"].result
    assert (again["changed"], again["rotation"]["required"]) == (False, True)
    brought = promised(done, "bring it", "application")
    assert brought["rotation"] == {
        "required": True,
        "performed": True,
        "reason": "agent_changed",
        "previous_agent_id": 8,
    }
    assert done["always"].result["rotation"]["reason"] == "requested"
    assert done["always"].result["changed"] is True
    deferred = done["always, deferred"]
    assert (deferred.result["changed"], deferred.result["rotation"]["required"], deferred.writes) == (False, True, [])
    never = done["never"].result
    assert never["rotation"] == {
        "required": True,
        "performed": False,
        "reason": "agent_changed",
        "previous_agent_id": 9,
    }
    assert any("needs a new client secret" in text for text in never["warnings"])
    application = state_of(sandbox, "App")
    assert application["loginas_agent_id"] == 8
    assert application["secret_set"] is False
    for secret in ("s-1", "s-2", "s-3"):
        assert not sandbox.check("acme", application["clientId"], secret)["valid"]


def test_a_secret_of_the_users_own_is_set_and_not_returned(sandbox: Sandbox, folder: Path) -> None:
    agents(sandbox)
    create = task("create", APPLICATION, name="App", login_agent="api-a", scopes=["all"], new_client_secret=OWN)
    result = perform(sandbox, folder, [create])["create"].result
    assert "client_secret" not in result
    assert OWN not in json.dumps(result, ensure_ascii=False)
    assert sandbox.check("acme", result["application"]["client_id"], OWN) == {"valid": True, "agent_id": 8}


@pytest.mark.parametrize("given", [{}, {"new_client_secret": OWN}], ids=["made", "given"])
@pytest.mark.parametrize("mask", [None, "", "********"])
def test_what_the_server_answers_is_the_truth(
    sandbox: Sandbox, folder: Path, given: dict[str, str], mask: str | None
) -> None:
    agents(sandbox)
    sandbox.settings(client_id_policy="replace", secret_policy="replace", secret_mask=mask)
    spec = {"name": "App", "login_agent": "api-a", "scopes": ["all"]}
    done = perform(sandbox, folder, [task("create", APPLICATION, **spec, **given), task("again", APPLICATION, **spec)])
    result = done["create"].result
    assert result["_ansible_no_log"] is True
    assert result["client_secret"] != OWN
    assert sandbox.check("acme", result["application"]["client_id"], result["client_secret"]) == {
        "valid": True,
        "agent_id": 8,
    }
    assert done["again"].result["changed"] is False


@pytest.mark.parametrize("mask", ["", "********"])
def test_a_mask_is_no_secret(sandbox: Sandbox, folder: Path, mask: str) -> None:
    agents(sandbox)
    sandbox.settings(secret_mask=mask, answer_shape="array", list_shape="wrapped", write_status=200)
    create = task("create", APPLICATION, name="App", login_agent="api-a", scopes=["all"])
    result = perform(sandbox, folder, [create])["create"].result
    assert SECRET.fullmatch(result["client_secret"])
    assert sandbox.check("acme", result["application"]["client_id"], result["client_secret"])["valid"]


def test_login_types(sandbox: Sandbox, folder: Path) -> None:
    done = perform_both(
        sandbox,
        folder,
        [
            task("as a user", APPLICATION, name="Web", login_type="user", authentication_method="implicit"),
            task("as a user, again", APPLICATION, name="Web", login_type="user", authentication_method="implicit"),
            *foretold(
                "to an agent",
                APPLICATION,
                name="Web",
                login_agent="api-a",
                authentication_method="client_credentials",
                new_client_secret="an odd one",
            ),
            *foretold("back", APPLICATION, name="Web", login_type="user", new_client_secret="an odd one"),
        ],
        agents,
    )
    assert done["as a user"].result["rotation"]["required"] is False
    assert done["as a user"].result["application"]["login_type"] == "user"
    assert done["as a user, again"].result["changed"] is False
    assert promised(done, "to an agent", "application")["rotation"]["reason"] == "login_type_changed"
    back = promised(done, "back", "application")
    assert back["rotation"] == {
        "required": True,
        "performed": True,
        "reason": "login_type_changed",
        "previous_agent_id": 8,
    }
    assert back["application"]["login_agent"] == {"id": None, "name": None}


# The Integrator


def test_the_integrators_agent_and_secret(sandbox: Sandbox, folder: Path) -> None:
    done = perform_both(
        sandbox,
        folder,
        [
            task("as it is", INTEGRATOR, login_agent="Admin"),
            *foretold("switch", INTEGRATOR, login_agent="api-a", new_client_secret=OWN),
            task("defer", INTEGRATOR, login_agent_id=9, defer_rotation=True),
            task("made", INTEGRATOR, login_agent_id=9),
        ],
        agents,
    )
    assert done["as it is"].result["changed"] is False
    switched = promised(done, "switch", "integrator")
    assert switched["rotation"] == {
        "required": True,
        "performed": True,
        "reason": "agent_changed",
        "previous_agent_id": 3,
    }
    assert switched["integrator"]["login_agent"]["id"] == 8
    assert switched["integrator"]["hosted"] is False
    assert done["switch"].writes == ["POST /api/Control"]
    deferred = done["defer"].result
    assert (deferred["changed"], deferred["rotation"]["required"], deferred["rotation"]["performed"]) == (
        False,
        True,
        False,
    )
    result = done["made"].result
    assert SECRET.fullmatch(result["client_secret"])
    assert result["_ansible_no_log"] is True
    assert result["integrator"]["login_agent"] == {"id": 9, "name": "api-b"}
    client_id = sandbox.state("acme")["control"]["client_id_halointegrator"]
    assert sandbox.check("acme", client_id, result["client_secret"]) == {"valid": True, "agent_id": 9}
    assert not sandbox.check("acme", client_id, OWN)["valid"]


def test_an_integrator_that_halo_hosts(sandbox: Sandbox, folder: Path) -> None:
    done = perform(
        sandbox,
        folder,
        [
            task("refused", INTEGRATOR, login_agent="api-automation"),
            task("deferred", INTEGRATOR, login_agent="api-automation", defer_rotation=True),
            task("nothing to do", INTEGRATOR, login_agent="Admin"),
            task("allowed", INTEGRATOR, login_agent="api-automation", allow_hosted=True, new_client_secret=OWN),
        ],
        tenant="globex",
    )
    refused = done["refused"]
    assert refused.outcome == "failed"
    assert "hosted by Halo" in refused.result["msg"]
    assert "allow_hosted" in refused.result["msg"]
    assert refused.writes == []
    assert done["nothing to do"].result["changed"] is False
    assert done["nothing to do"].result["integrator"]["hosted"] is True
    assert done["allowed"].result["changed"] is True
    client_id = sandbox.state("globex")["control"]["client_id_halointegrator"]
    assert sandbox.check("globex", client_id, OWN) == {"valid": True, "agent_id": 7}


# The engine


def test_what_the_engine_returns_is_described(sandbox: Sandbox, folder: Path) -> None:
    bindings = [{"name": "App", "agent": {"name": "api-x"}, "application": {"scopes": ["read:tickets"]}}]
    done = perform(sandbox, folder, foretold("converge", "halo_binding", bindings=bindings, store="file"))
    described = yaml.safe_load(halo_binding.RETURN)
    ours = {"changed", "diff", *described} - {"error", "failure"}
    for step in done.steps:
        assert step.outcome == "ok", step.result
        assert set(step.result) == ours
        assert set(step.result["bindings"]["App"]) == set(described["bindings"]["contains"])
    assert set(described["bindings"]["sample"]["Ticket integration"]) == set(described["bindings"]["contains"])
    assert [step.result["changed"] for step in done.steps] == [True, True, False]
