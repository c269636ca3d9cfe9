# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The info modules and the lookup: what they list, leave out and never show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from halo_sandbox.testing import Sandbox
from helpers import in_process
from helpers.playbook import setting, steered, task
from helpers.tasks import perform_both

AGENTS, APPLICATIONS, LOGIN = "halo_api_agent_info", "halo_application_info", "halo_login_info"
WEB = "nethelpdesk-agent-web-application"


def test_what_is_listed(sandbox: Sandbox, folder: Path) -> None:
    sandbox.settings(read_only=True)
    done = perform_both(
        sandbox,
        folder,
        [
            task("all agents", AGENTS),
            task("programs", AGENTS, api_only=True),
            task("humans in use", AGENTS, api_only=False, include_disabled=False),
            task("by name", AGENTS, name=" bianca ROSSI "),
            task("by id", AGENTS, agent_id=3),
            task("nobody", AGENTS, name="Bianca"),
            task("no id", AGENTS, agent_id=99),
            task("applications", APPLICATIONS),
            task("all applications", APPLICATIONS, include_system=True),
            task("a system one by name", APPLICATIONS, name=WEB.upper(), include_system=True),
            task("hidden by name", APPLICATIONS, name=WEB),
            steered(task("wrapped", AGENTS), setting(list_shape="results")),
            {**task("in check mode", AGENTS), "check_mode": True},
        ],
        lambda started: started.settings(secret_mask="********"),
    )
    for step in done.steps:
        assert (step.outcome, step.result["changed"], step.writes) == ("ok", False, [])
        assert "diff" not in step.result
        assert "secret" not in json.dumps({key: value for key, value in step.result.items() if key != "invocation"})

    def names(step: str, key: str = "agents") -> list[str]:
        return [row["name"] for row in done[step].result[key]]

    everyone = ["Admin", "api-automation", "Bianca Rossi", "Jörg Müller", "Old Hand"]
    assert names("all agents") == names("wrapped") == names("in check mode") == everyone
    assert names("programs") == ["api-automation"]
    assert names("humans in use") == ["Admin", "Bianca Rossi", "Jörg Müller"]
    assert names("by id") == ["Admin"]
    assert names("nobody") == names("no id") == names("hidden by name", "applications") == []
    assert done["by name"].result["agents"] == [
        {
            "id": 4,
            "name": "Bianca Rossi",
            "email": "bianca.rossi@acme.example.com",
            "api_only": False,
            "enabled": True,
            "roles": ["Standard User"],
            "teams": ["1st Line Support"],
            "default_team": "1st Line Support",
        }
    ]
    # a list row names the roles as the details do
    assert done["by name"].result["agents"][0] in done["all agents"].result["agents"]
    assert names("applications", "applications") == ["Automation"]
    assert names("all applications", "applications") == ["Automation", "Halo Integrator", WEB]
    (application,) = done["applications"].result["applications"]
    assert application["scopes"] == ["admin", "all"]
    assert application["login_agent"] == {"id": 7, "name": "api-automation"}
    assert done["a system one by name"].result["applications"][0]["system"] is True


def test_logins(sandbox: Sandbox, folder: Path) -> None:
    def prepare(started: Sandbox) -> None:
        started.settings(read_only=True)
        scopes = [{"name": "read:tickets"}]
        common = {"allowagents": True, "scopes": scopes, "clientSecret": "an odd one"}
        started.put_agents("acme", {"name": "api-off", "isapiagent": True, "isdisabled": True})
        started.put_applications(
            "acme",
            {**common, "displayName": "Small", "clientId": "small", "loginas_agent_id": 4},
            {**common, "displayName": "Off", "clientId": "off", "loginas_agent_id": 8},
            {**common, "displayName": "Inactive", "clientId": "inactive", "loginas_agent_id": 4, "inactive": True},
        )

    secret = {"halo_client_secret": "an odd one"}
    done = perform_both(
        sandbox,
        folder,
        [
            task("good", LOGIN),
            task("small", LOGIN, **secret, halo_client_id="small", halo_scope="read:tickets"),
            task("too much asked", LOGIN, **secret, halo_client_id="small"),
            task("agent disabled", LOGIN, **secret, halo_client_id="off", halo_scope="read:tickets"),
            task("inactive", LOGIN, **secret, halo_client_id="inactive", halo_scope="read:tickets"),
            task("wrong secret", LOGIN, halo_client_secret="wr0ng"),
            task("wrong token", LOGIN, halo_access_token="wr0ng"),
            task("good, required", LOGIN, require=True),
            task("wrong secret, required", LOGIN, halo_client_secret="wr0ng", require=True),
            task("wrong token, required", LOGIN, halo_access_token="wr0ng", require=True),
        ],
        prepare,
    )
    for name, said in (("secret", "invalid_client"), ("token", "401")):
        required = done[f"wrong {name}, required"]
        assert required.outcome == "failed"
        assert said in required.result["msg"]
        assert sandbox.tenants["acme"]["url"] in required.result["msg"]
        assert "wr0ng" not in json.dumps(required.result)
        done.steps.remove(required)
    keys = {"valid", "agent", "scope", "expires_in", "error", "changed"}
    for step in done.steps:
        assert (step.outcome, step.result["changed"]) == ("ok", False)
        assert set(step.result) - {"invocation", "_ansible_no_log"} == keys
        assert "wr0ng" not in json.dumps(step.result)
    good = done["good"].result
    assert (good["valid"], good["scope"], good["expires_in"], good["error"]) == (True, "all", 3600, None)
    assert good["agent"] == {"id": 7, "name": "api-automation", "api_only": True}
    assert done["good, required"].result["agent"] == good["agent"]
    assert done["small"].result["agent"] == {"id": 4, "name": "Bianca Rossi", "api_only": False}
    for name, said in (
        ("too much asked", "invalid_scope"),
        ("agent disabled", "invalid_client"),
        ("inactive", "invalid_client"),
        ("wrong secret", "invalid_client"),
        ("wrong token", "401"),
    ):
        result = done[name].result
        assert (result["valid"], result["agent"]) == (False, None), name
        assert said in result["error"]
        assert sandbox.tenants["acme"]["url"] in result["error"]


def test_the_lookup_makes_another_secret_each_time(folder: Path) -> None:
    first, second = (in_process.lookup("new_client_secret", [], {}, folder) for _time in range(2))
    uuid4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert re.fullmatch(f"{uuid4}-{uuid4}", first[0])
    assert len(first) == 1
    assert first != second
    with pytest.raises(AnsibleError, match="takes no terms"):
        in_process.lookup("new_client_secret", ["a term"], {}, folder)
