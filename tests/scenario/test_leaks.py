# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret and no token in any output or left-behind file, whatever happens, in both ways of execution."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import http, rotation
from ansible_collections.haloops.halo.plugins.plugin_utils import compat
from conftest import Play
from halo_sandbox.testing import Sandbox
from helpers.canaries import Texts, leaks, left, token_like
from helpers.playbook import Run, Steps, Task, connection, fault, setting, steered, task
from helpers.tasks import perform

AGENT, APPLICATION, INTEGRATOR, LOGIN = "halo_api_agent", "halo_application", "halo_integrator", "halo_login_info"
BINDING = "halo_binding"
LOGS_IN = "l0g in/with+this&=%\"'§"
NEW = "p@ss w/ord+&=%\"'"
WRONG = "wr0ng! <s3cret>?#\\{}"
OLD_TOKEN = "~t0ken.of/an+earlier=run&kept%here-----------"
CLEAR = ("DELETE", "faults", None)


def outputs(done: Run) -> Texts:
    """Everything that a run showed or left behind: name and text."""
    results = [step.items for step in done.steps if not step.name.startswith("keep")]
    return [
        ("stdout", done.stdout),
        ("stderr", done.stderr),
        ("what a callback saw", json.dumps(results, ensure_ascii=False)),
        *left(done.home),
    ]


