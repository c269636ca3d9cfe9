# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications, the Integrator and their secrets from a playbook's point of view."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import Play, promised, same
from halo_sandbox.testing import Sandbox
from helpers.playbook import Run, Task, rehearsed, setting, steered, task

APPLICATION = "halo_application"
INTEGRATOR = "halo_integrator"
SECRET = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OWN = "p@ss w/ord+&=%\"' ü"
# ids in a tenant as it was seeded: 3 Admin, 7 api-automation; the next is 8
AGENTS = [{"name": "api-a", "isapiagent": True}, {"name": "api-b", "isapiagent": True}]


def agents(sandbox: Sandbox) -> None:
    sandbox.put_agents("acme", *AGENTS)


def kept(name: str) -> Task:
    """Shows the registered result of the task before, censored or not, to the callback."""
    return {"name": name, "ansible.builtin.debug": {"var": "done"}}


def login(name: str, client_id: str, secret: str) -> Task:
    return task(name, "halo_login_info", halo_client_id=client_id, halo_client_secret=secret)


def registered(done: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = done[name].result["done"]
    return found


def state_of(sandbox: Sandbox, name: str, tenant: str = "acme") -> dict[str, Any]:
    (found,) = (row for row in sandbox.state(tenant)["applications"] if row["displayName"] == name)
    return found


def test_the_life_of_an_application(everywhere: Play, sandbox: Sandbox) -> None:
    done = everywhere(
        [
            *rehearsed(
                "create",
                APPLICATION,
                name="App",
                login_agent="api-a",
                scopes=["read:tickets", "edit:tickets"],
                new_client_secret=OWN,
            ),
            *rehearsed(
                "change",
                APPLICATION,
                name="aPP",
                scopes=["read:tickets"],
                redirect_uris=["https://b.example.com", "https://a.example.com/x?y=1"],
                logout_redirect_uris=["https://a.example.com/bye"],
                cors_origins=["https://a.example.com"],
            ),
            *rehearsed("disable", APPLICATION, name="App", enabled=False, redirect_uris=[]),
            *rehearsed("rename", APPLICATION, application_id="{{ done.application.id }}", name="Renamed", enabled=True),
            *rehearsed("remove", APPLICATION, name="Renamed", state="absent"),
        ],
        agents,
    )
    assert done.status == 0
    assert done.warnings == []
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


def test_a_secret_that_the_module_makes(everywhere: Play, sandbox: Sandbox) -> None:
    """It is censored, registered, in force at once, and changes with the login agent in the one POST."""
    wish = {"name": "App", "scopes": ["all"]}
    first, second = "{{ first.client_secret }}", "{{ second.client_secret }}"
    client_id = "{{ first.application.client_id }}"
    done = everywhere(
        [
            *rehearsed("create", APPLICATION, repeat=False, **wish, login_agent="api-a"),
            kept("created"),
            {"name": "keep", "ansible.builtin.set_fact": {"first": "{{ done }}"}, "no_log": True},
            login("the first logs in", client_id, first),
            *rehearsed("switch", APPLICATION, repeat=False, **wish, login_agent="api-b"),
            kept("switched"),
            {"name": "keep again", "ansible.builtin.set_fact": {"second": "{{ done }}"}, "no_log": True},
            login("the first is dead", client_id, first),
            login("the second logs in", client_id, second),
            task("again", APPLICATION, **wish, login_agent_id=9),
        ],
        agents,
    )
    for name, shown in (("create", "created"), ("switch", "switched")):
        check, real = done[f"{name}, check"], done[name]
        assert set(real.result) - {"_ansible_no_log"} == {"changed", "censored"}
        assert real.writes == ["POST /api/Application"]
        assert check.writes == []
        assert "client_secret" not in check.result
        result = registered(done, shown)
        assert SECRET.fullmatch(result["client_secret"])
        same(
            check.result,
            {key: value for key, value in result.items() if key in {*check.result, "client_secret"}},
            "application",
        )
        assert result["client_secret"] not in json.dumps([result["diff"], result["application"], result["rotation"]])
    assert registered(done, "switched")["rotation"] == {
        "required": True,
        "performed": True,
        "reason": "agent_changed",
        "previous_agent_id": 8,
    }
    assert registered(done, "created")["client_secret"] != registered(done, "switched")["client_secret"]
    assert done["the first logs in"].result["agent"] == {"id": 8, "name": "api-a", "api_only": True}
    dead = done["the first is dead"]
    assert (dead.outcome, dead.result["valid"], dead.result["agent"]) == ("ok", False, None)
    assert "invalid_client" in dead.result["error"]
    assert done["the second logs in"].result["agent"]["name"] == "api-b"
    assert done["again"].result["changed"] is False
    assert done["again"].writes == []
    secrets = [registered(done, name)["client_secret"] for name in ("created", "switched")]
    for task_output in re.split(r"\nTASK ", done.stdout):
        if not task_output.startswith(("[created]", "[switched]")):
            assert not any(secret in task_output for secret in secrets)


def test_policies_and_deferral(everywhere: Play, sandbox: Sandbox) -> None:
    wish = {"name": "App", "scopes": ["all"]}
    done = everywhere(
        [
            task("deferred creation", APPLICATION, **wish, login_agent="api-a", defer_rotation=True),
            task("create", APPLICATION, **wish, login_agent="api-a", new_client_secret="s-1"),
            *rehearsed(
                "defer",
                APPLICATION,
                repeat=False,
                name="App",
                login_agent="api-b",
                scopes=["admin"],
                defer_rotation=True,
            ),
            task("defer again", APPLICATION, name="App", login_agent="api-b", scopes=["admin"], defer_rotation=True),
            *rehearsed(
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


def test_a_secret_of_the_users_own_is_set_and_not_returned(play: Play, sandbox: Sandbox) -> None:
    agents(sandbox)
    done = play(
        [
            task("create", APPLICATION, name="App", login_agent="api-a", scopes=["all"], new_client_secret=OWN),
            kept("kept"),
        ]
    )
    assert "client_secret" not in registered(done, "kept")
    assert sandbox.check("acme", state_of(sandbox, "App")["clientId"], OWN) == {"valid": True, "agent_id": 8}


@pytest.mark.parametrize("given", [{}, {"new_client_secret": OWN}], ids=["made", "given"])
@pytest.mark.parametrize("mask", [None, "", "********"])
def test_what_the_server_answers_is_the_truth(
    play: Play, sandbox: Sandbox, given: dict[str, str], mask: str | None
) -> None:
    agents(sandbox)
    sandbox.settings(client_id_policy="replace", secret_policy="replace", secret_mask=mask)
    wish = {"name": "App", "login_agent": "api-a", "scopes": ["all"]}
    done = play([task("create", APPLICATION, **wish, **given), kept("kept"), task("again", APPLICATION, **wish)])
    result = registered(done, "kept")
    assert "censored" in done["create"].result
    assert result["client_secret"] != OWN
    assert sandbox.check("acme", result["application"]["client_id"], result["client_secret"]) == {
        "valid": True,
        "agent_id": 8,
    }
    assert done["again"].result["changed"] is False


@pytest.mark.parametrize("mask", ["", "********"])
def test_a_mask_is_no_secret(play: Play, sandbox: Sandbox, mask: str) -> None:
    agents(sandbox)
    sandbox.settings(secret_mask=mask, answer_shape="array", list_shape="wrapped", write_status=200)
    done = play([task("create", APPLICATION, name="App", login_agent="api-a", scopes=["all"]), kept("kept")])
    result = registered(done, "kept")
    assert SECRET.fullmatch(result["client_secret"])
    assert sandbox.check("acme", result["application"]["client_id"], result["client_secret"])["valid"]


def test_login_types(everywhere: Play, sandbox: Sandbox) -> None:
    done = everywhere(
        [
            task("as a user", APPLICATION, name="Web", login_type="user", authentication_method="implicit"),
            task("as a user, again", APPLICATION, name="Web", login_type="user", authentication_method="implicit"),
            *rehearsed(
                "to an agent",
                APPLICATION,
                name="Web",
                login_agent="api-a",
                authentication_method="client_credentials",
                new_client_secret="an odd one",
            ),
            *rehearsed("back", APPLICATION, name="Web", login_type="user", new_client_secret="an odd one"),
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


def test_the_integrators_agent_and_secret(everywhere: Play, sandbox: Sandbox) -> None:
    done = everywhere(
        [
            task("as it is", INTEGRATOR, login_agent="Admin"),
            *rehearsed("switch", INTEGRATOR, login_agent="api-a", new_client_secret=OWN),
            task("defer", INTEGRATOR, login_agent_id=9, defer_rotation=True),
            steered(task("made", INTEGRATOR, login_agent_id=9)),
            kept("kept"),
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
    result = registered(done, "kept")
    assert SECRET.fullmatch(result["client_secret"])
    assert set(done["made"].result) - {"_ansible_no_log"} == {"changed", "censored"}
    client_id = sandbox.state("acme")["control"]["client_id_halointegrator"]
    # of the second run, whose secret is not known here, the first one's is dead
    assert not sandbox.check("acme", client_id, result["client_secret"])["valid"]
    assert not sandbox.check("acme", client_id, OWN)["valid"]


def test_an_integrator_that_halo_hosts(play: Play, sandbox: Sandbox) -> None:
    done = play(
        [
            task("refused", INTEGRATOR, login_agent="api-automation"),
            task("deferred", INTEGRATOR, login_agent="api-automation", defer_rotation=True),
            task("nothing to do", INTEGRATOR, login_agent="Admin"),
            steered(
                task("allowed", INTEGRATOR, login_agent="api-automation", allow_hosted=True, new_client_secret=OWN),
                setting(),
            ),
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
