# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret and no token in any output or left-behind file, whatever happens, in both ways of execution."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from conftest import Play
from halo_sandbox.testing import Sandbox
from helpers.playbook import Run, Task, connection, fault, setting, steered, task

AGENT, APPLICATION, INTEGRATOR, LOGIN = "halo_api_agent", "halo_application", "halo_integrator", "halo_login_info"
LOGS_IN = "l0g in/with+this&=%\"'§"
NEW = "p@ss w/ord+&=%\"'"
WRONG = "wr0ng! <s3cret>?#\\{}"
OLD_TOKEN = "~t0ken.of/an+earlier=run&kept%here-----------"
CLEAR = ("DELETE", "faults", None)


def forms(secret: str) -> dict[str, str]:
    """What a secret may look like: as it is, and as URLs, JSON, shells, HTML and base64 hold it."""
    plain = secret.encode()
    found = {
        "raw": secret,
        "URL": quote(secret, safe=""),
        "URL with slashes": quote(secret),
        "form": quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "Python": repr(secret)[1:-1],
        "shell": secret.replace("'", "'\"'\"'"),
    }
    found |= {
        f"{name} in lower case": re.sub("%..", lambda code: code.group().lower(), found[name])
        for name in ("URL", "form")
    }
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        # the part of a base64 text that this secret decides, wherever it stands in what was encoded
        coded = base64.b64encode(bytes(shift) + plain).decode().rstrip("=")
        part = coded[first : len(coded) - ((shift + len(plain)) % 3 > 0)]
        found[f"base64 at {shift}"] = part
        found[f"base64 for URLs at {shift}"] = part.translate(str.maketrans("+/", "-_"))
    return found


def outputs(done: Run) -> Iterator[tuple[str, str]]:
    """Everything that a run showed or left behind: name and text."""
    yield "stdout", done.stdout
    yield "stderr", done.stderr
    yield (
        "what a callback saw",
        json.dumps([step.items for step in done.steps if not step.name.startswith("keep")], ensure_ascii=False),
    )
    for path in done.home.rglob("*"):
        yield f"name {path.relative_to(done.home)}", path.name
        if path.is_file():
            yield str(path.relative_to(done.home)), path.read_bytes().decode("utf-8", "replace")


def leaks(done: Run, secrets: list[str]) -> list[str]:
    """Where a secret is found, and in which form."""
    searched = list(outputs(done))
    return [
        f"{secret!r} ({form}) in {where}"
        for secret in secrets
        for form, shown in forms(secret).items()
        for where, text in searched
        if shown in text
    ]


