# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inside the controller's worker and as a module: whatever a task says, the difference is speed alone."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from conftest import Play
from halo_sandbox.testing import Sandbox
from helpers.playbook import CALLBACKS, Run, connection, fault, setting, steered, task

AGENT, APPLICATION, LOGIN = "halo_api_agent", "halo_application", "halo_login_info"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
HIDDEN = {"changed", "censored"}
ELSEWHERE = {"ANSIBLE_CONNECTION_PLUGINS": str(CALLBACKS.parent / "connection")}


def shipped(done: Run) -> bool:
    """Whether a module was sent anywhere; the run must have been told -vvv."""
    return "AnsiballZ_halo" in done.stdout


# Where a task runs


@pytest.mark.parametrize(
    ("how", "module"),
    [
        ({}, False),
        ({"variables": {"halo_in_process": True}, "in_process": False}, False),
        ({"variables": {"halo_in_process": "yes"}}, False),
        ({"environment": {"HALO_IN_PROCESS": ""}}, False),
        ({"in_process": False}, True),
        ({"environment": {"HALO_IN_PROCESS": "no"}}, True),
        ({"variables": {"halo_in_process": False}}, True),
        ({"variables": {"halo_in_process": "{{ 1 == 2 }}"}}, True),
        ({"variables": {"halo_in_process": "nonsense"}}, True),
        ({"hosts": {"halo": {**LOCAL, "ansible_connection": "elsewhere"}}, "environment": ELSEWHERE}, True),
    ],
    ids=str,
)
def test_where_a_task_runs(play: Play, how: dict[str, Any], module: bool) -> None:
    done = play([task("login", LOGIN)], arguments=["-vvv"], **how)
    assert done["login"].result["valid"] is True
    assert shipped(done) is module


def test_become_falls_back_to_a_module(play: Play) -> None:
    if os.geteuid() != 0:
        pytest.skip("su without a password takes root")
    become = {"become": True, "become_method": "ansible.builtin.su"}
    done = play([{**task("login", LOGIN), **become}], arguments=["-vvv"])
    assert done["login"].result["valid"] is True
    assert shipped(done)


def test_a_delegated_task_runs_where_it_is_delegated_to(play: Play) -> None:
    away = {**LOCAL, "ansible_connection": "elsewhere"}
    done = play(
        [{**task("login", LOGIN), "delegate_to": "localhost"}],
        hosts={"halo": away},
        environment=ELSEWHERE,
        arguments=["-vvv"],
    )
    assert done["login"].result["valid"] is True
    assert not shipped(done)
    done = play(
        [{**task("login", LOGIN), "delegate_to": "away"}],
        hosts={"halo": LOCAL, "away": away},
        environment=ELSEWHERE,
        arguments=["-vvv", "--limit", "halo"],
    )
    assert done["login"].result["valid"] is True
    assert shipped(done)


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_without_requests(play: Play, folder: Path, in_process: bool) -> None:
    (folder / "hidden" / "requests").mkdir(parents=True)
    (folder / "hidden" / "requests" / "__init__.py").write_text("raise ImportError('hidden')\n")
    done = play(
        [task("login", LOGIN)],
        in_process=in_process,
        environment={"PYTHONPATH": str(folder / "hidden")},
        arguments=["-vvv"],
    )
    assert shipped(done)
    assert done["login"].outcome == "failed"
    assert "the Python library 'requests' is missing" in done["login"].result["msg"]
    assert "pip install requests" in done["login"].result["msg"]
    assert "Traceback" not in done["login"].result["msg"]


# What a task may say


