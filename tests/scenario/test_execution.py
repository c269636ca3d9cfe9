# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inside the controller's worker and as a module: whatever a task says, the difference is speed alone."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from conftest import Play, comparable
from halo_sandbox.testing import Sandbox
from helpers.playbook import CALLBACKS, Run, Task, connection, fault, setting, steered, task

AGENT, APPLICATION, LOGIN = "halo_api_agent", "halo_application", "halo_login_info"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
HIDDEN = {"changed", "censored"}
ELSEWHERE = {"ANSIBLE_CONNECTION_PLUGINS": str(CALLBACKS.parent / "connection")}


AS_MODULE = ", as a module"


@pytest.fixture
def twice(play: Play) -> Play:
    """Run tasks inside the controller's worker, and on the same ground again as shipped modules, in one play.

    Results, outcomes, requests and changes must be the same; the run is returned with the steps of the first round.
    """

    def both(tasks: list[Task], **how: Any) -> Run:
        rounds = [{**one, "vars": {**one.get("vars", {}), "halo_in_process": True}} for one in tasks]
        for one in tasks:
            again = {**one, "name": one["name"] + AS_MODULE}
            again["vars"] = {**one.get("vars", {}), "halo_in_process": False}
            rounds.append(again)
        first = rounds[len(tasks)]
        first["vars"]["sandbox"] = [("POST", "reset", {"tenant": None}), *first["vars"].get("sandbox", [])]
        done = play(rounds, **how)
        assert len(done.steps) == len(rounds), done.stderr
        second = [
            dataclasses.replace(step, name=step.name.removesuffix(AS_MODULE)) for step in done.steps[len(tasks) :]
        ]
        here = dataclasses.replace(done, steps=done.steps[: len(tasks)])
        for one, other in zip(comparable(here), comparable(dataclasses.replace(done, steps=second)), strict=True):
            assert one == other
        return here

    return both


def shipped(done: Run) -> dict[str, bool]:
    """For each task whether a module was sent anywhere; the run must have been told -vvv."""
    return {name: "AnsiballZ_halo" in text for name, text in sections(done).items()}