def results(done: Steps) -> Texts:
    """The result of each task, apart from what Ansible itself hides of it."""
    # from core 2.22 the values of secret options are hidden in all output, not in the result
    hidden = {"client_secret"} | ({"invocation"} if compat.secrets else set())
    return [
        (
            step.name,
            json.dumps({key: value for key, value in step.result.items() if key not in hidden}, ensure_ascii=False),
        )
        for step in done.steps
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


def working_tokens(sandbox: Sandbox, searched: Texts) -> list[str]:
    """Every access token in the outputs that still works: whatever looks like one is tried."""
    return [word for word in token_like(searched) if opens(sandbox, word)]


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


SPEC = {"name": "App", "scopes": ["all"], "new_client_secret": "{{ new }}"}


def both_ways() -> list[Task]:
    """What writes, fails, or is refused somewhere else where the module is shipped."""
    create = task("create", APPLICATION, **SPEC, login_agent="api-a")
    return [
        {**create, "name": "create, check", "check_mode": True},
        create,
        task("switch", APPLICATION, **SPEC, login_agent="api-b"),
        task("made", APPLICATION, name="Made", login_agent="api-a", scopes=["all"]),
        {
            "name": "keep",
            "ansible.builtin.copy": {"content": "{{ done.client_secret }}", "dest": "{{ kept }}/made"},
            "no_log": True,
        },
        task("wrong login", LOGIN, halo_client_secret="{{ wrong }}"),
        task("by token", AGENT, name="api-c", halo_access_token="{{ token }}"),
        task("misspelt", APPLICATION, name="App", new_client_secrt="{{ new }}"),
        task("guarded", APPLICATION, name="Odd", regenerate_secret="always", new_client_secret="{{ new }}"),
    ]


def here_alone() -> list[Task]:
    return [
        task("again", APPLICATION, **SPEC, login_agent="api-b"),
        task("Integrator", INTEGRATOR, login_agent="api-a", new_client_secret="{{ new }}"),
        task("list", "halo_application_info", include_system=True),
        task("login", LOGIN),
        task("required login", LOGIN, halo_client_secret="{{ wrong }}", require=True),
        task("wrong token", LOGIN, halo_access_token="{{ old_token }}"),
        task("wrong type", APPLICATION, **SPEC, login_agent_id="eight"),
        task("empty name", APPLICATION, name="", new_client_secret="{{ new }}"),
        {
            **task("looped", APPLICATION, name="{{ item }}", login_agent="api-a", new_client_secret="{{ new }}"),
            "loop": ["One", "Two"],
        },
        {**task("with async", APPLICATION, **SPEC), "async": 30, "poll": 1},
    ]


def binding(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "agent": {"name": "api-e"}, "application": {"scopes": ["all"]}, **more}


def engine() -> list[Task]:
    """The engine and what reads its store; the application App has the secret ``new`` by then."""
    adopted = binding("App", agent={"name": "api-b"}, adopt="proven", adopt_secret="{{ new }}")
    wrong = {**adopted, "name": "One", "agent": {"name": "api-a"}, "adopt_secret": "{{ wrong }}"}
    current, previous = (f"lookup('haloops.halo.credential', 'Own', label='{label}')" for label in LABELS)
    stored = f"{{{{ [{current}.client_secret, {previous}.client_secret] | to_json }}}}"
    provision = task("provision", BINDING, bindings=[binding("Own"), adopted])
    return [
        {**provision, "name": "provision, check", "check_mode": True},
        provision,
        task("converged", BINDING, bindings=[binding("Own"), adopted]),
        task("rotate", BINDING, bindings=[binding("Own")], rotate=True),
        {"name": "show", "ansible.builtin.debug": {"var": "done"}},
        {
            "name": "keep stored",
            "ansible.builtin.copy": {"content": stored, "dest": "{{ kept }}/stored"},
            "no_log": True,
        },
        {
            "name": "no such binding",
            "ansible.builtin.debug": {"msg": "{{ lookup('haloops.halo.credential', 'Nobody') }}"},
            "ignore_errors": True,
        },
        task("acknowledge", BINDING, acknowledge={"name": "Own", "made_at": "never"}),
        task("adopt what is wrong", BINDING, bindings=[wrong]),
        task("misspelt in a binding", BINDING, bindings=[{**adopted, "adopt_secrt": "{{ wrong }}"}]),
        task("no text", BINDING, bindings=[{**adopted, "adopt_secret": ["{{ new }}"]}]),
        {**task("engine with async", BINDING, bindings=[adopted]), "async": 30, "poll": 1},
        task("decommission", BINDING, state="absent", bindings=[binding("Own")]),
    ]


LABELS = ("current", "previous")


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_nothing_leaks_when_all_goes_well_or_the_user_errs(
    play: Play, sandbox: Sandbox, odd: dict[str, Any], folder: Path, in_process: bool
) -> None:
    password = "v4ult p@ss/word"
    (folder / "password").write_text(password)
    (folder / "kept").mkdir()
    done = play(
        [*both_ways(), *(here_alone() + engine() if in_process else [])],
        in_process=in_process,
        options=odd,
        variables={
            "new": NEW,
            "wrong": WRONG,
            "old_token": OLD_TOKEN,
            "token": token(sandbox),
            "kept": str(folder / "kept"),
            # which tenant's credentials the lookup reads
            **{name: odd[name] for name in ("halo_url", "halo_tenant")},
        },
        arguments=["-vvvv", "--diff", "--vault-password-file", str(folder / "password")],
    )
    failed = {step.name for step in done.steps if step.outcome == "failed"}
    assert failed == {"misspelt", "guarded"} | (REFUSED if in_process else set()), {
        step.name: step.result.get("msg") for step in done.steps
    }
    secrets = [LOGS_IN, NEW, WRONG, OLD_TOKEN, password, sandbox.tenants["acme"]["client_secret"]]
    secrets.append((folder / "kept" / "made").read_text())
    assert len(secrets[-1]) == 73
    stores = list(folder.rglob("halo_credentials"))
    if in_process:
        stored = json.loads((folder / "kept" / "stored").read_text())
        assert [len(secret) for secret in stored] == [73, 73]
        secrets += stored
        assert done["rotate"].result["bindings"]["Own"]["reason"] == "requested"
        assert sandbox.check("acme", done["provision"].result["bindings"]["App"]["client_id"], NEW)["valid"]
    assert len(stores) == in_process
    searched = [*outputs(done), *(found for store in stores for found in left(store))]
    assert leaks(searched, secrets) == []
    assert working_tokens(sandbox, searched) == []


REFUSED = {
    "required login", "wrong type", "empty name", "with async", "no such binding", "adopt what is wrong",
    "misspelt in a binding", "no text", "engine with async",
}  # fmt: skip


def test_the_search_finds_what_is_there(sandbox: Sandbox, folder: Path) -> None:
    working = token(sandbox)
    (folder / "home" / "left").mkdir(parents=True)
    (folder / "home" / "left" / working).write_text("")
    (folder / "home" / "file").write_text(base64.b64encode(f"client:{NEW}".encode()).decode())
    searched = outputs(Run([], 0, f'{{"Authorization": "Bearer {working}"}}', quote_plus(LOGS_IN), folder / "home"))
    assert set(working_tokens(sandbox, searched)) == {working}
    found = leaks(searched, [LOGS_IN, NEW, working])
    assert {line.rpartition(" in ")[2] for line in found} == {"stdout", "stderr", "file", f"name left/{working}"}


ECHO = {
    "raw": NEW,
    "URL-encoded": quote(NEW, safe=""),
    "form-encoded": quote_plus(NEW),
    "base64": base64.b64encode(NEW.encode()).decode(),
}
Fault = tuple[str, dict[str, Any]]


def troubles(path: str) -> list[Fault]:
    """Each fault once, for a task that sends a new secret to ``path``."""
    post = {"method": "POST", "path": path}
    login = {"method": "POST", "path": "token", "times": None}
    return [
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


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that are short."""
    waits = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 50), monotonic=time.monotonic)
    monkeypatch.setattr(http, "time", waits)


def in_trouble(
    sandbox: Sandbox, folder: Path, odd: dict[str, Any], faults: list[Fault], what: Callable[[int], Task], **how: Any
) -> Steps:
    """A task for each fault; nothing of what it says holds a secret."""
    tasks = [steered(what(number), CLEAR, fault(kind, **spec)) for number, (kind, spec) in enumerate(faults)]
    done = Steps([])
    for one in tasks:
        done.steps.extend(perform(sandbox, folder, [one], options=odd, **how).steps)
        assert all(found["hits"] for found in sandbox.faults()), sandbox.faults()
    assert {step.outcome for step in done.steps} == {"ok", "failed"}
    for step in done.steps:
        assert "Unexpected" not in str(step.result.get("msg")), step.result
        assert step.outcome == "ok" or sandbox.tenants["acme"]["url"] in step.result["msg"], step.result
    assert leaks(results(done), [LOGS_IN, NEW, sandbox.tenants["acme"]["client_secret"]]) == []
    assert working_tokens(sandbox, results(done)) == []
    return done


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("as_module", [False, True], ids=["here", "module"])
def test_nothing_leaks_when_halo_fails(sandbox: Sandbox, odd: dict[str, Any], folder: Path, as_module: bool) -> None:
    def create(number: int) -> Task:
        return task(str(number), APPLICATION, name=f"App {number}", login_agent="api-a", new_client_secret=NEW)

    in_trouble(sandbox, folder, odd, troubles("^/api/application"), create, as_module=as_module)


@pytest.mark.usefixtures("hasty")
def test_nothing_leaks_when_halo_fails_the_engine(
    sandbox: Sandbox, odd: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "new_secret", lambda: NEW)

    def provision(number: int) -> Task:
        return task(str(number), BINDING, bindings=[binding(f"App {number}")], store="file")

    done = in_trouble(sandbox, folder, odd, troubles("^/api/application"), provision)
    # a secret that is in force in spite of all is in the store
    stored = "".join(text for _name, text in left(folder / "halo_credentials"))
    assert json.dumps(NEW)[1:-1] in stored or NEW in stored
    assert sum(step.outcome == "ok" for step in done.steps) >= 5


def test_a_secret_that_is_to_be_adopted_does_not_leak_where_halo_repeats_it(
    sandbox: Sandbox, odd: dict[str, Any], folder: Path
) -> None:
    agent = next(row for row in sandbox.state("acme")["agents"] if row["name"] == "api-a")
    row = {"displayName": "There", "loginas_agent_id": agent["id"], "allowagents": True, "scopes": [{"name": "all"}]}
    sandbox.put_applications("acme", {**row, "clientSecret": "another"})
    bindings = [binding("There", agent={"name": "api-a"}, adopt="proven", adopt_secret=NEW)]
    # the run's own login goes well, the next one does not
    login = {"method": "POST", "path": "token", "skip": 1, "times": None, "status": 400}
    for number, secret in enumerate(ECHO.values()):
        echo = fault("status", **login, body={"error": "invalid_client", "error_description": f"{secret} is wrong"})
        adopt = steered(task(str(number), BINDING, bindings=bindings, store="file"), CLEAR, echo)
        done = perform(sandbox, folder, [adopt], options=odd)
        assert [found["hits"] for found in sandbox.faults()] != [0]
        assert done.steps[0].outcome == "failed"
        assert "is wrong" in done.steps[0].result["msg"], done.steps[0].result
        assert leaks([*results(done), *left(folder)], [NEW]) == []


@pytest.mark.parametrize("as_module", [False, True], ids=["here", "module"])
def test_nothing_leaks_when_the_collection_itself_errs(
    sandbox: Sandbox, odd: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, as_module: bool
) -> None:
    """An error that nobody thought of shows a place and not the values."""

    def broken() -> None:
        raise KeyError(NEW)

    monkeypatch.setattr(uuid, "uuid4", broken)
    tasks = [task("create", APPLICATION, name="App", login_agent="api-a", new_client_secret=NEW)]
    if not as_module:
        tasks.append(task("engine", BINDING, bindings=[binding("Own")], store="file"))
    done = perform(sandbox, folder, tasks, options=odd, as_module=as_module)
    for step in done.steps:
        assert step.outcome == "failed"
        assert re.search(r"Unexpected KeyError in \w+\.py:\d+ of the collection haloops\.halo", step.result["msg"])
        assert "POST /api/Application" not in step.writes
    assert leaks(results(done), [LOGS_IN, NEW]) == []


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