def test_the_tasks_environment(everywhere: Play, sandbox: Sandbox) -> None:
    tenant = sandbox.tenants["acme"]
    given = {name.upper(): str(value) for name, value in connection(tenant).items()}
    empty = {
        f"HALO_{name}": ""
        for name in ("TENANT", "ACCESS_TOKEN", "AUTH_URL", "SCOPE", "VALIDATE_CERTS", "CA_PATH", "TIMEOUT")
    }
    wrong = {"HALO_CLIENT_SECRET": "wr0ng"}
    done = everywhere(
        [
            {**task("given", LOGIN), "environment": given},
            {**task("empty", LOGIN), "environment": [given, empty]},
            {
                **task("the option wins", LOGIN, halo_client_secret=tenant["client_secret"]),
                "environment": {**given, **wrong},
            },
            {**task("an empty option", LOGIN, halo_client_secret=""), "environment": given},
            {**task("not valid", LOGIN), "environment": {**given, "HALO_TIMEOUT": "soon"}},
            task("over", LOGIN),
        ],
        options={},
    )
    for name in ("given", "empty", "the option wins", "an empty option"):
        assert done[name].result.get("valid") is True, done[name].result
    assert "halo_timeout" in done["not valid"].result["msg"]
    assert done["over"].outcome == "failed"
    assert "halo_url is missing" in done["over"].result["msg"]


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_environment_of_the_whole_run(play: Play, sandbox: Sandbox, in_process: bool) -> None:
    given = {name.upper(): str(value) for name, value in connection(sandbox.tenants["acme"]).items()}
    empty = {
        "HALO_ACCESS_TOKEN": "",
        "HALO_AUTH_URL": "",
        "HALO_VALIDATE_CERTS": "",
        "HALO_CA_PATH": "",
        "HALO_SCOPE": "",
    }
    done = play([task("login", LOGIN)], options={}, in_process=in_process, environment={**given, **empty})
    assert done["login"].result.get("valid") is True, done["login"].result


def test_a_proxy_of_the_tasks_own(everywhere: Play) -> None:
    proxy = {"http_proxy": "http://halo-proxy.invalid:3128"}
    done = everywhere([{**task("through it", LOGIN), "environment": proxy}, task("past it", LOGIN)])
    assert done["through it"].outcome == "failed"
    assert "proxy" in done["through it"].result["msg"]
    assert done["past it"].result["valid"] is True


def test_loops(everywhere: Play, sandbox: Sandbox) -> None:
    looped = {**task("agents", AGENT, name="{{ item }}"), "loop": ["api-1", "api-2", "Admin", "api-1"]}
    done = everywhere([looped, {"name": "kept", "ansible.builtin.debug": {"var": "done"}}])
    step = done["agents"]
    assert [item["outcome"] for item in step.items] == ["item ok", "item ok", "item failed", "item ok", "failed"]
    assert [item["result"]["changed"] for item in step.items] == [True, True, False, False, True]
    assert len(step.writes) == 2
    results = done["kept"].result["done"]["results"]
    assert [row["agent"]["name"] for row in results if "agent" in row] == ["api-1", "api-2", "api-1"]


def test_secrets_made_in_a_loop(everywhere: Play, sandbox: Sandbox) -> None:
    """Hidden item by item and as a whole; an item that made none is hidden with the others."""
    looped = {
        **task("applications", APPLICATION, name="{{ item }}", login_agent="api-automation", scopes=["all"]),
        "loop": ["App 1", "App 2", "App 1"],
    }
    done = everywhere(
        [looped, {"name": "kept", "ansible.builtin.debug": {"var": "done"}}, task("after", LOGIN)], arguments=["-vv"]
    )
    secrets = [row.get("client_secret") for row in done["kept"].result["done"]["results"]]
    assert [bool(secret) for secret in secrets] == [True, True, False]
    hidden = json.dumps(done["applications"].items)
    before = done.stdout.split("TASK [kept]")[0]
    for secret in secrets[:2]:
        assert secret not in hidden
        assert secret not in before
    assert (
        sandbox.check("acme", *(done["kept"].result["done"]["results"][0]["application"]["client_id"], "x"))["valid"]
        is False
    )
    assert done["after"].result["valid"] is True


def test_run_once(everywhere: Play) -> None:
    done = everywhere(
        [
            {**task("once", AGENT, name="api-once"), "run_once": True},
            {**task("once, there", AGENT, name="api-there"), "run_once": True, "delegate_to": "localhost"},
            task("each", AGENT, name="api-{{ inventory_hostname }}"),
        ],
        hosts={"one": LOCAL, "two": LOCAL},
        # one after the other, so that ids and requests come in the same order each time
        arguments=["--forks", "1"],
    )
    assert done["once"].writes == done["once, there"].writes == ["POST /api/Agent"]
    assert len(done["each"].writes) == 2