def sections(done: Run) -> dict[str, str]:
    """What the terminal showed of each task."""
    parts = re.split(r"^TASK \[(.+?)\] \**$", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# Where a task runs; the unit tests of the action know more reasons


def test_where_a_task_runs(play: Play) -> None:
    here, away = {"when": "inventory_hostname == 'halo'"}, {"when": "inventory_hostname == 'away'"}
    tasks: list[tuple[str, dict[str, Any], bool]] = [
        ("by default", here, False),
        ("told to", {**here, "vars": {"halo_in_process": "yes"}}, False),
        ("told not to", {**here, "vars": {"halo_in_process": "{{ 1 == 2 }}"}}, True),
        ("on a host elsewhere", away, True),
        ("delegated from there", {**away, "delegate_to": "localhost"}, False),
        ("delegated to there", {**here, "delegate_to": "away"}, True),
    ]
    if os.geteuid() == 0:
        # su asks root for no password
        tasks.append(("as someone else", {**here, "become": True, "become_method": "ansible.builtin.su"}, True))
    done = play(
        [{**task(name, LOGIN), **how} for name, how, _module in tasks],
        hosts={"halo": LOCAL, "away": {**LOCAL, "ansible_connection": "elsewhere"}},
        environment=ELSEWHERE,
        arguments=["-vvv"],
    )
    for step in done.steps:
        assert [item["result"]["valid"] for item in step.items if item["outcome"] != "skipped"] == [True], step.items
    assert shipped(done) == {name: module for name, _how, module in tasks}


def test_without_requests(play: Play, folder: Path) -> None:
    (folder / "hidden" / "requests").mkdir(parents=True)
    (folder / "hidden" / "requests" / "__init__.py").write_text("raise ImportError('hidden')\n")
    done = play(
        [task("login", LOGIN)],
        environment={"PYTHONPATH": str(folder / "hidden")},
        arguments=["-vvv"],
    )
    assert shipped(done) == {"login": True}
    assert done["login"].outcome == "failed"
    assert "the Python library 'requests' is missing" in done["login"].result["msg"]
    assert "pip install requests" in done["login"].result["msg"]
    assert "Traceback" not in done["login"].result["msg"]


# What a task may say


def test_the_tasks_environment(twice: Play, sandbox: Sandbox) -> None:
    tenant = sandbox.tenants["acme"]
    given = {name.upper(): str(value) for name, value in connection(tenant).items()}
    empty = {
        f"HALO_{name}": ""
        for name in ("TENANT", "ACCESS_TOKEN", "AUTH_URL", "SCOPE", "VALIDATE_CERTS", "CA_PATH", "TIMEOUT")
    }
    wrong = {"HALO_CLIENT_SECRET": "wr0ng"}
    done = twice(
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


def test_the_environment_of_the_whole_run(twice: Play, sandbox: Sandbox) -> None:
    given = {name.upper(): str(value) for name, value in connection(sandbox.tenants["acme"]).items()}
    empty = {
        "HALO_ACCESS_TOKEN": "",
        "HALO_AUTH_URL": "",
        "HALO_VALIDATE_CERTS": "",
        "HALO_CA_PATH": "",
        "HALO_SCOPE": "",
    }
    done = twice([task("login", LOGIN)], options={}, environment={**given, **empty})
    assert done["login"].result.get("valid") is True, done["login"].result


def test_the_hosts_variables(twice: Play, sandbox: Sandbox, folder: Path) -> None:
    """The connection needs no word in a play: options, then the host's variables, templated or vaulted, then the
    environment."""
    given = connection(sandbox.tenants["acme"])
    secret = given["halo_client_secret"]
    (folder / "password").write_text("letmein")
    text = VaultLib([("default", VaultSecret(b"letmein"))]).encrypt(secret.encode()).decode()
    (folder / "vaulted.yml").write_text("vaulted: !vault |\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    variables = {**LOCAL, **given, "halo_tenant": "{{ short }}", "short": given["halo_tenant"]}
    variables["halo_client_secret"] = "{{ vaulted }}"
    wrong = {name.upper(): "wr0ng" for name in given}
    done = twice(
        [
            {**task("of the host", LOGIN), "environment": wrong},
            task("the option wins", LOGIN, halo_client_secret="wr0ng"),
        ],
        options={},
        hosts={"halo": variables},
        arguments=["--vault-password-file", str(folder / "password"), "-e", f"@{folder / 'vaulted.yml'}", "-vvvv"],
    )
    assert done["of the host"].result.get("valid") is True, done["of the host"].result
    assert done["the option wins"].result["valid"] is False
    assert secret not in done.stdout + done.stderr


def test_loops(twice: Play, sandbox: Sandbox) -> None:
    looped = {**task("agents", AGENT, name="{{ item }}"), "loop": ["api-1", "api-2", "Admin", "api-1"]}
    done = twice([looped, {"name": "kept", "ansible.builtin.debug": {"var": "done"}}])
    step = done["agents"]
    assert [item["outcome"] for item in step.items] == ["item ok", "item ok", "item failed", "item ok", "failed"]
    assert [item["result"]["changed"] for item in step.items] == [True, True, False, False, True]
    assert len(step.writes) == 2
    results = done["kept"].result["done"]["results"]
    assert [row["agent"]["name"] for row in results if "agent" in row] == ["api-1", "api-2", "api-1"]


def test_secrets_made_in_a_loop(twice: Play, sandbox: Sandbox, folder: Path) -> None:
    """Hidden item by item and as a whole; an item that made none is hidden with the others."""
    looped = {
        **task("applications", APPLICATION, name="{{ item }}", login_agent="api-automation", scopes=["all"]),
        "loop": ["App 1", "App 2", "App 1"],
    }
    keep = {"dest": f"{folder}/kept-{{{{ halo_in_process }}}}.json", "content": "{{ done | to_json }}", "mode": "0600"}
    kept = {"name": "kept", "ansible.builtin.copy": keep, "no_log": True}
    done = twice([looped, kept, task("after", LOGIN)], arguments=["-vv"])
    for way in ("True", "False"):
        rows = json.loads((folder / f"kept-{way}.json").read_text())["results"]
        secrets = [row.get("client_secret") for row in rows]
        assert [bool(secret) for secret in secrets] == [True, True, False]
        for secret in secrets[:2]:
            assert secret not in json.dumps([step.items for step in done.steps])
            assert secret not in done.stdout
        valid = sandbox.check("acme", rows[0]["application"]["client_id"], secrets[0])["valid"]
        # the ground was cleared between the two rounds
        assert valid is (way == "False")
    assert done["after"].result["valid"] is True


def test_run_once(twice: Play) -> None:
    done = twice(
        [
            {**task("once", AGENT, name="api-once"), "run_once": True, "delegate_to": "localhost"},
            task("each", AGENT, name="api-{{ inventory_hostname }}"),
        ],
        hosts={"one": LOCAL, "two": LOCAL},
        # one after the other, so that ids and requests come in the same order each time
        arguments=["--forks", "1"],
    )
    assert done["once"].writes == ["POST /api/Agent"]
    assert len(done["each"].writes) == 2


def test_the_tasks_timeout(play: Play) -> None:
    def slow(name: str, timeout: int) -> Task:
        delay = fault("delay", method="GET", path="^/api/agent", seconds=timeout + 2, times=1)
        return {**steered(task(name, AGENT, name="api-slow"), ("DELETE", "faults", None), delay), "timeout": timeout}

    done = play(
        [
            slow("here", 1),
            task("next", AGENT, name="api-slow"),
            # last: it is left running by ansible-core
            {**slow("as a module", 2), "vars": {**slow("", 2)["vars"], "halo_in_process": False}},
        ]
    )
    for name, timeout in (("here", 1), ("as a module", 2)):
        assert done[name].outcome == "failed"
        expected = rf"(?i)timed out after {timeout} second|expected time frame .{timeout}."
        assert re.search(expected, json.dumps(done[name].result))
        assert "Unexpected" not in str(done[name].result)
        assert done[name].writes == []
    assert done["next"].outcome == "ok"
    assert done["next"].result["changed"] is True


def test_async(play: Play) -> None:
    """Refused where a secret may be made; the unit tests of the action know the options that make a difference."""
    wish = {"name": "App", "login_agent": "api-automation", "scopes": ["all"]}
    refused = {**task("refused", APPLICATION, **wish), "async": 60, "poll": 0}
    done = play([refused, {**task("done", APPLICATION, **wish, regenerate_secret="never"), "async": 60, "poll": 1}])
    assert done["refused"].outcome == "failed"
    assert "cannot run with async" in done["refused"].result["msg"]
    assert done["refused"].requests == []
    assert done["done"].outcome in ("async ok", "ok"), done["done"].result
    assert done["done"].writes == ["POST /api/Application"]


def test_keywords_of_a_task(twice: Play, sandbox: Sandbox) -> None:
    """A proxy of the task's own, no_log, and a value of an option with no_log where it does not belong."""
    secret = sandbox.tenants["acme"]["client_secret"]
    # nobody listens there
    proxy = {"http_proxy": "http://127.0.0.1:9"}
    done = twice(
        [
            {**task("through the proxy", LOGIN), "environment": proxy},
            task("past the proxy", LOGIN),
            {**task("quiet", AGENT, name="api-quiet"), "no_log": True},
            {**task("quiet failure", AGENT, name=""), "no_log": True},
            task("misplaced", AGENT, name=f"api {secret}"),
        ],
    )
    assert done["through the proxy"].outcome == "failed"
    assert "proxy" in done["through the proxy"].result["msg"].lower()
    assert done["past the proxy"].result["valid"] is True
    for name in ("quiet", "quiet failure"):
        assert set(done[name].result) - {"_ansible_no_log", "failed", "exception"} == HIDDEN
    assert "api-quiet" not in done.stdout
    assert done["misplaced"].result["agent"]["name"] in ("api ********", "api $REDACTED$")


def test_values_of_any_type(twice: Play) -> None:
    """Templates give strings, numbers and booleans of their own kinds; both ways see what a module would."""
    variables = {
        "number": 8,
        "yes_text": "yes",
        "names": ["API Integration"],
        "nothing": None,
        "deep": {"a": [1, True, None, "x"]},
    }
    done = twice(
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


# What comes from Halo


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_what_halo_returns_is_no_template(play: Play, sandbox: Sandbox, in_process: bool) -> None:
    name = "api-{{ 6 * 7 }}{% raw %}"
    sandbox.put_agents("acme", {"name": name, "isapiagent": True, "email": "{{ lookup('env', 'home') }}"})
    found = "{{ done.agents | selectattr('name', 'search', '6 . 7') | first }}"
    done = play(
        [
            task("read", "halo_api_agent_info"),
            {"name": "use", "ansible.builtin.debug": {"msg": found}},
            task("fail", APPLICATION, name="App", login_agent="nobody"),
            {"name": "use error", "ansible.builtin.debug": {"msg": "{{ done.msg }}"}},
        ],
        in_process=in_process,
    )
    assert done["use"].result["msg"]["name"] == name
    assert done["use"].result["msg"]["email"] == "{{ lookup('env', 'home') }}"
    assert name in done["use error"].result["msg"]
    assert "api-42" not in done.stdout


# Rate limits


def test_runs_over_the_rate_limit_wait_and_say_so_at_once(play: Play, sandbox: Sandbox) -> None:
    """Halo's limit on a small scale; requests for tokens and AuthInfo count like all others."""
    sandbox.settings("acme", rate_limit={"requests": 6, "seconds": 1, "retry_after": 2}, auth_path="/elsewhere/auth")
    hosts = ("one", "two", "three")
    begin = time.monotonic()
    done = play([task("login", LOGIN, halo_retry_seconds=40)], hosts=dict.fromkeys(hosts, LOCAL))
    assert [item["outcome"] for item in done["login"].items] == ["ok"] * 3, done["login"].items
    asked = done["login"].requests
    assert sum(entry["status"] != 429 for entry in asked) == 4 * len(hosts)
    assert {entry["kind"] for entry in asked if entry["status"] == 200} == {"token", "authinfo", "api"}
    # nobody asks again and again
    refused = [entry for entry in asked if entry["status"] == 429]
    assert 1 <= len(refused) <= 4 * len(hosts)
    assert 2 <= time.monotonic() - begin < 40
    waits = re.findall(r"/acme: the rate limit is reached; waiting (\d+) s, and (\d+) s more", done.stderr)
    assert len(waits) == len(refused)
    assert "rate limit" not in done.stdout


# Tokens


def token_files(done: Run) -> list[Path]:
    return [path for path in done.home.rglob("*") if "token" in path.name]


def test_one_token_for_a_run(play: Play) -> None:
    look = "stat -c '%a %n' {{ lookup('env', 'HOME') }}/.ansible/tmp/ansible-local-*/halo-token-*"
    done = play(
        [
            task("first", AGENT, name="api-1"),
            {"name": "files", "ansible.builtin.shell": look, "changed_when": False, "run_once": True},
            task("second", APPLICATION, name="App", login_agent="api-1"),
            task("check", LOGIN),
            task("others", AGENT, name="api-{{ inventory_hostname }}"),
        ],
        hosts={"one": LOCAL, "two": LOCAL},
        arguments=["--forks", "1"],
    )
    asked = {step.name: [entry["kind"] for entry in step.requests].count("token") for step in done.steps}
    # a check of credentials is worth something only with a token of its own, for each of the hosts
    assert asked == {"first": 1, "files": 0, "second": 0, "check": 2, "others": 0}
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


def test_an_authorisation_server_elsewhere_is_discovered(twice: Play) -> None:
    tasks = [steered(task("discovered", AGENT, name="api-1"), setting(auth_path="/elsewhere/auth"))]
    done = twice(tasks)
    assert done["discovered"].asked[:3] == ["POST /auth/token", "GET /api/AuthInfo", "POST /elsewhere/auth/token"]
    assert done["discovered"].result["changed"] is True


def test_the_diff_is_shown(play: Play) -> None:
    done = play([task("create", AGENT, name="api-1", roles=["Read Only"])], arguments=["--diff", "--check"])
    assert '+    "roles": [' in done.stdout or "+roles:" in done.stdout, done.stdout
    assert "Read Only" in done.stdout
