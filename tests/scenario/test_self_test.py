# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The self test: each question sees the difference, nothing is left behind, and nothing foreign is touched."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.utils.display import Display
from ansible_collections.haloops.halo.plugins.module_utils import self_test
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.questions import QUESTIONS, Finding, Question
from halo_sandbox.testing import Sandbox
from helpers import in_process
from helpers.playbook import connection, task
from helpers.tasks import perform
from role_runner import Fleet, Play

MODULE = "halo_self_test"
OWN = "haloops-self-test-0123456789ab-"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(Client, "pause", staticmethod(found.append))
    return found


def ask(sandbox: Sandbox, folder: Path, *questions: str, check_mode: bool = False, **args: Any) -> dict[str, Any]:
    given = {**connection(sandbox.tenants["acme"]), "confirm": "acme", "reports": True, **args}
    if questions:
        given["questions"] = list(questions)
    return in_process.task(MODULE, given, {}, folder, check_mode=check_mode)


def answers(result: dict[str, Any]) -> dict[str, str]:
    assert not result.get("failed"), result
    return {row["question"]: row["answer"] for row in result["rows"]}


def held(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.state("acme")


# The answers


def test_the_sandbox_is_as_assumed_and_is_left_as_it_was(sandbox: Sandbox, folder: Path) -> None:
    before = held(sandbox)
    result = ask(sandbox, folder)
    assert answers(result) == {question.key: "as assumed" for question in QUESTIONS}
    assert result["summary"] == {"as_assumed": len(QUESTIONS), "otherwise": 0, "not_asked": 0}
    assert (result["changed"], result["removed"], result["left"]) == (True, [], [])
    assert "warnings" not in result
    assert result["halo_version"] == "2.218.4"
    assert held(sandbox) == before
    # within the rate limit of a hosted instance
    assert sandbox.counts("acme")["total"] < 250


def test_check_mode_only_reads(sandbox: Sandbox, folder: Path) -> None:
    sandbox.settings(read_only=True)
    result = ask(sandbox, folder, check_mode=True)
    reading = {question.key for question in QUESTIONS if not question.writes}
    assert {key for key, answer in answers(result).items() if answer == "as assumed"} == reading
    assert {answer for answer in answers(result).values() if answer != "as assumed"} == {
        "not asked: it takes a write, and this is check mode"
    }
    assert len(reading) > 15
    assert result["changed"] is False
    assert sandbox.writes("acme") == []


def settings(**values: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("settings", values)]


def fault(kind: str, path: str, **spec: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("fault", {"kind": kind, "path": path, "times": None, **spec})]


def edited(path: str, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    return fault("edit_after", path, method="GET", body=body)


def reported(**row: Any) -> list[tuple[str, dict[str, Any]]]:
    return fault("status", "^/api/report", status=200, body={"id": 0, "report": {"rows": [row]}})


ONE_AGENT, ONE_APPLICATION = r"^/api/agent/\d+$", "^/api/application/.+"
NO = {"Message": "No."}
REFUSED = {"error": "unauthorized_client"}

# For each question, what is changed of the sandbox, and what is answered then. The token requests of a run begin with
# its own login, which counts where a fault skips some.
FLIPS: dict[str, list[tuple[list[tuple[str, dict[str, Any]]], str]]] = {
    "authinfo": [(edited("authinfo", auth_url=""), "200, filled: tenant_id")],
    "instance_info": [(fault("status", "instanceinfo", status=200, body={"id": 1}), "200, an object")],
    "scope_unknown": [(settings(unknown_scope="drop"), "200, a token")],
    "grant_unknown": [(fault("status", "/token", status=401, body=REFUSED, skip=1), "401, error unauthorized_client")],
    "list_agents": [(settings(list_shape="wrapped"), "200, an object with agents, record_count")],
    "list_applications": [(settings(list_shape="results"), "200, an object with record_count, results")],
    "list_roles": [(settings(list_shape="wrapped"), "200, an object with record_count, roles")],
    "list_teams": [(settings(list_shape="wrapped"), "200, an object with record_count, teams")],
    "list_workdays": [(settings(list_shape="wrapped"), "200, an object with record_count, workdays")],
    "list_top_levels": [(fault("edit_after", "toplevel", edit="list"), "200, an array")],
    "departments": [(edited("toplevel", id=99), "none is")],
    "page": [(fault("edit_after", "agent", edit="list", skip=1), "200, an array, one row")],
    "agent_rows": [
        (edited("^/api/agent$", isdisabled=None), "filled: name, email, isapiagent, teams; roles: not"),
        (
            edited("^/api/agent$", roles=[]),
            "filled: name, email, isapiagent, isdisabled, teams; roles: filled",
        ),
    ],
    "application_rows": [
        (
            edited("^/api/application$", loginas_agent_id=None),
            "filled: clientId, displayName, inactive, system_use, _issystem; scopes: not",
        )
    ],
    "grant_type": [(edited(ONE_APPLICATION, grant_type="2"), "grant_type 2, loginentity 0, credential_type 0")],
    "api_agents_hidden": [(settings(hidden_agents=False), "listed without includeapiagents")],
    "disabled_agents_hidden": [(settings(hidden_agents=False), "listed without includedisabled")],
    "id_unknown": [(fault("empty", ONE_AGENT), "200, no body")],
    "control": [
        (
            edited("control", client_secret_halointegrator="x" * 73),
            "200, there: client_id_halointegrator, loginas_halointegrator, hashostedintegrator; secret: 73 characters",
        )
    ],
    "agent_minimum": [(settings(agent_needs_email=True), "400, a text")],
    "agent_answer": [
        (settings(answer_shape="array"), "201, an array"),
        (settings(write_status=200), "200, an object"),
    ],
    "agent_name_twice": [(settings(unique_names=True), "400, a text")],
    "agent_email_twice": [(settings(unique_emails=True), "400, a text")],
    "role_by_id": [
        (
            fault("status", "^/api/agent$", method="POST", status=400, body=NO, skip=1),
            "400, an object with Message",
        ),
        (edited(ONE_AGENT, roles=[]), "201, and the agent does not have it"),
    ],
    "roles_replace": [
        (settings(inner_lists="merge"), "they are added"),
        (edited(ONE_AGENT, roles=[]), "the agent has other ones"),
    ],
    "teams_replace": [
        (settings(inner_lists="merge"), "they are added"),
        (edited(ONE_AGENT, teams=[]), "the agent is in other ones"),
    ],
    "membership_switches": [(settings(member_switches="on"), "on: in_section, unassigned_access, otheragent_access")],
    "becomes_api_only": [(edited(ONE_AGENT, isapiagent=None), "201, and it is none")],
    "agent_deleted": [(settings(agent_delete="soft"), "200, disabled, in the list")],
    "agent_in_use": [(settings(agent_in_use="refuse"), "400, a text")],
    "application_answer": [
        (settings(answer_shape="array"), "201, an array"),
        (settings(write_status=200), "200, an object"),
    ],
    "application_name_twice": [(settings(unique_names=True), "no throw-away application could be made: 400, a text")],
    "login_fields": [(edited(ONE_APPLICATION, allowagents=False), "not kept: allowagents")],
    "client_id_kept": [(settings(client_id_policy="replace"), "Halo makes its own")],
    "secret_sent": [
        (
            settings(secret_policy="replace", secret_form="base64url"),
            "401, error invalid_client; the answer holds another one",
        )
    ],
    "secret_read": [
        (settings(secret_mask="********"), "a mask"),
        (
            edited(ONE_APPLICATION, clientSecret="AQAAAAEAACcQ" + "x" * 72),
            "84 characters, a hash",
        ),
    ],
    "secret_kept": [(settings(bare_update="kill"), "401, error invalid_client")],
    "agent_change": [(settings(agent_change="keep"), "it still logs in: 200, a token")],
    "agent_change_with_secret": [(settings(secret_policy="replace"), "401, error invalid_client")],
    "old_secret": [(settings(old_secret="alive"), "it still logs in: 200, a token")],
    "scopes_replace": [
        (settings(inner_lists="merge"), "they are added"),
        (edited(ONE_APPLICATION, scopes=[]), "the application has other ones"),
    ],
    "token_new_secret": [(settings(tokens="end"), "no: 401, no body")],
    "token_inactive": [(settings(tokens="end"), "no: 401, no body")],
    "login_inactive": [(fault("status", "/token", status=400, body=REFUSED, skip=2), "400, error unauthorized_client")],
    "login_disabled_agent": [
        (fault("status", "/token", status=400, body=REFUSED, skip=2), "400, error unauthorized_client")
    ],
    "scope_not_granted": [(settings(unknown_scope="drop"), "200, a token")],
    "standard_scope": [(settings(administration="any"), "200, an array")],
    "application_deleted": [(fault("empty", ONE_APPLICATION, method="DELETE", times=1), "DELETE 200, GET 200")],
    "field_unknown": [
        (fault("status", "^/api/application$", method="POST", status=400, body="No.", skip=1), "400, no JSON")
    ],
    "wrong_type": [
        (fault("status", "^/api/agent$", method="POST", status=500, body=NO), "500, an object with Message"),
    ],
    "refusal": [(settings(refusal_shape="object"), "400, an object with Message")],
    "object_readable": [(settings(read_lag=2), "at look 3"), (settings(read_lag=9), "not within seconds")],
    "list_shows": [(settings(list_lag=2), "at look 3"), (settings(list_lag=9), "not within seconds")],
    "secret_stored": [
        (
            reported(SecretStart="s3cr3t", SecretLength=73),
            "otherwise than as such a hash, of 73 characters",
        )
    ],
    "grant_types_stored": [(reported(GrantType="7", CredentialType=1), "GrantType 7; CredentialType 1")],
}


def test_every_question_has_an_instance_that_answers_otherwise() -> None:
    assert list(FLIPS) == [question.key for question in QUESTIONS]


@pytest.mark.parametrize(
    ("key", "changes", "observed"),
    [
        pytest.param(key, changes, observed, id=f"{key}-{number}" if number else key)
        for key, flips in FLIPS.items()
        for number, (changes, observed) in enumerate(flips)
    ],
)
def test_a_difference_is_seen_and_nothing_is_left(
    sandbox: Sandbox, folder: Path, key: str, changes: list[tuple[str, dict[str, Any]]], observed: str
) -> None:
    before = held(sandbox)
    for kind, spec in changes:
        if kind == "settings":
            sandbox.settings("acme", **spec)
        else:
            sandbox.fault(**spec, tenant="acme")
    result = ask(sandbox, folder, key)
    (answer,) = answers(result).values()
    assert re.fullmatch(f"otherwise: {re.escape(observed)}(, no mask and no known hash)?", answer), answer
    sandbox.clear()
    if key == "agent_deleted":
        assert "it is still disabled" in result["left"][0]
        assert len([one for one in held(sandbox)["agents"] if one["name"].startswith("haloops-self-test-")]) == 1
    else:
        sandbox.settings("acme", **dict.fromkeys(("list_lag", "read_lag"), 0), secret_mask=None)
        assert ids(held(sandbox)) == ids(before)
        assert result["left"] == []


def ids(state: dict[str, Any]) -> dict[str, list[Any]]:
    return {kind: [row["id"] for row in state[kind]] for kind in ("agents", "applications")}


def test_a_fault_of_the_instance_ends_one_question_alone(sandbox: Sandbox, folder: Path) -> None:
    before = held(sandbox)
    sandbox.fault("reset", tenant="acme", method="POST", path="^/api/application$", skip=3, times=2)
    sandbox.fault("status_after", tenant="acme", method="POST", path="^/api/agent$", skip=3, status=500)
    found = answers(ask(sandbox, folder))
    lost = {key: answer for key, answer in found.items() if answer != "as assumed"}
    assert 2 <= len(lost) <= 3, lost
    assert all(answer.startswith(("not asked: ", "otherwise: 500")) for answer in lost.values()), lost
    assert held(sandbox) == before


def test_a_secret_that_never_logs_in_proves_nothing(sandbox: Sandbox, folder: Path) -> None:
    """Least of all that it died of what was done to it."""
    # every login but that of the run itself
    sandbox.fault("status", path="/token", status=401, body={"error": "invalid_client"}, skip=1, times=None)
    keys = [
        *("agent_change", "old_secret", "secret_kept", "agent_change_with_secret", "login_inactive"),
        *("login_disabled_agent", "token_new_secret", "token_inactive", "standard_scope", "scope_not_granted"),
    ]
    found = answers(ask(sandbox, folder, *keys))
    assert set(found) == set(keys)
    assert [answer for answer in found.values() if not answer.startswith("not asked: ")] == []
    expected = "not asked: its first secret does not log in: 401, error invalid_client"
    assert found["agent_change"] == found["old_secret"] == expected


def test_an_agent_that_nothing_logs_in_as_does_not_prove_that_the_secret_died(sandbox: Sandbox, folder: Path) -> None:
    # the run's own login and the one before the change succeed
    sandbox.fault("status", path="/token", status=401, body={"error": "invalid_client"}, skip=2, times=None)
    expected = "not asked: a new secret does not log in either: 401, error invalid_client"
    assert answers(ask(sandbox, folder, "agent_change")) == {"agent_change": expected}
    sandbox.clear()
    sandbox.fault("status", path="/token", status=401, body={"error": "invalid_client"}, skip=2, times=None)
    assert answers(ask(sandbox, folder, "old_secret")) == {"old_secret": expected}
    sandbox.clear()
    sandbox.settings("acme", secret_policy="replace", secret_form="base64url")
    found = answers(ask(sandbox, folder, "agent_change", "old_secret"))
    assert found == {"agent_change": "as assumed", "old_secret": "as assumed"}


def test_an_answer_that_nobody_thought_of_ends_one_question_alone(sandbox: Sandbox, folder: Path) -> None:
    before = held(sandbox)
    sandbox.fault("edit_after", path=ONE_AGENT, method="GET", body={"roles": "none"}, times=None)
    found = answers(ask(sandbox, folder, "role_by_id", "agent_change"))
    assert found == {
        "role_by_id": "not asked: an answer has a form that was not expected (AttributeError)",
        "agent_change": "as assumed",
    }
    assert held(sandbox) == before


def test_ids_that_are_texts_are_sent_as_numbers(sandbox: Sandbox, folder: Path) -> None:
    sandbox.fault("edit_after", path="^/api/(agent|team)", edit="texts", times=None)
    keys = ["agent_change", "teams_replace", "agent_deleted", "login_fields", "list_shows"]
    assert answers(ask(sandbox, folder, *keys)) == dict.fromkeys(keys, "as assumed")


def test_a_login_that_may_do_less_is_asked_less(sandbox: Sandbox, folder: Path) -> None:
    sandbox.put_applications(
        "acme",
        {
            "displayName": "Weak",
            "clientId": "weak",
            "clientSecret": "s3cret",
            "loginas_agent_id": 4,
            "scopes": [{"name": "read:tickets"}],
        },
    )
    weak = {"halo_client_id": "weak", "halo_client_secret": "s3cret", "halo_scope": "read:tickets"}
    result = ask(sandbox, folder, **weak)
    found = answers(result)
    assert found["list_applications"] == "not asked: this login is refused with 403"
    assert found["grant_type"] == "not asked: GET /Application gives no list (403)"
    assert found["agent_change"] == (
        "not asked: what it makes could not be found again: GET /Application answered 403."
    )
    assert found["list_teams"] == "as assumed"
    assert result["changed"] is False
    assert sandbox.writes("acme") == []


def test_a_token_that_is_refused_is_a_failure(sandbox: Sandbox, folder: Path) -> None:
    result = ask(sandbox, folder, halo_access_token="not-in-force")
    assert result["failed"]
    assert "GET /Application answered 401. The token was refused" in result["msg"]


def test_reports_are_asked_for_in_so_many_words(sandbox: Sandbox, folder: Path) -> None:
    keys = [question.key for question in QUESTIONS if question.reports]
    assert set(answers(ask(sandbox, folder, *keys, reports=False)).values()) == {"not asked: reports is false"}
    assert not [entry for entry in sandbox.requests("acme") if "report" in entry["path"].lower()]
    claims = [{"type": "Can_Use_Reports", "value": "0"}, {"type": "Administration", "value": "false"}]
    sandbox.fault("edit_after", path="/api/agent/me", body={"claims": claims}, times=None)
    assert set(answers(ask(sandbox, folder, *keys)).values()) == {"not asked: the login agent may not run reports"}


# Consent


@pytest.mark.parametrize("confirm", ["", "globex", "acm", "true", "yes", "127.0.0.1"])
def test_without_consent_to_this_instance_nothing_is_asked(sandbox: Sandbox, folder: Path, confirm: str) -> None:
    for check_mode in (True, False):
        for cleanup in (True, False):
            result = ask(sandbox, folder, confirm=confirm, cleanup=cleanup, check_mode=check_mode)
            assert result["failed"]
            assert "was not confirmed for this instance" in result["msg"]
    assert sandbox.requests("acme") == []


def test_consent_names_the_address_or_the_tenant(sandbox: Sandbox, folder: Path) -> None:
    url = sandbox.tenants["acme"]["url"]
    for confirm in (url, url + "/", url.removeprefix("http://"), " ACME "):
        assert answers(ask(sandbox, folder, "authinfo", confirm=confirm)) == {"authinfo": "as assumed"}


# What a killed run leaves


def kill_at(sandbox: Sandbox, folder: Path, number: int) -> None:
    """Run it in a process of its own that is killed while a write of it is under way."""
    sandbox.fault("delay_after", tenant="acme", method="POST", path="^/api/", skip=number, seconds=30)
    child = os.fork()
    if not child:
        try:
            with mock.patch.object(Display, "display"):
                ask(sandbox, folder)
        finally:
            os._exit(0)
    try:
        deadline = time.monotonic() + 20
        while not sandbox.faults()[0]["hits"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    sandbox.clear()


@pytest.mark.parametrize(("number", "how"), [(0, "cleanup"), (14, "another run"), (40, "cleanup")])
def test_what_a_killed_run_left_is_removed(sandbox: Sandbox, folder: Path, number: int, how: str) -> None:
    before = held(sandbox)
    kill_at(sandbox, folder, number)
    left = {row["name"] for row in held(sandbox)["agents"]} - {row["name"] for row in before["agents"]}
    left |= {row["displayName"] for row in held(sandbox)["applications"]}
    left -= {row["displayName"] for row in before["applications"]}
    assert left
    assert all(name.startswith("haloops-self-test-") for name in left)
    result = ask(sandbox, folder, "authinfo", check_mode=True)
    assert {text.partition(":")[0] for text in result["left"]} == left
    result = ask(sandbox, folder, cleanup=True) if how == "cleanup" else ask(sandbox, folder, "list_shows")
    assert result["changed"] is True
    assert set(result["removed"]) == left
    assert (result["rows"] == []) is (how == "cleanup")
    assert held(sandbox) == before
    result = ask(sandbox, folder, cleanup=True)
    assert (result["changed"], result["removed"]) == (False, [])


def test_what_is_not_its_own_stays(sandbox: Sandbox, folder: Path) -> None:
    names = [
        "haloops-self-test-notes",
        "Haloops-self-test-0123456789ab-login",
        "x " + OWN + "login",
        OWN + "login 2",
        OWN,
        OWN + "login-",
        "haloops-self-test-0123456789a-login",
    ]
    sandbox.put_agents("acme", *({"name": name, "isapiagent": True} for name in names))
    (used,) = sandbox.put_agents("acme", {"name": OWN + "used", "isapiagent": True})
    system = {"displayName": OWN + "system", "system_use": "something", "clientId": "system"}
    own = next(row for row in held(sandbox)["applications"] if row["displayName"] == "Automation")
    sandbox.put_applications(
        "acme",
        *({"displayName": name, "clientId": name} for name in names),
        {"displayName": "Somebody's", "clientId": "somebody", "loginas_agent_id": used["id"]},
        system,
        {"id": own["id"], "displayName": OWN + "own"},
    )
    before = held(sandbox)
    result = ask(sandbox, folder, cleanup=True)
    assert held(sandbox) == before
    assert sandbox.writes("acme") == []
    assert (result["changed"], result["removed"]) == (False, [])
    assert sorted(result["left"]) == sorted(
        [
            f"{OWN}own: it is what this run logs in with, or an application of Halo's own",
            f"{OWN}system: it is what this run logs in with, or an application of Halo's own",
            f"{OWN}used: it is the login agent of application 'Somebody's'",
        ]
    )
    assert "could not remove" in result["warnings"][0]


def test_what_a_late_list_still_shows_is_not_removed_again(sandbox: Sandbox, folder: Path) -> None:
    sandbox.put_agents("acme", {"name": OWN + "login", "isapiagent": True})
    sandbox.settings("acme", list_lag=9)
    assert ask(sandbox, folder, cleanup=True)["removed"] == [OWN + "login"]
    result = ask(sandbox, folder, cleanup=True)
    assert (result["changed"], result["removed"], result["left"]) == (False, [], [])


def test_an_id_that_has_another_object_by_now_is_left_alone(sandbox: Sandbox, folder: Path) -> None:
    (agent,) = sandbox.put_agents("acme", {"name": "somebody", "isapiagent": True})
    # a list that is behind
    sandbox.fault("edit_after", method="GET", path="^/api/agent$", body={"name": OWN + "login"}, times=None)
    result = ask(sandbox, folder, cleanup=True)
    assert sandbox.writes("acme") == []
    assert any(f"{OWN}login: another object has its id" in text for text in result["left"])
    assert agent["id"] in [row["id"] for row in held(sandbox)["agents"]]


def test_an_answer_that_shows_another_object_is_not_believed(sandbox: Sandbox, folder: Path) -> None:
    before = held(sandbox)
    sandbox.fault("edit_after", method="POST", path="^/api/agent$", body={"id": 4, "name": "Bianca Rossi"}, times=None)
    found = answers(ask(sandbox, folder, "agent_deleted", "agent_change"))
    assert all("does not show the throw-away agent" in answer for answer in found.values())
    assert held(sandbox) == before


def test_it_cleans_up_after_whatever_ends_it(sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = held(sandbox)

    def fail(lab: Any) -> Finding:
        lab.application("before")
        raise KeyboardInterrupt

    monkeypatch.setattr(self_test, "QUESTIONS", [Question("authinfo", "?", "", fail, writes=True)])
    with pytest.raises(KeyboardInterrupt):
        ask(sandbox, folder, "authinfo")
    assert held(sandbox) == before


@pytest.mark.parametrize("lag", [{"list_lag": 2}, {"read_lag": 2, "list_lag": 1}], ids=str)
def test_an_instance_that_is_late_is_left_as_it_was(
    sandbox: Sandbox, folder: Path, waits: list[float], lag: dict[str, int]
) -> None:
    before = held(sandbox)
    sandbox.settings("acme", **lag)
    result = ask(sandbox, folder)
    sandbox.settings("acme", list_lag=0, read_lag=0)
    assert held(sandbox) == before
    assert result["left"] == []
    # it does not wait for each thing of its own that a list shows too long
    assert sum(waits) < (5 if "read_lag" not in lag else 240), sum(waits)


# What it says


def test_secrets_tokens_and_foreign_values_are_nowhere(
    sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret: list[str] = []
    kept = Client.__init__

    def keep(client: Any, *args: Any) -> None:
        kept(client, *args)
        client.secrets = secret

    monkeypatch.setattr(Client, "__init__", keep)
    result = ask(sandbox, folder, path=str(folder / "table.md"))
    assert len(set(secret)) > 20
    text = json.dumps(result) + (folder / "table.md").read_text()
    assert not [one for one in secret if one in text]
    state = held(sandbox)
    foreign = [row["name"] for row in state["agents"]] + [row["displayName"] for row in state["applications"]]
    foreign += [str(row["email"]) for row in state["agents"] if row["email"]]
    foreign += [row["clientId"] for row in state["applications"]] + [row["id"] for row in state["roles"]]
    own = {**result, "invocation": None}
    assert not [name for name in foreign if name in json.dumps(own)]


def test_the_table_is_printed_and_written(sandbox: Sandbox, folder: Path) -> None:
    with mock.patch.object(Display, "display") as display:
        result = ask(sandbox, folder, "authinfo", "agent_change", path=str(folder / "table.md"))
    (printed,) = (call.args[0] for call in display.call_args_list)
    assert printed == (folder / "table.md").read_text()
    assert printed.startswith("Halo 2.218.4: 2 as assumed, 0 otherwise, 0 not asked\n\n| question | assumed |")
    assert sandbox.tenants["acme"]["url"] not in printed
    assert len(printed.splitlines()) == 6
    assert result["table"] in printed
    result = ask(sandbox, folder, "authinfo", path=str(folder / "no" / "table.md"))
    assert (result["failed"], result["msg"]) == (
        True,
        f"{folder}/no/table.md could not be written: No such file or directory.",
    )
    assert result["rows"]


@pytest.mark.parametrize("as_module", [True, False])
def test_it_runs_as_a_module_as_well(sandbox: Sandbox, folder: Path, as_module: bool) -> None:
    before = held(sandbox)
    one = task("ask", MODULE, confirm="acme", questions=["authinfo", "agent_change"])
    (step,) = perform(sandbox, folder, [one], as_module=as_module).steps
    assert answers(step.result) == {"authinfo": "as assumed", "agent_change": "as assumed"}
    assert held(sandbox) == before


def test_the_playbook_asks_the_tenant_that_is_named_and_no_other(running: Sandbox, folder: Path) -> None:
    running.reset()
    fleet = Fleet(running, folder)
    named, other = fleet.tenant(), fleet.tenant()
    before = [running.state(tenant.name) for tenant in (named, other)]
    running.clear()
    # as a survey answers
    answered = {
        "halo_self_test_confirm": running.tenants[named.name]["url"],
        "halo_self_test_cleanup": "false",
        "halo_self_test_reports": "true",
    }
    keys = ["authinfo", "agent_change", "grant_types_stored"]
    written = {"halo_self_test_path": str(folder / "table.md"), "halo_self_test_questions": keys}
    done = fleet.play([named, other], Play("self_test", ("-e", json.dumps({**answered, **written}))))
    assert [done[tenant].failed for tenant in (named, other)] == [False, True], done.stdout
    assert "was not confirmed for this instance" in done[other].message
    assert running.requests(other.name) == []
    assert (folder / "table.md").read_text() in done.stdout.replace("\r", "")
    (found,) = done.custom["halo_self_test"].values()
    assert found["summary"] == {"as_assumed": 3, "otherwise": 0, "not_asked": 0}
    assert [row["question"] for row in found["rows"]] == keys
    assert [running.state(tenant.name) for tenant in (named, other)] == before