def test_no_log(everywhere: Play) -> None:
    done = everywhere(
        [{**task("quiet", AGENT, name="api-quiet"), "no_log": True}, {**task("wrong", AGENT, name=""), "no_log": True}]
    )
    for name in ("quiet", "wrong"):
        assert set(done[name].result) - {"_ansible_no_log", "failed", "exception"} == HIDDEN
    assert "api-quiet" not in done.stdout


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_tasks_timeout(play: Play, in_process: bool) -> None:
    slow = fault("delay", method="GET", path="^/api/agent", seconds=6)
    done = play(
        [
            {**steered(task("slow", AGENT, name="api-slow"), slow), "timeout": 3},
            task("next", AGENT, name="api-slow"),
        ],
        in_process=in_process,
    )
    assert done["slow"].outcome == "failed"
    assert re.search(r"(?i)timed out after 3 second|expected time frame .3.", json.dumps(done["slow"].result))
    assert "Unexpected" not in str(done["slow"].result)
    assert done["slow"].writes == []
    # a module is left running by ansible-core when its task times out, and may have made the agent meanwhile
    assert done["next"].outcome == "ok"
    assert done["next"].result["changed"] is True or not in_process


REFUSED_WITH_ASYNC: dict[str, dict[str, Any]] = {
    "by default": {},
    "always": {"regenerate_secret": "always"},
    "with a secret of one's own": {"new_client_secret": "an odd one"},
    "deferred and brought": {"defer_rotation": True, "new_client_secret": "an odd one"},
    "not deferred": {"defer_rotation": "no"},
    "not deferred, templated": {"defer_rotation": "{{ (1 == 2) | string }}"},
}


def test_async_is_refused_where_a_secret_may_be_made(play: Play) -> None:
    wish = {"name": "App", "login_agent": "api-automation", "scopes": ["all"]}
    tasks = [
        {**task(name, APPLICATION, **wish, **more), "async": 60, "poll": 1} for name, more in REFUSED_WITH_ASYNC.items()
    ]
    tasks.append({**task("Integrator", "halo_integrator", login_agent="api-automation"), "async": 60, "poll": 0})
    done = play(tasks)
    for step in done.steps:
        assert step.outcome == "failed", (step.name, step.result)
        assert "cannot run with async" in step.result["msg"]
        assert step.requests == []
        assert not step.state_changed


def test_async_where_no_secret_is_made(play: Play) -> None:
    run_async = {"async": 60, "poll": 1}
    done = play(
        [
            {**task("agent", AGENT, name="api-async"), **run_async},
            {
                **task("deferred", APPLICATION, name="App", login_agent="api-automation", defer_rotation=True),
                **run_async,
            },
            {
                **task("never", APPLICATION, name="App", login_agent="api-automation", regenerate_secret="never"),
                **run_async,
            },
            {**task("absent", APPLICATION, name="App", state="absent"), **run_async},
            {**task("info", "halo_application_info"), **run_async},
        ]
    )
    for step in done.steps:
        assert step.outcome == "async ok" or step.outcome == "ok", (step.name, step.result)
    assert [step.writes for step in done.steps] == [
        ["POST /api/Agent"],
        [],
        ["POST /api/Application"],
        [done["absent"].writes[0]],
        [],
    ]


def test_a_vaulted_secret(everywhere: Play, sandbox: Sandbox, folder: Path) -> None:
    (folder / "password").write_text("letmein")
    secret = sandbox.tenants["acme"]["client_secret"].encode()
    text = VaultLib([("default", VaultSecret(b"letmein"))]).encrypt(secret).decode()
    (folder / "vaulted.yml").write_text("vaulted: !vault |\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    done = everywhere(
        [task("login", LOGIN, halo_client_secret="{{ vaulted }}")],
        arguments=["--vault-password-file", str(folder / "password"), "-e", f"@{folder / 'vaulted.yml'}", "-vvvv"],
    )
    assert done["login"].result["valid"] is True
    assert secret.decode() not in done.stdout + done.stderr