def opens(sandbox: Sandbox, token: str) -> bool:
    """Whether this is an access token that works."""
    request = urllib.request.Request(
        sandbox.tenants["acme"]["url"] + "/api/Agent/me", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
            return True
    except urllib.error.HTTPError:
        return False


def token(sandbox: Sandbox) -> str:
    tenant = sandbox.tenants["acme"]
    form = {
        "grant_type": "client_credentials",
        "scope": "all",
        **{name: tenant[name] for name in ("client_id", "client_secret")},
    }
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(tenant["url"] + "/auth/token", data=urlencode(form).encode(), timeout=10) as answer:
        found: str = json.load(answer)["access_token"]
    return found


def working_tokens(sandbox: Sandbox, done: Run) -> list[str]:
    """Every access token in the outputs that still works: whatever looks like one is tried."""
    words = {
        word for _where, text in outputs(done) for word in re.findall(r"(?<![\w-])[\w-]{43}(?![\w-])", text, re.ASCII)
    }
    words |= {word for _where, text in outputs(done) for word in re.findall(r"(?i)bearer\s+([^\s\"',]+)", text)}
    return [word for word in words if opens(sandbox, word)]


@pytest.fixture
def odd(sandbox: Sandbox) -> dict[str, Any]:
    """Connection options of an application with a secret of odd characters."""
    (row,) = sandbox.put_applications(
        "acme",
        {
            "displayName": "Odd",
            "loginas_agent_id": 7,
            "allowagents": True,
            "scopes": [{"name": "all"}],
            "clientSecret": LOGS_IN,
        },
    )
    sandbox.put_agents("acme", {"name": "api-a", "isapiagent": True}, {"name": "api-b", "isapiagent": True})
    return connection(sandbox.tenants["acme"], halo_client_id=row["clientId"], halo_client_secret=LOGS_IN)


def scenario() -> list[Task]:
    wish = {"name": "App", "scopes": ["all"], "new_client_secret": "{{ new }}"}
    both = [
        task("create", APPLICATION, **wish, login_agent="api-a"),
        task("again", APPLICATION, **wish, login_agent="api-a"),
        task("switch", APPLICATION, **wish, login_agent="api-b"),
        task("made", APPLICATION, name="Made", login_agent="api-a", scopes=["all"]),
        {
            "name": "keep",
            "ansible.builtin.copy": {"content": "{{ done.client_secret }}", "dest": "{{ kept }}"},
            "no_log": True,
        },
        task("Integrator", INTEGRATOR, login_agent="api-a", new_client_secret="{{ new }}"),
        task("agent", AGENT, name="api-c", roles=["Read Only"]),
        task("list", "halo_application_info", include_system=True),
        task("login", LOGIN),
        task("wrong login", LOGIN, halo_client_secret="{{ wrong }}"),
        task("wrong token", LOGIN, halo_access_token="{{ old_token }}"),
        task("by token", AGENT, name="api-c", halo_access_token="{{ token }}"),
        task("unknown option", APPLICATION, **wish, nonsense=True),
        task("wrong type", APPLICATION, **wish, login_agent_id="eight"),
        task("empty name", APPLICATION, name="", new_client_secret="{{ new }}"),
        task("guarded", APPLICATION, name="Odd", regenerate_secret="always", new_client_secret="{{ new }}"),
        {
            **task("looped", APPLICATION, name="{{ item }}", login_agent="api-a", new_client_secret="{{ new }}"),
            "loop": ["One", "Two"],
        },
        {**task("with async", APPLICATION, **wish), "async": 30, "poll": 1},
    ]
    return [{**both[0], "name": "create, check", "check_mode": True}, *both]


def run_with(
    play: Play, sandbox: Sandbox, odd: dict[str, Any], folder: Path, tasks: list[Task], in_process: bool
) -> Run:
    return play(
        tasks,
        in_process=in_process,
        options=odd,
        variables={
            "new": NEW,
            "wrong": WRONG,
            "old_token": OLD_TOKEN,
            "token": token(sandbox),
            "kept": str(folder / "kept"),
        },
        arguments=["-vvvv", "--diff"],
    )


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_nothing_leaks_when_all_goes_well_or_the_user_errs(
    play: Play, sandbox: Sandbox, odd: dict[str, Any], folder: Path, in_process: bool
) -> None:
    done = run_with(play, sandbox, odd, folder, scenario(), in_process)
    outcomes = {step.name: step.outcome for step in done.steps}
    failed = {"unknown option", "wrong type", "empty name", "guarded", "with async"}
    assert {name for name, outcome in outcomes.items() if outcome != "ok"} == failed, outcomes
    made = (folder / "kept").read_text()
    assert sandbox.check("acme", done["list"].result["applications"][0]["client_id"], "x")["valid"] is False
    assert len(made) == 73
    assert leaks(done, [LOGS_IN, NEW, WRONG, OLD_TOKEN, made, sandbox.tenants["acme"]["client_secret"]]) == []
    assert working_tokens(sandbox, done) == []


def test_the_search_finds_what_is_there(sandbox: Sandbox, folder: Path) -> None:
    working = token(sandbox)
    (folder / "home" / "left").mkdir(parents=True)
    (folder / "home" / "left" / working).write_text("")
    (folder / "home" / "file").write_text(base64.b64encode(f"client:{NEW}".encode()).decode())
    done = Run(0, f'{{"Authorization": "Bearer {working}"}}', quote_plus(LOGS_IN), [], folder / "home")
    assert set(working_tokens(sandbox, done)) == {working}
    found = leaks(done, [LOGS_IN, NEW, working])
    assert {line.rpartition(" in ")[2] for line in found} == {"stdout", "stderr", "file", f"name left/{working}"}


ECHO = {
    "raw": NEW,
    "URL-encoded": quote(NEW, safe=""),
    "form-encoded": quote_plus(NEW),
    "base64": base64.b64encode(NEW.encode()).decode(),
}


def troubles() -> list[Task]:
    """Each fault once, for a task that sends a new secret."""
    post = {"method": "POST", "path": "^/api/application"}
    login = {"method": "POST", "path": "token", "times": None}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("reset", post),
        ("reset_after", post),
        ("status_after", {**post, "status": 500}),
        ("status", {**post, "status": 504}),
        ("truncate_after", post),
        ("garbage_after", post),
        ("html", {**post, "status": 500}),
        ("empty_after", post),
        ("status", {**post, "status": 403}),
        ("status", {**post, "status": 401, "times": 2}),
        ("status", {**post, "status": 429}),
        ("status", {**login, "status": 500}),
        ("html", {**login, "status": 404}),
        ("garbage", login),
        ("reset", login),
        *(
            ("status", {**where, "status": 400, "body": {"error": f"{secret} is wrong", "Message": f"Sent: {secret}"}})
            for where, secrets in ((post, ECHO.values()), (login, [LOGS_IN, quote_plus(LOGS_IN)]))
            for secret in secrets
        ),
        (
            "status",
            {**post, "status": 302, "headers": {"Location": f"http://127.0.0.1/{quote(NEW)}?secret={quote(NEW)}"}},
        ),
        (
            "status",
            {
                **post,
                "status": 200,
                "body": {"id": "x", "displayName": NEW, "clientSecret": NEW, "_warning": f"Weak: {NEW}"},
            },
        ),
    ]
    # a token of its own for each, so that the token request can fail
    expire = ("POST", "expire", {"tenant": None})
    return [
        steered(
            task(
                f"{number} {kind}",
                APPLICATION,
                name=f"App {number}",
                login_agent="api-a",
                new_client_secret="{{ new }}",
                halo_timeout=5,
            ),
            CLEAR,
            expire,
            fault(kind, **spec),
        )
        for number, (kind, spec) in enumerate(kinds)
    ]


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_nothing_leaks_when_halo_fails(
    play: Play, sandbox: Sandbox, odd: dict[str, Any], folder: Path, in_process: bool
) -> None:
    done = run_with(play, sandbox, odd, folder, troubles(), in_process)
    assert len(done.steps) == len(troubles())
    assert all(fault["hits"] for fault in sandbox.faults())
    assert {step.outcome for step in done.steps} == {"ok", "failed"}
    for step in done.steps:
        assert "Unexpected" not in str(step.result.get("msg")), step.result
        assert step.outcome == "ok" or sandbox.tenants["acme"]["url"] in step.result["msg"], step.result
    assert leaks(done, [LOGS_IN, NEW, sandbox.tenants["acme"]["client_secret"]]) == []
    assert working_tokens(sandbox, done) == []


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_nothing_leaks_when_the_collection_itself_errs(
    play: Play, sandbox: Sandbox, odd: dict[str, Any], folder: Path, in_process: bool
) -> None:
    """An error that nobody thought of shows a place and not the values."""
    hidden = folder / "broken"
    hidden.mkdir()
    # runs in every Python that is started: a helper of the standard library fails with a secret in its message
    (hidden / "sitecustomize.py").write_text(
        "import uuid\n\ndef uuid4():\n    raise KeyError(" + repr(NEW) + ")\n\nuuid.uuid4 = uuid4\n"
    )
    done = play(
        [task("create", APPLICATION, name="App", login_agent="api-a", new_client_secret="{{ new }}")],
        in_process=in_process,
        options=odd,
        variables={"new": NEW},
        environment={"PYTHONPATH": str(hidden)},
        arguments=["-vvvv"],
    )
    assert done["create"].outcome == "failed"
    assert re.search(
        r"Unexpected KeyError in \w+\.py:\d+ of the collection haloops\.halo", done["create"].result["msg"]
    )
    assert leaks(done, [LOGS_IN, NEW]) == []
    assert done["create"].writes == []


def test_a_setting_of_the_sandbox_for_one_task_holds_for_the_next(play: Play, sandbox: Sandbox) -> None:
    """What all this relies on: settings and faults are in force when the task starts, and the log is its own."""
    done = play(
        [
            steered(task("one", LOGIN), setting(write_status=200)),
            steered(task("two", LOGIN), fault("status", path="me", status=403)),
        ]
    )
    assert done["one"].asked == ["POST /auth/token", "GET /api/Agent/me"]
    assert [entry["status"] for entry in done["two"].requests] == [200, 403]