def test_values_of_any_type(everywhere: Play) -> None:
    """Templates give strings, numbers and booleans of their own kinds; both ways see what a module would."""
    variables = {
        "number": 8,
        "yes_text": "yes",
        "names": ["API Integration"],
        "nothing": None,
        "deep": {"a": [1, True, None, "x"]},
    }
    done = everywhere(
        [
            task(
                "create",
                AGENT,
                name="{{ 4711 }}",
                enabled="{{ yes_text }}",
                roles="{{ names }}",
                teams="Projects,2nd Line Support",
            ),
            task("by id", AGENT, agent_id="{{ number }}", email="{{ nothing }}", properties={"deep": "{{ deep }}"}),
            task("omitted", AGENT, name="{{ 4711 }}", teams="{{ nowhere | default(omit) }}"),
        ],
        variables=variables,
    )
    assert done["create"].result["agent"]["name"] == "4711"
    assert done["create"].result["agent"]["teams"] == ["2nd Line Support", "Projects"]
    assert done["omitted"].result["changed"] is False


# Tokens


def token_files(done: Run) -> list[Path]:
    return [path for path in done.home.rglob("*") if "token" in path.name]


def test_one_token_for_a_run(play: Play) -> None:
    look = "stat -c '%a %n' {{ lookup('env', 'HOME') }}/.ansible/tmp/ansible-local-*/halo-token-*"
    done = play(
        [
            task("first", AGENT, name="api-1"),
            task("second", AGENT, name="api-2"),
            {"name": "look", "ansible.builtin.command": "true", "changed_when": False, "register": "done"},
            {"name": "files", "ansible.builtin.shell": look, "changed_when": False},
            task("third", APPLICATION, name="App", login_agent="api-1"),
            task("check", LOGIN),
            task("others", AGENT, name="api-{{ inventory_hostname }}"),
        ],
        hosts={"one": LOCAL, "two": LOCAL, "three": LOCAL},
        arguments=["--forks", "1"],
    )
    asked = {step.name: [entry["kind"] for entry in step.requests].count("token") for step in done.steps}
    # a check of credentials is worth something only with a token of its own, for each of the three hosts
    assert asked == {"first": 1, "second": 0, "look": 0, "files": 0, "third": 0, "check": 3, "others": 0}
    modes = [line.split()[0] for line in done["files"].result["stdout"].splitlines()]
    assert modes == ["600"]
    assert token_files(done) == []


def test_a_token_that_dies_during_the_run_is_renewed_once(play: Play, sandbox: Sandbox) -> None:
    done = play(
        [
            task("first", AGENT, name="api-1"),
            steered(task("second", AGENT, name="api-2"), ("POST", "expire", {"tenant": "acme"})),
            task("third", AGENT, name="api-3"),
        ]
    )
    kinds = [[entry["kind"] for entry in step.requests].count("token") for step in done.steps]
    assert kinds == [1, 1, 0]
    assert [entry["status"] for entry in done["second"].requests].count(401) == 1
    assert done["second"].result["changed"] is True
    assert token_files(done) == []


def test_modules_share_no_token_and_leave_nothing(play: Play) -> None:
    done = play([task("first", AGENT, name="api-1"), task("second", AGENT, name="api-2")], in_process=False)
    assert [[entry["kind"] for entry in step.requests].count("token") for step in done.steps] == [1, 1]
    left = [path for path in done.home.rglob("*") if path.is_file()]
    assert left == [], left


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_an_authorisation_server_elsewhere_is_discovered(play: Play, in_process: bool) -> None:
    elsewhere = setting(auth_path="/elsewhere/auth")
    done = play([steered(task("discovered", AGENT, name="api-1"), elsewhere)], in_process=in_process)
    assert done["discovered"].asked[:3] == ["POST /auth/token", "GET /api/AuthInfo", "POST /elsewhere/auth/token"]
    assert done["discovered"].result["changed"] is True


def test_the_diff_is_shown(play: Play) -> None:
    done = play([task("create", AGENT, name="api-1", roles=["Read Only"])], arguments=["--diff", "--check"])
    assert '+    "roles": [' in done.stdout or "+roles:" in done.stdout, done.stdout
    assert "Read Only" in done.stdout
