# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox keeps the rules of Halo that the collection's other tests rely on."""

from __future__ import annotations

import base64
import re
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
import requests
from halo_sandbox.testing import ControlError, Sandbox

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOBODY = str(uuid.UUID(int=0))


class Client:
    """A tenant's API with its seeded credentials, as plainly as possible: no retries, no checks."""

    def __init__(self, sandbox: Sandbox, name: str = "acme", scope: str | None = "all") -> None:
        self.sandbox = sandbox
        self.tenant = sandbox.tenants[name]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = sandbox.ca_path or True
        if scope:
            self.use(self.token(scope=scope).json()["access_token"])

    def use(self, token: str) -> Client:
        self.session.headers["Authorization"] = f"Bearer {token}"
        return self

    def raw(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.tenant["url"] + path, timeout=10, **more)

    def token(self, path: str = "/auth/token", **form: Any) -> requests.Response:
        """A token request; a form value None leaves that parameter out."""
        whole = {
            "grant_type": "client_credentials",
            "client_id": self.tenant["client_id"],
            "client_secret": self.tenant["client_secret"],
            "scope": "all",
            **form,
        }
        return self.raw("POST", path, data={name: value for name, value in whole.items() if value is not None})

    def get(self, path: str, **query: str) -> Any:
        response = self.raw("GET", f"/api/{path}", params=query)
        assert response.status_code == 200, (response.status_code, response.text)
        return response.json()

    def post(self, path: str, *rows: Any) -> requests.Response:
        return self.raw("POST", f"/api/{path}", json=list(rows))

    def save(self, path: str, **row: Any) -> Any:
        response = self.post(path, row)
        assert response.status_code == 201, (response.status_code, response.text)
        return response.json()

    def delete(self, path: str) -> requests.Response:
        return self.raw("DELETE", f"/api/{path}")

    def application(self, secret: str | None = "s3cret", **more: Any) -> dict[str, Any]:
        row = {"displayName": "App", "loginas_agent_id": 7, "scopes": [{"name": "all"}], **more}
        if secret is not None:
            row["clientSecret"] = secret
        saved: dict[str, Any] = self.save("Application", **row)
        return saved

    def accepted(self, application: dict[str, Any], secret: str) -> bool:
        """Whether token endpoint and control side take the secret; they must agree."""
        client_id = application["clientId"]
        status = self.token(client_id=client_id, client_secret=secret).status_code
        checked = self.sandbox.check(self.tenant["name"], client_id, secret)
        assert status in (200, 401)
        assert checked["valid"] == (status == 200)
        assert checked["agent_id"] == (application["loginas_agent_id"] if checked["valid"] else None)
        return status == 200


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


@pytest.fixture
def halo(sandbox: Sandbox) -> Client:
    return Client(sandbox)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


# Addresses


def test_tenants_have_names_urls_and_credentials(sandbox: Sandbox) -> None:
    assert list(sandbox.tenants) == ["acme", "globex", "initech"]
    for name, tenant in sandbox.tenants.items():
        assert tenant["url"] == f"{sandbox.url}/{name}"
        assert GUID.fullmatch(tenant["client_id"])
        assert re.fullmatch(rf"{GUID.pattern}-{GUID.pattern}", tenant["client_secret"])
    assert len({tenant["client_secret"] for tenant in sandbox.tenants.values()}) == 3


@pytest.mark.parametrize("path", ["/api/AuthInfo", "/API/authinfo/", "/Api/AUTHINFO"])
def test_authinfo_needs_no_token(halo: Client, path: str) -> None:
    halo.session.headers.pop("Authorization")
    answer = halo.raw("GET", path)
    assert answer.json() == {"auth_url": halo.tenant["url"] + "/auth", "tenant_id": "acme"}
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/api/agent/7", "/API/Agent/7/", "/Api/AGENT/7"])
def test_paths_in_any_letter_case_with_or_without_slash(halo: Client, path: str) -> None:
    assert halo.raw("GET", path).json()["name"] == "api-automation"
    assert halo.token(path="/AUTH/Token/").status_code == 200
    url = halo.tenant["url"].replace("/acme", "/ACME")
    assert halo.session.get(url + path, timeout=10).json()["name"] == "api-automation"


def is_page(answer: requests.Response, status: int) -> bool:
    html = answer.headers["Content-Type"].startswith("text/html") and answer.text.startswith("<!DOCTYPE html>")
    return answer.status_code == status and html


def test_unknown_tenant_is_an_html_500(sandbox: Sandbox, halo: Client) -> None:
    assert is_page(halo.session.get(f"{sandbox.url}/hooli/api/AuthInfo", timeout=10), 500)
    assert is_page(halo.session.post(f"{sandbox.url}/hooli/auth/token", timeout=10), 500)


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/Nothing", "/api/Department", "/api/Agent/3/roles", "/token"])
def test_unknown_path_is_an_html_404(halo: Client, path: str) -> None:
    assert is_page(halo.raw("GET", path), 404)


@pytest.mark.parametrize("path", ["Agent", "Agent/3", "Control"])
def test_other_methods_are_not_allowed(halo: Client, path: str) -> None:
    assert halo.raw("PUT", f"/api/{path}", json=[{}]).status_code == 405
    assert halo.raw("PATCH", f"/api/{path}", json=[{}]).status_code == 405


@pytest.mark.parametrize(("tenant", "status"), [("", 200), ("acme", 200), ("ACME", 200), ("globex", 500)])
def test_tenant_parameter(halo: Client, tenant: str, status: int) -> None:
    assert halo.token(path=f"/auth/token?tenant={tenant}").status_code == status
    assert halo.token(tenant=tenant).status_code == status
    assert halo.raw("GET", f"/api/Agent/me?tenant={tenant}").status_code == status
    assert status == 200 or is_page(halo.token(tenant=tenant), status)


# Tokens


def test_token_answer(halo: Client) -> None:
    answer = halo.token(scope="all").json()
    assert len(answer.pop("access_token")) == 43
    assert answer == {"token_type": "Bearer", "expires_in": 3600, "scope": "all"}
    assert halo.token(scope="admin all").json()["scope"] == "admin all"


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_secret": None}, 401, "invalid_client"),
        ({"client_id": NOBODY}, 401, "invalid_client"),
        ({"client_id": None}, 400, "invalid_request"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "nonsense:x"}, 400, "invalid_scope"),
        ({"scope": "all read:tickets"}, 400, "invalid_scope"),
    ],
)
def test_token_refusals(halo: Client, form: dict[str, Any], status: int, error: str) -> None:
    answer = halo.token(**form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


def test_token_request_must_be_a_form(halo: Client) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": halo.tenant["client_id"],
        "client_secret": halo.tenant["client_secret"],
    }
    assert halo.raw("POST", "/auth/token", json=form).status_code == 400
    assert halo.raw("POST", "/auth/token", data=form).status_code == 200
    assert halo.raw("GET", "/auth/token", params=form).status_code == 400


def test_client_id_in_any_letter_case(halo: Client) -> None:
    assert halo.token(client_id=halo.tenant["client_id"].upper()).status_code == 200


def test_credentials_are_good_for_their_tenant_alone(sandbox: Sandbox, halo: Client) -> None:
    other = Client(sandbox, "globex", scope=None)
    assert other.token(**{name: halo.tenant[name] for name in ("client_id", "client_secret")}).status_code == 401
    other.session.headers.update(halo.session.headers)
    assert other.raw("GET", "/api/Agent/me").status_code == 401


def test_token_without_scope_opens_nothing(halo: Client) -> None:
    for scope in (None, ""):
        answer = halo.token(scope=scope)
        assert answer.status_code == 200
        assert "scope" not in answer.json()
        refused = Client(halo.sandbox, scope=None).use(answer.json()["access_token"]).raw("GET", "/api/Agent/me")
        assert (refused.status_code, refused.content) == (401, b"")


def test_http_basic(halo: Client) -> None:
    def status(client_id: str, secret: str) -> int:
        pair = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
        form = {"grant_type": "client_credentials", "scope": "all"}
        header = {"Authorization": f"Basic {pair}"}
        return halo.raw("POST", "/auth/token", data=form, headers=header).status_code

    application = halo.application("a secret: with + and %")
    assert status(application["clientId"], "a secret: with + and %") == 200
    assert status(application["clientId"], "another") == 401
    halo.sandbox.settings("acme", basic_auth=False)
    assert status(application["clientId"], "a secret: with + and %") == 400


def test_scopes_that_are_dropped(halo: Client) -> None:
    halo.sandbox.settings("acme", unknown_scope="drop")
    assert halo.token(scope="all nonsense:x").json()["scope"] == "all"


def test_forms_of_a_token(halo: Client) -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{43}", halo.token().json()["access_token"])
    halo.sandbox.settings("acme", token_form="jwt")
    token = halo.token().json()["access_token"]
    assert re.fullmatch(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", token)
    assert halo.use(token).get("Agent/me")["id"] == 7


def test_who_may_administer(halo: Client) -> None:
    application = halo.application(scopes=[{"name": "read:tickets"}])
    weak = Client(halo.sandbox, scope=None)
    token = halo.token(client_id=application["clientId"], client_secret="s3cret", scope="read:tickets")
    weak.use(token.json()["access_token"])
    assert weak.raw("GET", "/api/Application").status_code == 403
    halo.sandbox.settings("acme", administration="any")
    assert weak.raw("GET", "/api/Application").status_code == 200


def test_lists_that_are_always_pages(halo: Client) -> None:
    halo.sandbox.settings("acme", list_shape="paged", longest_page=2)
    first = halo.get("Team", page_size="50")
    assert (first["record_count"], first["page_size"], names(first["teams"])) == (
        6,
        2,
        ["1st Line Support", "2nd Line Support"],
    )


@pytest.mark.parametrize("header", [None, "Bearer x", "Bearer", "Basic eDp5"])
def test_api_without_a_good_token(halo: Client, header: str | None) -> None:
    halo.session.headers.pop("Authorization")
    answer = halo.raw("GET", "/api/Agent", headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.content) == (401, b"")


# (method, path, with a scope that administers nothing)
AREAS = [
    ("GET", "Agent", 200),
    ("GET", "Agent/3", 200),
    ("GET", "Agent/me", 200),
    ("GET", "Team", 200),
    ("GET", "Workday", 200),
    ("GET", "Lookup?lookupid=11", 200),
    ("GET", "InstanceInfo", 200),
    ("GET", "TopLevel", 200),
    ("GET", "Control", 200),
    ("GET", "Application", 403),
    ("GET", "Roles", 403),
    ("POST", "Agent", 403),
    ("POST", "Application", 403),
    ("POST", "Control", 403),
    ("POST", "Team", 403),
    ("DELETE", "Agent/4", 403),
    ("DELETE", f"Application/{NOBODY}", 403),
]


@pytest.mark.parametrize(("method", "path", "status"), AREAS)
def test_scope_needed(halo: Client, method: str, path: str, status: int) -> None:
    application = halo.application(scopes=[{"name": "read:tickets"}, {"name": "admin"}])
    login = {"client_id": application["clientId"], "client_secret": "s3cret"}
    assert halo.token(scope="all", **login).json()["error"] == "invalid_scope"
    body = [{"name": "New"}] if method == "POST" else None
    weak = Client(halo.sandbox, scope=None).use(halo.token(scope="read:tickets", **login).json()["access_token"])
    answer = weak.raw(method, f"/api/{path}", json=body)
    assert answer.status_code == status
    assert status == 200 or answer.content == b""
    strong = Client(halo.sandbox, scope=None).use(halo.token(scope="admin", **login).json()["access_token"])
    assert strong.raw(method, f"/api/{path}", json=body).status_code not in (401, 403)


def test_tokens_run_out_and_can_be_ended(halo: Client) -> None:
    assert halo.raw("GET", "/api/Agent/me").status_code == 200
    halo.sandbox.expire("globex")
    assert halo.raw("GET", "/api/Agent/me").status_code == 200
    halo.sandbox.expire("acme")
    assert halo.raw("GET", "/api/Agent/me").status_code == 401
    halo.sandbox.settings("acme", token_seconds=0.2)
    answer = halo.token().json()
    assert answer["expires_in"] == 0.2
    assert halo.use(answer["access_token"]).raw("GET", "/api/Agent/me").status_code == 200
    time.sleep(0.25)
    assert halo.raw("GET", "/api/Agent/me").status_code == 401


def test_tokens_that_begin_alike(halo: Client) -> None:
    halo.sandbox.settings("acme", token_prefix="c4nary%/+~")
    token = halo.token().json()["access_token"]
    assert token.startswith("c4nary%/+~")
    assert halo.use(token).raw("GET", "/api/Agent/me").status_code == 200


def test_authorisation_server_can_be_elsewhere(halo: Client) -> None:
    halo.sandbox.settings("acme", auth_path="/Elsewhere/auth")
    assert is_page(halo.token(), 404)
    assert halo.get("AuthInfo")["auth_url"] == halo.tenant["url"] + "/Elsewhere/auth"
    assert halo.token(path="/elsewhere/auth/token").status_code == 200
    assert Client(halo.sandbox, "globex", scope=None).token().status_code == 200


# The seed


def test_seeded_agents(halo: Client) -> None:
    everyone = halo.get("Agent", includeapiagents="true", includedisabled="true", includeunassigned="true")
    assert [(row["id"], row["name"], row["isapiagent"], row["isdisabled"]) for row in everyone] == [
        (1, "Unassigned", False, False),
        (3, "Admin", False, False),
        (4, "Bianca Rossi", False, False),
        (5, "Jörg Müller", False, False),
        (6, "Old Hand", False, True),
        (7, "api-automation", True, False),
    ]
    assert halo.get("Agent/me")["id"] == 7
    assert halo.get("Agent/3", includedetails="true")["is_admin"] is True


def test_seeded_applications(halo: Client) -> None:
    web, integrator, automation = halo.get("Application")
    assert web["displayName"] == "nethelpdesk-agent-web-application"
    assert web["clientId"] == "24fe0a24-85d5-46d4-b9c6-721e23f25843"
    assert web["_issystem"] is True
    assert integrator["system_use"]
    assert integrator["clientId"] == halo.get("Control")["client_id_halointegrator"]
    assert (automation["displayName"], automation["loginas_agent_id"]) == ("Automation", 7)
    assert automation["clientId"] == halo.tenant["client_id"]
    assert not automation["_issystem"]
    assert not automation["system_use"]
    details = halo.get(f"Application/{automation['id']}", includedetails="true")
    assert names(details["scopes"]) == ["admin", "all"]
    assert halo.sandbox.check("acme", web["clientId"], "")["valid"] is False


def test_seeded_roles_differ_between_tenants(halo: Client) -> None:
    mine, other = halo.get("Roles"), Client(halo.sandbox, "globex").get("Roles")
    assert names(mine) == names(other) == ["Administrator", "Standard User", "API Integration", "Read Only"]
    assert [row["id_int"] for row in mine] == [1, 2, 3, 4]
    assert all(GUID.fullmatch(row["id"]) for row in mine + other)
    assert not {row["id"] for row in mine} & {row["id"] for row in other}
    assert halo.get(f"Roles/{mine[2]['id'].upper()}")["name"] == "API Integration"


def test_seeded_teams_and_the_rest(halo: Client) -> None:
    teams = halo.get("Team")
    assert [(row["name"], row["department_id"]) for row in teams] == [
        ("1st Line Support", 1),
        ("2nd Line Support", 1),
        ("Projects", 1),
        ("Facilities", 2),
        ("Operations", 1),
        ("Operations", 2),
    ]
    assert names(halo.get("Team", department_id="2")) == ["Facilities", "Operations"]
    assert [member["agent_id"] for member in halo.get("Team/1", includeagents="true")["agents"]] == [3, 4]
    assert len(halo.get("Workday")) == 1
    assert {row["department_id"] for row in teams} == {row["id"] for row in halo.get("TopLevel")["toplevels"]}
    lookup = halo.get("Lookup", lookupid="11")
    assert len(lookup) > 2
    assert all(set(row) == {"id", "name", "lookupid"} and row["lookupid"] == 11 for row in lookup)
    assert halo.get("Lookup", lookupid="12") == []
    info = halo.get("InstanceInfo")
    assert (info["agent_count"], info["licensed_agent_count"]) == (6, 3)
    assert halo.raw("GET", "/api/InstanceInfo", headers={"Authorization": ""}).status_code == 401


# Agents: lists


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {3, 4, 5}),
        ({"includeapiagents": "true"}, {3, 4, 5, 7}),
        ({"includedisabled": "True"}, {3, 4, 5, 6}),
        ({"IncludeDisabled": "true", "includeenabled": "false"}, {6}),
        ({"includeunassigned": "true"}, {1, 3, 4, 5}),
        ({"search": "ROSSI"}, {4}),
        ({"search": "r"}, {4, 5}),
        ({"search": "example.com"}, {3, 4, 5}),
        ({"search": "automation"}, set()),
        ({"search": "automation", "includeapiagents": "true"}, {7}),
        ({"team": "1st line support"}, {3, 4}),
        ({"team_id": "2"}, {3, 5}),
        ({"role": "1", "includeapiagents": "true"}, {3, 7}),
    ],
)
def test_agent_list_filters(halo: Client, query: dict[str, str], expected: set[int]) -> None:
    assert {row["id"] for row in halo.get("Agent", **query)} == expected


def test_agent_list_rows_have_teams_but_no_roles(halo: Client) -> None:
    row = halo.get("Agent", search="Rossi")[0]
    assert names_of_teams(row) == ["1st Line Support"]
    assert row["role_list"] == "Standard User"
    assert "roles" not in row
    short = halo.get("Agent/4")
    assert "roles" not in short
    assert "teams" not in short
    full = halo.get("Agent/4", includedetails="true")
    assert [(role["name"], role["id_int"]) for role in full["roles"]] == [("Standard User", 2)]
    assert GUID.fullmatch(full["roles"][0]["id"])
    team = full["teams"][0]
    assert (team["agent_id"], team["team_id"], team["department_id"]) == (4, 1, 1)


def names_of_teams(agent: dict[str, Any]) -> list[str]:
    return [team["team_name"] for team in agent["teams"]]


def test_paging(halo: Client) -> None:
    halo.sandbox.put_agents("acme", *({"name": f"Agent {number:03d}"} for number in range(140)))
    everyone = halo.get("Agent")
    assert len(everyone) == 143
    page = halo.get("Agent", pageinate="true", page_size="1000", page_no="2")
    assert (page["record_count"], page["page_no"], page["page_size"]) == (143, 2, 100)
    assert page["agents"] == everyone[100:]
    assert halo.get("Agent", pageinate="true", page_size="10", page_no="15")["agents"][-1] == everyone[142]
    assert halo.get("Agent", pageinate="true", page_size="10", page_no="16")["agents"] == []
    assert len(halo.get("Agent", pageinate="true")["agents"]) == 50
    assert halo.raw("GET", "/api/Agent?pageinate=true&page_no=x").status_code == 400


@pytest.mark.parametrize(
    ("path", "plural"),
    [
        ("Agent", "agents"),
        ("Application", "applications"),
        ("Roles", "roles"),
        ("Team", "teams"),
        ("Workday", "workdays"),
    ],
)
def test_list_shapes(halo: Client, path: str, plural: str) -> None:
    bare = halo.get(path)
    assert isinstance(bare, list)
    assert halo.get(path, pageinate="true")[plural] == bare
    halo.sandbox.settings("acme", list_shape="wrapped")
    assert halo.get(path) == {"record_count": len(bare), plural: bare}
    halo.sandbox.settings("acme", list_shape="results")
    assert halo.get(path) == {"record_count": len(bare), "results": bare}
    assert halo.get(path, pageinate="true")["results"] == bare


# Agents: writing


def test_agent_is_created_updated_and_deleted(halo: Client) -> None:
    made = halo.save("Agent", name="api-ansible", email="Api@Example.COM ", isapiagent=True, isdisabled=False)
    assert made["id"] == 8
    assert (made["name"], made["email"], made["isapiagent"], made["roles"], made["teams"]) == (
        "api-ansible",
        "api@example.com",
        True,
        [],
        [],
    )
    changed = halo.save("Agent", id=8, isdisabled=True)
    assert (changed["name"], changed["isapiagent"], changed["isdisabled"]) == ("api-ansible", True, True)
    removed = halo.delete("Agent/8")
    assert (removed.status_code, removed.json()["id"], removed.json()["name"]) == (200, 8, "api-ansible")
    assert halo.raw("GET", "/api/Agent/8").status_code == 404
    assert halo.delete("Agent/8").status_code == 404
    assert halo.save("Agent", name="next")["id"] == 9
    assert is_sorted([row["id"] for row in halo.sandbox.state("acme")["agents"]])


def is_sorted(values: list[int]) -> bool:
    return values == sorted(values)


def test_input_names_are_case_insensitive_and_unknown_fields_are_kept(halo: Client) -> None:
    made = halo.save("Agent", NAME="Züleyha 山田", Teams=[{"Team_ID": 3}], FavouriteTea="Assam", sms="1")
    assert (made["name"], names_of_teams(made), made["FavouriteTea"]) == ("Züleyha 山田", ["Projects"], "Assam")
    assert halo.save("Agent", ID=made["id"], favouritetea="Earl Grey")["FavouriteTea"] == "Earl Grey"
    details = halo.get(f"Agent/{made['id']}", includedetails="true")
    assert (details["FavouriteTea"], details["sms"]) == ("Earl Grey", "1")
    assert "favouritetea" not in details
    assert "FavouriteTea" not in halo.get(f"Agent/{made['id']}")


def test_null_means_not_given_and_blank_is_trimmed(halo: Client) -> None:
    made = halo.save("Agent", id=None, name="  Spacious  ", jobtitle=" Chief ", email="a@example.com", team="projects")
    assert (made["name"], made["jobtitle"], made["team"]) == ("Spacious", "Chief", "Projects")
    same = halo.save("Agent", id=made["id"], name=None, email=None, team=None)
    assert (same["name"], same["email"], same["team"]) == ("Spacious", "a@example.com", "Projects")
    bare = halo.save("Agent", id=made["id"], email="", team="", jobtitle="")
    assert (bare["email"], bare["team"], bare["jobtitle"]) == (None, None, "")


def test_read_only_and_write_only_fields(halo: Client) -> None:
    made = halo.save("Agent", name="x", password="hidden-p4ss", is_admin=True, role_list="Administrator", use="user")
    assert (made["is_admin"], made["role_list"], made["use"]) == (False, "", "agent")
    assert "hidden-p4ss" not in str([made, halo.sandbox.state("acme")])


def test_roles_replace_and_add(halo: Client) -> None:
    ids = {row["name"]: row["id"] for row in halo.get("Roles")}
    made = halo.save("Agent", name="x", roles=[{"id": ids["Read Only"].upper()}])
    assert names(made["roles"]) == ["Read Only"]
    made = halo.save("Agent", id=made["id"], roles=[{"id": ids["API Integration"]}, {"id": ids["Standard User"]}])
    assert names(made["roles"]) == ["API Integration", "Standard User"]
    assert made["role_list"] == "API Integration, Standard User"
    made = halo.save("Agent", id=made["id"], add_roles=[{"id": ids["Read Only"]}, {"id": ids["Standard User"]}])
    assert names(made["roles"]) == ["API Integration", "Standard User", "Read Only"]
    assert "add_roles" not in made
    assert halo.save("Agent", id=made["id"], roles=[])["roles"] == []


def test_teams_replace(halo: Client) -> None:
    made = halo.save("Agent", name="x", teams=[{"team_name": "projects"}, {"team_id": 1}, {"team_id": 1}])
    assert names_of_teams(made) == ["Projects", "1st Line Support"]
    kept = {team["team_id"]: team["id"] for team in made["teams"]}
    made = halo.save("Agent", id=made["id"], teams=[{"team_id": 2}, {"team_id": 1, "is_manager": True}])
    assert names_of_teams(made) == ["2nd Line Support", "1st Line Support"]
    assert made["teams"][1]["id"] == kept[1]
    assert made["teams"][1]["is_manager"] is True
    assert halo.save("Agent", id=made["id"], teams=[])["teams"] == []
    assert halo.save("Agent", id=made["id"], teams=[{"team_name": "Operations"}])["teams"][0]["team_id"] == 5


SWITCHES = ("in_section", "unassigned_access", "otheragent_access", "is_manager")


def switches(membership: dict[str, Any]) -> list[str]:
    return [name for name in SWITCHES if membership[name]]


def test_switches_of_a_membership_that_are_not_sent_are_off(halo: Client) -> None:
    assert switches(halo.get("Agent/3", includedetails="true")["teams"][0]) == [*SWITCHES[:3]]
    made = halo.save("Agent", name="x", teams=[{"team_id": 1}, {"team_id": 2, "in_section": True, "is_manager": True}])
    assert [switches(membership) for membership in made["teams"]] == [[], ["in_section", "is_manager"]]
    made = halo.save("Agent", id=made["id"], teams=[made["teams"][1], {"team_id": 1, "unassigned_access": True}])
    assert [switches(row) for row in made["teams"]] == [["in_section", "is_manager"], ["unassigned_access"]]
    made = halo.save("Agent", id=made["id"], teams=[{"team_id": 2}])
    assert [switches(membership) for membership in made["teams"]] == [[]]
    listed = [row for row in halo.get("Agent") if row["id"] == made["id"]]
    assert [switches(membership) for membership in listed[0]["teams"]] == [[]]


def test_departments_replace(halo: Client) -> None:
    made = halo.save("Agent", name="x", departments=[{"department_id": 2}])
    assert [row["department_name"] for row in made["departments"]] == ["Field Services"]
    assert halo.save("Agent", id=made["id"], departments=[])["departments"] == []


def only_key(answer: requests.Response) -> str:
    """The key of the only property of a 400's JSON object; "text" for a text alone."""
    assert answer.status_code == 400
    if isinstance(answer.json(), str):
        return "text"
    (key,) = answer.json()
    return str(key)


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({}, "[0].name"),
        ({"name": ""}, "[0].name"),
        ({"name": "   "}, "[0].name"),
        ({"id": 4, "name": ""}, "[0].name"),
        ({"id": "x"}, "[0].id"),
        ({"name": 5}, "[0].name"),
        ({"name": "x", "ISAPIAGENT": "yes"}, "[0].isapiagent"),
        ({"name": "x", "workday_id": True}, "[0].workday_id"),
        ({"name": "x", "roles": "Administrator"}, "[0].roles"),
        ({"name": "x", "roles": ["Administrator"]}, "[0].roles"),
        ("x", "[0]"),
        ({"id": 4711, "name": "x"}, "text"),
        ({"name": "x", "roles": [{"id": NOBODY}]}, "text"),
        ({"name": "x", "roles": [{"name": "Administrator"}]}, "text"),
        ({"name": "x", "add_roles": [{"id": "nonsense"}]}, "text"),
        ({"name": "x", "teams": [{"team_id": 99}]}, "text"),
        ({"name": "x", "teams": [{"team_name": "No such"}]}, "text"),
        ({"name": "x", "teams": [{}]}, "text"),
        ({"name": "x", "departments": [{"department_id": 99}]}, "text"),
        ({"name": "x", "team": "No such"}, "text"),
    ],
)
def test_bad_agents_are_refused_and_nothing_is_changed(halo: Client, row: Any, key: str) -> None:
    before = halo.sandbox.state("acme")
    assert only_key(halo.post("Agent", row)) == key
    # The good one in the same request is taken back too.
    assert halo.post("Agent", {"name": "good"}, row).status_code == 400
    assert halo.sandbox.state("acme") == before


@pytest.mark.parametrize(("path", "title"), [("Agent", "name"), ("Application", "displayName")])
def test_long_names(halo: Client, path: str, title: str) -> None:
    assert len(halo.save(path, **{title: "é" * 255})[title]) == 255
    refused = halo.post(path, {title: "é" * 256})
    assert refused.status_code == 400
    assert {"ClassName", "Message"} <= set(refused.json())


@pytest.mark.parametrize("path", ["Agent", "Application", "Control"])
@pytest.mark.parametrize("body", ["{}", '{"name": "x"}', "[]", "null", "[{", "\udcff", '"x"'])
def test_bodies_must_be_arrays_of_objects(halo: Client, path: str, body: str) -> None:
    data = body.encode(errors="surrogateescape")
    answer = halo.raw("POST", f"/api/{path}", data=data, headers={"Content-Type": "application/json"})
    assert only_key(answer) == "$"


def test_bodies_must_be_json(halo: Client) -> None:
    assert halo.raw("POST", "/api/Agent", data=b'[{"name": "x"}]').status_code == 415
    assert halo.raw("POST", "/api/Agent", data={"name": "x"}).status_code == 415


def test_bad_ids_in_paths(halo: Client) -> None:
    assert only_key(halo.raw("GET", "/api/Agent/x")) == "id"
    assert halo.raw("GET", "/api/Agent/99").status_code == 404
    assert halo.raw("GET", f"/api/Application/{NOBODY}").status_code == 404


def test_what_an_agent_needs(halo: Client) -> None:
    halo.sandbox.settings("acme", agent_needs_email=True, unique_emails=True)
    assert "email" in halo.post("Agent", {"name": "x"}).json()
    made = halo.save("Agent", name="x", email="x@example.com")
    assert halo.save("Agent", id=made["id"], email="X@example.com")["email"] == "x@example.com"
    assert "email" in halo.post("Agent", {"name": "y", "email": "x@example.com"}).json()


def test_agents_that_are_in_use_or_deleted_softly(halo: Client) -> None:
    agent = halo.save("Agent", name="x")["id"]
    application = halo.application(loginas_agent_id=agent)
    halo.sandbox.settings("acme", agent_in_use="refuse", agent_delete="soft")
    assert only_key(halo.delete(f"Agent/{agent}")) == "text"
    halo.delete(f"Application/{application['id']}")
    assert halo.delete(f"Agent/{agent}").status_code == 200
    assert halo.get(f"Agent/{agent}")["isdisabled"] is True


def test_agents_need_not_be_hidden(halo: Client) -> None:
    assert not {"Old Hand", "api-automation"} & set(names(halo.get("Agent")))
    halo.sandbox.settings("acme", hidden_agents=False)
    assert {"Old Hand", "api-automation"} <= set(names(halo.get("Agent")))
    assert "api-automation" not in names(halo.get("Agent", includeapiagents="false"))


def test_lists_that_merge_and_switches_that_are_on(halo: Client) -> None:
    halo.sandbox.settings("acme", inner_lists="merge", member_switches="on")
    one, other = (row["id"] for row in halo.get("Roles")[1:3])
    made = halo.save("Agent", name="x", roles=[{"id": one}], teams=[{"team_id": 1}])
    assert [made["teams"][0][name] for name in ("in_section", "unassigned_access", "is_manager")] == [True] * 3
    assert len(halo.save("Agent", id=made["id"], roles=[{"id": other}])["roles"]) == 2
    teams = halo.save("Agent", id=made["id"], teams=[{"team_id": 2}, {"team_id": 1}])["teams"]
    assert sorted(team["team_id"] for team in teams) == [1, 2]
    assert len(halo.save("Agent", id=made["id"], teams=[{"team_id": 3}])["teams"]) == 3
    application = halo.application()
    scopes = halo.save("Application", id=application["id"], scopes=[{"name": "read:tickets"}])["scopes"]
    assert names(scopes) == ["all", "read:tickets"]


def test_names_may_repeat_unless_told_otherwise(halo: Client) -> None:
    assert halo.save("Agent", name="Admin")["id"] == 8
    halo.sandbox.settings("acme", unique_names=True)
    assert "admin" in halo.post("Agent", {"name": "admin"}).json()
    assert only_key(halo.post("Agent", {"id": 4, "name": "OLD hand"})) == "text"
    assert only_key(halo.post("Application", {"displayName": "automation"})) == "text"
    assert halo.save("Agent", id=4, name="BIANCA ROSSI")["name"] == "BIANCA ROSSI"


def test_spellings_of_an_accent_are_one_name(halo: Client) -> None:
    decomposed = unicodedata.normalize("NFD", "JÖRG Müller")
    assert halo.save("Agent", name=decomposed)["id"] == 8
    halo.sandbox.settings("acme", unique_names=True)
    assert only_key(halo.post("Agent", {"name": decomposed})) == "text"
    halo.save("Team", name="Büro")
    made = halo.save("Agent", name="x", teams=[{"team_name": unicodedata.normalize("NFD", "BÜRO")}])
    assert names_of_teams(made) == ["Büro"]


def test_names_can_be_cut_without_a_word(halo: Client) -> None:
    halo.sandbox.settings("acme", longest_name=5)
    assert halo.save("Agent", name="api tickets")["name"] == "api t"
    assert halo.save("Agent", name="api  tickets")["name"] == "api"
    assert halo.application(displayName="Reports")["displayName"] == "Repor"
    halo.sandbox.settings("acme", longest_name=None)
    assert halo.save("Agent", name="api tickets")["name"] == "api tickets"


def test_claims_of_a_role(halo: Client) -> None:
    assert not [row for row in halo.get("Roles") if "claims" in row]
    made = halo.save("Roles", name="R", claims=[{"Type": "Tx", "value": " 1 "}, {"type": "Px", "value": "2"}])
    assert made["claims"] == [{"type": "Tx", "value": "1"}, {"type": "Px", "value": "2"}]
    assert halo.get(f"Roles/{made['id']}", includedetails="true") == made
    assert "claims" not in halo.get(f"Roles/{made['id']}")
    assert halo.save("Roles", id=made["id"], notes="x")["claims"] == made["claims"]
    assert halo.save("Roles", id=made["id"], claims=[{"type": "l6", "value": "1"}])["claims"] == [
        {"type": "l6", "value": "1"}
    ]
    halo.sandbox.settings("acme", role_claims="merge")
    merged = halo.save("Roles", id=made["id"], claims=[{"type": "Tx", "value": "0"}])["claims"]
    assert merged == [{"type": "l6", "value": "1"}, {"type": "Tx", "value": "0"}]
    for claim in ({"type": "Tx"}, {"type": "", "value": "1"}, {"type": "Tx", "value": 1}):
        assert only_key(halo.post("Roles", {"id": made["id"], "claims": [claim]})) == "claims[0]"


def test_rows_are_seen_within_scopes_roles_teams_and_customers(halo: Client) -> None:
    """By the agent of a new application, whose scopes, roles and teams are changed one by one."""
    roles = {role["name"]: {"id": role["id"]} for role in halo.get("Roles")}
    team = {"team_id": 1, "unassigned_access": True}
    agent = halo.save("Agent", name="reader", roles=[roles["Read Only"]], teams=[team])
    application = halo.application("s", loginas_agent_id=agent["id"], scopes=[{"name": "read:tickets"}])

    def rows(path: str, scope: str = "read:tickets") -> Any:
        halo.save("Application", id=application["id"], scopes=[{"name": scope}])
        form = {"client_id": application["clientId"], "client_secret": "s", "scope": scope}
        token = halo.token(**form).json()["access_token"]
        got = halo.raw("GET", f"/api/{path}", headers={"Authorization": f"Bearer {token}"})
        return len(got.json()) if got.status_code == 200 else (got.status_code, got.text)

    refused = (403, "")
    assert [rows("Tickets", scope) for scope in ("read:tickets", "edit:tickets", "all")] == [1, 1, 1]
    assert [rows("Tickets", scope) for scope in ("read:customers", "admin")] == [refused, refused]
    # the role lets read customers, and not all of them
    assert (rows("Client", "read:customers"), rows("Asset", "read:assets")) == (0, refused)
    halo.save("Agent", id=agent["id"], roles=[roles["Standard User"]], teams=[{"team_id": 1}])
    assert (rows("Client", "read:customers"), rows("Users", "read:customers"), rows("Tickets")) == (1, 1, 0)
    halo.save("Agent", id=agent["id"], roles=[roles["Administrator"]], teams=[])
    assert (rows("Asset", "read:assets"), rows("Tickets"), rows("Projects", "read:projects")) == (1, 0, 0)
    halo.sandbox.settings("acme", records=3, denied="empty")
    assert (rows("Asset", "read:assets"), rows("Asset", "read:tickets")) == (3, 0)
    found = halo.get("Asset", pageinate="true", page_size="1", page_no="2")
    assert found == {"record_count": 3, "page_no": 2, "page_size": 1, "assets": [{"id": 2, "name": "Row 2"}]}
    assert halo.raw("GET", "/api/Tickets", headers={"Authorization": "Bearer x"}).status_code == 401
    assert halo.post("Tickets", {"summary": "x"}).status_code == 405


def test_the_claims_of_the_own_agent(halo: Client) -> None:
    assert halo.get("Agent/me")["claims"] == [{"type": "Administration", "value": "true"}]
    agent = halo.save("Agent", id=7, roles=[role for role in halo.get("Roles") if role["name"] == "Read Only"])
    assert agent["roles"][0]["name"] == "Read Only"
    claims = halo.get("Agent/me")["claims"]
    assert claims[0] == {"type": "Administration", "value": "false"}
    assert {"type": "Tx", "value": "1"} in claims


def test_ordinary_agents_can_have_no_flag(halo: Client) -> None:
    assert halo.get("Agent/4")["isapiagent"] is False
    halo.sandbox.settings("acme", null_isapiagent=True)
    assert [halo.get(f"Agent/{number}")["isapiagent"] for number in (4, 7)] == [None, True]
    assert {row["isapiagent"] for row in halo.get("Agent", includeapiagents="true")} == {None, True}


def test_a_refusal_is_a_bare_text_or_a_message(halo: Client) -> None:
    row = {"name": "x", "teams": [{"team_id": 99}]}
    text = halo.post("Agent", row).json()
    assert text == "The team 99 does not exist."
    halo.sandbox.settings("acme", refusal_shape="object")
    refused = halo.post("Agent", row)
    assert (refused.status_code, refused.json()) == (400, {"Message": text})
    assert only_key(halo.post("Agent", {"id": "x"})) == "[0].id"


@pytest.mark.parametrize(
    "setting", [{"longest_name": 0}, {"longest_name": 1.5}, {"null_isapiagent": 1}, {"refusal_shape": "text"}], ids=str
)
def test_wrong_values_of_settings_are_refused(sandbox: Sandbox, setting: dict[str, Any]) -> None:
    with pytest.raises(ControlError, match="bad value"):
        sandbox.settings("acme", **setting)


def test_answer_shape_and_status(halo: Client) -> None:
    assert halo.post("Agent", {"name": "x"}).status_code == 201
    several = halo.post("Agent", {"name": "y"}, {"name": "z"})
    assert names(several.json()) == ["y", "z"]
    halo.sandbox.settings("acme", answer_shape="array", write_status=200)
    for path, row in (("Agent", {"id": 4}), ("Application", {"displayName": "x"}), ("Control", {"id": 1})):
        answer = halo.post(path, row)
        assert answer.status_code == 200
        assert len(answer.json()) == 1


@pytest.mark.parametrize("path", ["Roles", "Team", "Workday", "TopLevel"])
def test_the_other_objects_can_be_written_too(halo: Client, path: str) -> None:
    made = halo.save(path, name="Made here", notes="kept")
    assert halo.get(f"{path}/{made['id']}")["name"] == "Made here"
    assert halo.save(path, id=made["id"], name="Renamed")["notes"] == "kept"
    listed = halo.get(path)
    assert "Renamed" in names(listed["toplevels"] if path == "TopLevel" else listed)
    assert halo.delete(f"{path}/{made['id']}").json()["name"] == "Renamed"
    assert halo.raw("GET", f"/api/{path}/{made['id']}").status_code == 404
    assert only_key(halo.post(path, {})) == "[0].name"


# Applications


def test_application_is_created_read_and_deleted(halo: Client) -> None:
    made = halo.application()
    assert GUID.fullmatch(made["id"])
    assert GUID.fullmatch(made["clientId"])
    assert (made["clientSecret"], made["loginas_agent_name"]) == (None, "api-automation")
    assert halo.get(f"application/{made['id'].upper()}", includedetails="true") == made
    row = next(row for row in halo.get("Application") if row["id"] == made["id"])
    details = {"scopes", "redirecturi_list", "postlogoutredirecturi_list", "cors_whitelist_list"}
    assert not details & set(row)
    assert details <= set(made)
    assert halo.get(f"Application/{made['id']}") == row
    assert halo.accepted(made, "s3cret")
    assert halo.delete(f"Application/{made['id']}").json() == made
    assert halo.raw("GET", f"/api/Application/{made['id']}").status_code == 404
    assert not halo.accepted(made, "s3cret")


def test_application_normalises(halo: Client) -> None:
    made = halo.application(
        displayName=" App ",
        scopes=[{"name": "read:tickets "}, {"Name": "all"}, {"name": "all"}, {"name": "admin"}],
        redirecturi_list=[
            {"value": "https://b.example.com"},
            {"value": " https://a.example.com", "label": "A", "isnew": True},
        ],
        postlogoutredirecturi_list=[{"value": "https://c.example.com"}],
        logoutredirecturi="https://ignored.example.com",
        cors_whitelist="https://d.example.com https://e.example.com",
        madeUp={"x": [1]},
    )
    assert made["displayName"] == "App"
    assert names(made["scopes"]) == ["admin", "all", "read:tickets"]
    assert {scope["application_id"] for scope in made["scopes"]} == {made["id"]}
    assert len({scope["id"] for scope in made["scopes"]}) == 3
    assert made["redirecturi_list"] == [
        {"value": "https://b.example.com", "label": "https://b.example.com", "isnew": False},
        {"value": "https://a.example.com", "label": "A", "isnew": False},
    ]
    assert made["redirecturi"] == "https://b.example.com https://a.example.com"
    assert made["logoutredirecturi"] == "https://c.example.com"
    assert [entry["value"] for entry in made["cors_whitelist_list"]] == [
        "https://d.example.com",
        "https://e.example.com",
    ]
    assert made["madeUp"] == {"x": [1]}
    changed = halo.save("Application", id=made["id"], scopes=[{"name": "all"}], redirecturi_list=[])
    assert changed["scopes"] == [scope for scope in made["scopes"] if scope["name"] == "all"]
    assert (changed["redirecturi_list"], changed["redirecturi"]) == ([], "")
    assert changed["postlogoutredirecturi_list"] == made["postlogoutredirecturi_list"]


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({}, "[0].displayName"),
        ({"displayName": " "}, "[0].displayName"),
        ({"displayName": "x", "loginas_agent_id": "7"}, "[0].loginas_agent_id"),
        ({"displayName": "x", "scopes": ["all"]}, "[0].scopes"),
        ({"displayName": "x", "loginas_agent_id": 99}, "text"),
        ({"id": NOBODY, "displayName": "x"}, "text"),
    ],
)
def test_bad_applications_are_refused_and_nothing_is_changed(halo: Client, row: Any, key: str) -> None:
    before = halo.sandbox.state("acme")
    assert only_key(halo.post("Application", row)) == key
    assert halo.sandbox.state("acme") == before


def test_system_applications_cannot_be_deleted(halo: Client) -> None:
    for row in halo.get("Application")[:2]:
        assert only_key(halo.delete(f"Application/{row['id']}")) == "text"
    assert len(halo.get("Application")) == 3


def test_no_secret_works_until_one_is_set(halo: Client) -> None:
    made = halo.application(secret=None)
    assert not halo.accepted(made, "")
    assert not halo.accepted(made, "s3cret")
    halo.save("Application", id=made["id"], clientSecret="first")
    assert halo.accepted(made, "first")


def test_a_new_secret_is_in_force_at_once_and_tokens_live_on(halo: Client) -> None:
    made = halo.application(secret=" spaces count ")
    assert halo.accepted(made, " spaces count ")
    assert not halo.accepted(made, "spaces count")
    old = halo.token(client_id=made["clientId"], client_secret=" spaces count ").json()["access_token"]
    assert halo.save("Application", id=made["id"], clientSecret="second")["clientSecret"] is None
    assert halo.accepted(made, "second")
    assert not halo.accepted(made, " spaces count ")
    assert Client(halo.sandbox, scope=None).use(old).get("Agent/me")["id"] == 7


@pytest.mark.parametrize(
    ("change", "killed"),
    [
        ({"loginas_agent_id": 3}, True),
        ({"loginas_agent_id": 7}, False),
        ({"allowusers": True}, True),
        ({"allowagents": False}, True),
        ({"loginentity": 1}, True),
        ({"allowagents": True, "allowusers": False, "loginentity": 0}, False),
        ({"displayName": "Renamed", "scopes": [], "grant_type": "client_credentials"}, False),
        ({"loginas_agent_id": 3, "clientSecret": ""}, True),
        ({"loginas_agent_id": 3, "clientSecret": None}, True),
        ({"inactive": False, "clientSecret": ""}, False),
    ],
)
def test_a_change_of_login_without_a_new_secret_kills_it(halo: Client, change: dict[str, Any], killed: bool) -> None:
    made = halo.application()
    old = halo.token(client_id=made["clientId"], client_secret="s3cret").json()["access_token"]
    changed = halo.save("Application", id=made["id"], **change)
    found = next(row for row in halo.sandbox.state("acme")["applications"] if row["id"] == made["id"])
    assert found["secret_set"] is not killed
    if "scopes" not in change:
        assert halo.accepted(changed, "s3cret") is not killed
    assert Client(halo.sandbox, scope=None).use(old).get("Agent/me")["id"] == 7
    if killed:
        # What is dead stays dead when the change is taken back.
        halo.save("Application", id=made["id"], **{name: made[name] for name in change if name != "clientSecret"})
        assert not halo.accepted(made, "s3cret")


def test_a_change_of_login_with_a_new_secret(halo: Client) -> None:
    made = halo.application()
    changed = halo.save("Application", id=made["id"], loginas_agent_id=3, clientSecret="second")
    assert changed["loginas_agent_name"] == "Admin"
    assert halo.accepted(changed, "second")
    assert not halo.accepted(changed, "s3cret")


def test_what_stops_a_login(halo: Client) -> None:
    agent = halo.save("Agent", name="x", isapiagent=True)
    made = halo.application(loginas_agent_id=agent["id"])
    assert halo.accepted(made, "s3cret")
    halo.save("Application", id=made["id"], inactive=True)
    assert not halo.accepted(made, "s3cret")
    halo.save("Application", id=made["id"], inactive=False)
    assert halo.accepted(made, "s3cret")
    halo.save("Agent", id=agent["id"], isdisabled=True)
    assert not halo.accepted(made, "s3cret")
    halo.save("Agent", id=agent["id"], isdisabled=False)
    old = halo.token(client_id=made["clientId"], client_secret="s3cret").json()["access_token"]
    halo.delete(f"Agent/{agent['id']}")
    assert not halo.accepted(made, "s3cret")
    row = halo.get(f"Application/{made['id']}")
    assert (row["loginas_agent_id"], row["loginas_agent_name"]) == (agent["id"], "")
    assert Client(halo.sandbox, scope=None).use(old).raw("GET", "/api/Agent/me").status_code == 401


def test_only_services_applications_get_tokens_for_their_secret(halo: Client) -> None:
    made = halo.application(grant_type="authorization_code")
    answer = halo.token(client_id=made["clientId"], client_secret="s3cret")
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


def test_client_id_policy(halo: Client) -> None:
    mine = str(uuid.uuid4())
    made = halo.application(clientId=mine)
    assert made["clientId"] == mine
    assert halo.save("Application", id=made["id"], clientId="")["clientId"] == mine
    halo.sandbox.settings("acme", client_id_policy="replace")
    made = halo.application(clientId=mine)
    assert made["clientId"] != mine
    assert GUID.fullmatch(made["clientId"])


def test_secret_policy_replace(halo: Client) -> None:
    halo.sandbox.settings("acme", secret_policy="replace")
    made = halo.application()
    assert re.fullmatch(rf"{GUID.pattern}-{GUID.pattern}", made["clientSecret"])
    assert halo.accepted(made, made["clientSecret"])
    assert not halo.accepted(made, "s3cret")
    assert halo.get(f"Application/{made['id']}")["clientSecret"] is None
    changed = halo.save("Application", id=made["id"], clientSecret="second")
    assert halo.accepted(made, changed["clientSecret"])
    assert not halo.accepted(made, made["clientSecret"])
    assert halo.save("Application", id=made["id"], displayName="Same")["clientSecret"] is None
    assert halo.accepted(made, changed["clientSecret"])
    assert halo.application(secret=None)["clientSecret"]


def test_secrets_by_settings(halo: Client) -> None:
    application = halo.application()
    halo.sandbox.settings("acme", agent_change="keep", old_secret="alive")
    application = halo.save("Application", id=application["id"], loginas_agent_id=3)
    assert halo.accepted(application, "s3cret")
    halo.save("Application", id=application["id"], clientSecret="another")
    assert halo.accepted(application, "s3cret")
    assert halo.accepted(application, "another")
    halo.sandbox.settings("acme", old_secret="dead", bare_update="kill")
    halo.save("Application", id=application["id"], description="x")
    assert not halo.accepted(application, "s3cret")
    assert not halo.accepted(application, "another")
    halo.sandbox.settings("acme", secret_policy="replace", secret_form="base64url")
    made = halo.save("Application", id=application["id"], clientSecret="third")["clientSecret"]
    assert re.fullmatch("[A-Za-z0-9_-]{43}", made)
    assert halo.accepted(application, made)


def test_tokens_that_end_with_what_they_were_made_with(halo: Client) -> None:
    application = halo.application()
    halo.save("Application", id=application["id"], inactive=True)
    assert halo.raw("GET", "/api/Agent/me").status_code == 200
    halo.sandbox.settings("acme", tokens="end")
    for change in ({"clientSecret": "another"}, {"inactive": True}):
        halo.save("Application", id=application["id"], **change)
        assert halo.raw("GET", "/api/Agent/me").status_code == 401
        halo.use(halo.token().json()["access_token"])


def test_an_application_comes_with_what_halo_keeps_of_its_tokens(halo: Client) -> None:
    made = halo.application(tokens=[])
    for row in (made, halo.get(f"Application/{made['id']}"), halo.get("Application")[-1]):
        (token,) = row["tokens"]
        assert {"referenceId", "payload"} <= set(token)
        assert row["authorizations"][0]["tokens"] == [token]
    halo.sandbox.settings("acme", token_arrays=False)
    assert not {"tokens", "authorizations"} & set(halo.get(f"Application/{made['id']}"))


@pytest.mark.parametrize("mask", [None, "", "********"])
def test_secret_mask(halo: Client, mask: str | None) -> None:
    halo.sandbox.settings("acme", secret_mask=mask)
    made = halo.application()
    assert made["clientSecret"] == mask
    assert {row["clientSecret"] for row in halo.get("Application")} == {mask}
    assert halo.get("Control")["client_secret_halointegrator"] == mask


def test_api_keys_are_taken_and_not_shown(halo: Client) -> None:
    made = halo.application(new_apikey1="k3y-text")
    assert "k3y-text" not in str([made, halo.sandbox.state("acme")])


# Control


def test_control(halo: Client) -> None:
    control = halo.get("Control")
    assert (control["id"], control["loginas_halointegrator"], control["hashostedintegrator"]) == (1, 3, False)
    assert control["client_secret_halointegrator"] is None
    assert Client(halo.sandbox, "globex").get("Control")["hashostedintegrator"] is True
    halo.sandbox.settings("acme", hosted_integrator=True)
    assert halo.get("Control")["hashostedintegrator"] is True
    assert halo.save("Control", id=1, halointegrator_note="kept")["halointegrator_note"] == "kept"
    assert only_key(halo.post("Control", {"loginas_halointegrator": 99})) == "text"


def test_the_integrator_has_the_rules_of_an_application(halo: Client) -> None:
    integrator = {"clientId": halo.get("Control")["client_id_halointegrator"], "loginas_agent_id": 3}

    def is_set() -> bool:
        found: bool = halo.sandbox.state("acme")["control"]["secret_set"]
        return found

    assert is_set()
    halo.save("Control", id=1, loginas_halointegrator=3)
    assert is_set()
    halo.save("Control", id=1, loginas_halointegrator=7)
    assert not is_set()
    answer = halo.save("Control", loginas_halointegrator=3, client_secret_halointegrator="new one")
    assert (answer["loginas_halointegrator"], answer["client_secret_halointegrator"]) == (3, None)
    assert halo.accepted(integrator, "new one")
    application = next(row for row in halo.get("Application") if row["clientId"] == integrator["clientId"])
    assert application["loginas_agent_id"] == 3
    halo.sandbox.settings("acme", secret_policy="replace")
    made = halo.save("Control", id=1, client_secret_halointegrator="ignored")["client_secret_halointegrator"]
    assert halo.accepted(integrator, made)
    assert halo.get("Control")["client_secret_halointegrator"] is None


# The control side


def test_request_log_and_counts(sandbox: Sandbox) -> None:
    halo = Client(sandbox)
    Client(sandbox, "globex", scope=None).raw("GET", "/API/AuthInfo/")
    halo.get("Agent", search="x y")
    halo.save("Agent", name="never in the log")
    halo.delete("Agent/99")
    halo.session.get(f"{sandbox.url}/hooli/x", timeout=10)
    log = sandbox.requests()
    assert [entry["n"] for entry in log] == [1, 2, 3, 4, 5, 6]
    shown = ("tenant", "method", "path", "query", "status", "kind")
    assert [tuple(entry[name] for name in shown) for entry in log] == [
        ("acme", "POST", "/auth/token", "", 200, "token"),
        ("globex", "GET", "/API/AuthInfo/", "", 200, "authinfo"),
        ("acme", "GET", "/api/Agent", "search=x+y", 200, "api"),
        ("acme", "POST", "/api/Agent", "", 201, "api"),
        ("acme", "DELETE", "/api/Agent/99", "", 404, "api"),
        (None, "GET", "/hooli/x", "", 500, "other"),
    ]
    assert abs(log[0]["at"] - time.time()) < 60
    assert "never in the log" not in str(log)
    assert halo.tenant["client_secret"] not in str(log)
    assert sandbox.requests("globex") == [log[1]]
    assert sandbox.writes() == [log[3], log[4]]
    assert sandbox.counts("acme") == {"total": 4, "GET": 1, "POST": 1, "DELETE": 1, "token": 1, "refused_writes": 0}
    assert sandbox.counts("globex")["total"] == 1
    assert sandbox.counts("initech")["total"] == 0
    sandbox.control("DELETE", "requests")
    assert sandbox.requests() == []
    assert sandbox.counts("acme")["total"] == 0


def test_read_only(halo: Client) -> None:
    before = halo.sandbox.state("acme")
    halo.sandbox.settings("acme", read_only=True)
    assert halo.post("Agent", {"name": "x"}).status_code == 418
    assert halo.delete("Agent/4").status_code == 418
    assert halo.post("Control", {"id": 1}).status_code == 418
    assert halo.raw("GET", "/api/Agent").status_code == 200
    assert halo.token().status_code == 200
    assert halo.sandbox.counts("acme")["refused_writes"] == 3
    assert halo.sandbox.control("GET", "counts")["refused_writes"] == 3
    assert halo.sandbox.state("acme") == before
    assert Client(halo.sandbox, "globex").post("Agent", {"name": "x"}).status_code == 201


def test_rate_limit(halo: Client) -> None:
    halo.sandbox.settings("acme", rate_limit={"requests": 3, "seconds": 0.4, "retry_after": None})
    paths = ("/api/AuthInfo", "/api/Agent", "/API/agent/", "/api/Agent")
    answers = [halo.raw("GET", path) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json() == {"error": "Rate Limit Reached - 300 Requests per rolling 5 minute window"}
    assert "Retry-After" not in answers[3].headers
    assert halo.token().status_code == 429
    assert Client(halo.sandbox, "globex", scope=None).token().status_code == 200
    time.sleep(0.45)
    assert halo.token().status_code == 200
    halo.sandbox.settings("acme", rate_limit={"requests": 0, "seconds": 1, "retry_after": 7})
    assert halo.token().headers["Retry-After"] == "7"
    halo.sandbox.settings("acme", rate_limit=None)
    assert halo.token().status_code == 200


def test_latency(halo: Client) -> None:
    halo.sandbox.settings("acme", latency_ms=150)
    start = time.monotonic()
    halo.get("AuthInfo")
    assert time.monotonic() - start >= 0.15


def test_settings_for_one_tenant_and_for_all(sandbox: Sandbox) -> None:
    assert sandbox.settings("acme", write_status=200)["write_status"] == 200
    shown = sandbox.control("GET", "settings")
    assert (shown["all"]["write_status"], shown["tenants"]) == (201, {"acme": {"write_status": 200}})
    assert sandbox.control("GET", "settings?tenant=acme")["write_status"] == 200
    assert sandbox.control("GET", "settings?tenant=globex")["write_status"] == 201
    sandbox.settings(list_shape="wrapped", write_status=201)
    assert sandbox.control("GET", "settings?tenant=acme")["write_status"] == 201
    assert sandbox.control("GET", "settings?tenant=globex")["list_shape"] == "wrapped"
    sandbox.settings("acme", list_shape="bare")
    sandbox.reset("acme")
    assert sandbox.control("GET", "settings?tenant=acme")["list_shape"] == "wrapped"


BAD_CONTROLS: list[tuple[str, str, Any, int]] = [
    ("PUT", "settings", {"tenant": "hooli", "read_only": True}, 404),
    ("PUT", "settings", {"readonly": True}, 400),
    ("PUT", "settings", {"read_only": 1}, 400),
    ("PUT", "settings", {"rate_limit": {"requests": 3}}, 400),
    ("PUT", "settings", {"list_shape": "round"}, 400),
    ("PUT", "settings", {"auth_path": "auth"}, 400),
    ("PUT", "settings", [], 400),
    ("POST", "faults", {"kind": "gremlin"}, 400),
    ("POST", "faults", {"kind": "truncate"}, 400),
    ("POST", "faults", {"status": 500}, 400),
    ("POST", "faults", {"kind": "status", "path": "("}, 400),
    ("POST", "faults", {"kind": "status", "tenant": "hooli"}, 404),
    ("POST", "faults", {"kind": "status", "when": "now"}, 400),
    ("POST", "faults", {"kind": "status", "times": 0}, 400),
    ("POST", "reset", {"tenant": "hooli"}, 404),
    ("POST", "check", {"client_id": "x"}, 404),
    ("POST", "agents/acme", {"name": "x"}, 400),
    ("POST", "agents/acme", [{}], 400),
    ("POST", "agents", [], 400),
    ("GET", "state/hooli", None, 404),
    ("GET", "requests?tenant=hooli", None, 404),
    ("GET", "nothing", None, 404),
    ("DELETE", "settings", None, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD_CONTROLS)
def test_control_mistakes_are_told(sandbox: Sandbox, method: str, path: str, body: Any, status: int) -> None:
    before = sandbox.control("GET", "settings")
    with pytest.raises(ControlError, match=f"HTTP {status}: "):
        sandbox.control(method, path, body)
    assert sandbox.control("GET", "settings") == before
    assert sandbox.faults() == []


def test_state_and_check(halo: Client) -> None:
    state = halo.sandbox.state("acme")
    assert [row["id"] for row in state["agents"]] == [1, 3, 4, 5, 6, 7]
    assert "roles" in state["agents"][1]
    assert [row["secret_set"] for row in state["applications"]] == [False, True, True]
    assert state["control"]["loginas_halointegrator"] == 3
    assert halo.tenant["client_secret"] not in str(state)
    check = halo.sandbox.check
    assert check("ACME", halo.tenant["client_id"], halo.tenant["client_secret"]) == {"valid": True, "agent_id": 7}
    assert check("acme", halo.tenant["client_id"], "wrong") == {"valid": False, "agent_id": None}


def test_rows_can_be_put_straight_in(halo: Client) -> None:
    halo.sandbox.settings("acme", unique_names=True, secret_policy="replace", client_id_policy="replace")
    twins = halo.sandbox.put_agents("acme", {"name": "Twin"}, {"name": "Twin", "id": 50, "isdisabled": True})
    assert [row["id"] for row in twins] == [8, 50]
    assert halo.save("Agent", name="next")["id"] == 51
    client_id = str(uuid.uuid4())
    row = {"displayName": "Automation", "clientId": client_id, "clientSecret": "x", "loginas_agent_id": 7}
    twin = {"displayName": "Automation", "system_use": "chat"}
    made = halo.sandbox.put_applications("acme", {**row, "_issystem": True}, twin)
    assert (made[0]["_issystem"], made[1]["system_use"], made[0]["clientSecret"]) == (True, "chat", None)
    assert halo.sandbox.check("acme", client_id, "x")["valid"]
    assert len([app for app in halo.get("Application") if app["displayName"] == "Automation"]) == 3
    assert halo.sandbox.put_agents("acme", {"id": 50, "name": "Renamed"})[0]["isdisabled"] is True


def test_reset_keeps_the_seed_and_other_tenants(sandbox: Sandbox) -> None:
    clients = {name: Client(sandbox, name) for name in ("acme", "globex")}
    before = sandbox.state("acme")
    for halo in clients.values():
        halo.save("Agent", name="x")
        halo.save("Application", id=halo.get("Application")[2]["id"], clientSecret="changed")
        assert halo.token().status_code == 401
    sandbox.reset("acme")
    assert sandbox.state("acme") == before
    assert clients["acme"].raw("GET", "/api/Agent/me").status_code == 401
    assert clients["acme"].token().status_code == 200
    assert clients["globex"].token().status_code == 401
    sandbox.reset()
    assert clients["globex"].token().status_code == 200
    assert Client(sandbox).save("Agent", name="x")["id"] == 8


# Faults


def made_agents(halo: Client) -> int:
    return sum(row["name"] == "x" for row in halo.sandbox.state("acme")["agents"])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("spec", "status", "told"),
    [
        ({"kind": "status"}, 500, lambda answer: "Message" in answer.json()),
        ({"kind": "status", "status": 503}, 503, lambda answer: is_page(answer, 503)),
        ({"kind": "status", "status": 429}, 429, lambda answer: answer.json()["error"].startswith("Rate Limit")),
        (
            {"kind": "status", "status": 401, "body": "no", "headers": {"X-Y": "z"}},
            401,
            lambda answer: (answer.text, answer.headers["X-Y"]) == ("no", "z"),
        ),
        ({"kind": "status", "status": 400, "body": {"a": 1}}, 400, lambda answer: answer.json() == {"a": 1}),
        ({"kind": "html", "status": 502}, 502, lambda answer: is_page(answer, 502)),
        ({"kind": "empty"}, 200, lambda answer: answer.content == b""),
        ({"kind": "empty", "status": 204}, 204, lambda answer: answer.content == b""),
        ({"kind": "garbage"}, 200, lambda answer: not is_json(answer)),
    ],
)
def test_faults_that_answer(
    halo: Client, after: bool, spec: dict[str, Any], status: int, told: Callable[[requests.Response], bool]
) -> None:
    kind = spec["kind"] + ("_after" if after else "")
    number = halo.sandbox.fault(**{**spec, "kind": kind})
    answer = halo.post("Agent", {"name": "x"})
    assert answer.status_code == status
    assert told(answer)
    assert made_agents(halo) == int(after)
    assert [(fault["id"], fault["hits"]) for fault in halo.sandbox.faults()] == [(number, 1)]
    assert halo.sandbox.requests()[-1]["status"] == status
    assert halo.post("Agent", {"name": "x"}).status_code == 201


def is_json(answer: requests.Response) -> bool:
    try:
        answer.json()
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("kind", "made"), [("reset", 0), ("reset_after", 1), ("truncate_after", 1)])
def test_faults_that_cut_the_connection(halo: Client, kind: str, made: int) -> None:
    halo.sandbox.fault(kind)
    with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        halo.post("Agent", {"name": "x"})
    assert made_agents(halo) == made
    assert halo.sandbox.requests()[-1]["status"] is None
    assert halo.sandbox.counts("acme")["POST"] == 1
    assert halo.post("Agent", {"name": "x"}).status_code == 201


def test_truncated_answers_without_a_body_are_cut_too(halo: Client) -> None:
    halo.sandbox.fault("truncate_after")
    with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        halo.raw("GET", "/api/Agent", headers={"Authorization": ""})


@pytest.mark.parametrize("kind", ["delay", "delay_after"])
def test_delay(halo: Client, kind: str) -> None:
    halo.sandbox.fault(kind, seconds=0.3)
    start = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        halo.session.post(halo.tenant["url"] + "/api/Agent", json=[{"name": "x"}], timeout=0.1)
    assert made_agents(halo) == (0 if kind == "delay" else 1)
    # The server goes on although nobody waits any more.
    while not made_agents(halo) and time.monotonic() < start + 5:
        time.sleep(0.05)
    assert made_agents(halo) == 1
    halo.sandbox.fault("delay", seconds=0.2)
    start = time.monotonic()
    assert halo.get("Agent/me")["id"] == 7
    assert time.monotonic() - start >= 0.2


def test_a_delay_ends_with_its_fault(halo: Client) -> None:
    halo.sandbox.fault("delay", seconds=60)
    with pytest.raises(requests.exceptions.ReadTimeout):
        halo.session.post(halo.tenant["url"] + "/api/Agent", json=[{"name": "x"}], timeout=0.1)
    assert made_agents(halo) == 0
    halo.sandbox.control("DELETE", "faults")
    assert made_agents(halo) == 1


@pytest.mark.parametrize("kind", ["reset_late", "html_late"])
def test_what_is_carried_out_when_the_client_has_its_answer(halo: Client, kind: str) -> None:
    halo.sandbox.fault(kind, status=502, seconds=0.2)
    if kind == "reset_late":
        with pytest.raises(requests.exceptions.ConnectionError):
            halo.post("Agent", {"name": "x"})
    else:
        assert halo.post("Agent", {"name": "x"}).status_code == 502
    assert made_agents(halo) == 0
    time.sleep(0.3)
    assert made_agents(halo) == 1


def test_an_answer_byte_by_byte(halo: Client) -> None:
    halo.sandbox.fault("drip_after", seconds=0.002)
    start = time.monotonic()
    answer = halo.raw("GET", "/api/AuthInfo")
    assert answer.json()["tenant_id"] == "acme"
    assert time.monotonic() - start >= 0.002 * len(answer.content)
    halo.sandbox.fault("drip_after", seconds=60)
    with pytest.raises(requests.exceptions.ConnectionError):
        halo.session.post(halo.tenant["url"] + "/api/Agent", json=[{"name": "x"}], timeout=0.1)
    assert made_agents(halo) == 1


def test_an_answer_that_repeats_what_was_sent(halo: Client) -> None:
    halo.sandbox.fault("echo", status=500, edit="upper")
    answer = halo.raw("POST", "/api/Application", json=[{"name": "x", "clientSecret": "s3cret/+"}])
    assert answer.status_code == 500
    assert answer.json()["Message"].startswith("Not with S3CRET/+ BEARER ")
    assert '"NAME": "X"' in answer.json()["Message"]
    halo.sandbox.fault("echo", path="token", status=400, body="no JSON: SENT")
    answer = halo.token(client_secret="s3cret/+")
    assert (answer.status_code, answer.text.startswith("no JSON: s3cret/+ ")) == (400, True)
    assert "client_secret=s3cret%2F%2B" in answer.text


def test_a_packed_answer(halo: Client) -> None:
    halo.sandbox.fault("status", status=200, body="x" * 100_000, headers={"Content-Encoding": "gzip"})
    answer = halo.raw("GET", "/api/AuthInfo")
    assert int(answer.headers["Content-Length"]) < 1000
    assert len(answer.content) == 100_000


def test_edited_answers(halo: Client) -> None:
    def edited(path: str, **spec: Any) -> Any:
        halo.sandbox.fault("edit_after", **spec)
        return halo.get(path)

    me, roles = halo.get("Agent/me"), halo.get("Roles")
    assert edited("Agent/me", edit="list") == [me]
    assert edited("Agent/me", edit="twice") == [me, me]
    assert edited("Agent/me", edit="texts") == {**me, "id": "7", "workday_id": str(me["workday_id"])}
    claims = [{**claim, "id": None} for claim in me["claims"]]
    assert edited("Agent/me", body={"id": None}) == {**me, "id": None, "claims": claims}
    assert edited("Roles", edit="object") == roles[0]
    assert edited("Roles", edit="twice") == roles * 2
    halo.sandbox.settings("acme", list_shape="wrapped")
    assert edited("Roles", edit="twice")["roles"] == roles * 2
    assert {row["id"] for row in edited("Roles", body={"id": "x"})["roles"]} == {"x"}


def test_revoked_tokens(halo: Client) -> None:
    halo.sandbox.fault("revoke", skip=1)
    assert [halo.raw("GET", "/api/Agent/me").status_code for dummy in range(3)] == [200, 401, 401]


def test_a_list_that_lags_behind(halo: Client) -> None:
    def listed() -> bool:
        return any(row["name"] == "x" for row in halo.get("Agent"))

    halo.sandbox.settings("acme", list_lag=2)
    made = halo.save("Agent", name="x")
    assert halo.get(f"Agent/{made['id']}")["name"] == "x"
    assert [listed() for dummy in range(3)] == [False, False, True]
    halo.delete(f"Agent/{made['id']}")
    assert [listed() for dummy in range(3)] == [True, True, False]


def test_an_object_that_is_readable_late(halo: Client) -> None:
    halo.sandbox.settings("acme", read_lag=2)
    made = halo.save("Agent", name="x", email="x@example.com")

    def read() -> tuple[int, str | None]:
        answer = halo.raw("GET", f"/api/Agent/{made['id']}")
        return answer.status_code, answer.json().get("email")

    assert [read() for dummy in range(3)] == [(404, None), (404, None), (200, "x@example.com")]
    assert halo.save("Agent", id=made["id"], email="y@example.com")["email"] == "y@example.com"
    assert read() == (200, "x@example.com")
    assert halo.get("Agent/4")["name"] == "Bianca Rossi"
    halo.delete(f"Agent/{made['id']}")
    assert [read()[0] for dummy in range(3)] == [200, 200, 404]


def test_fault_selection(halo: Client) -> None:
    other = Client(halo.sandbox, "globex")
    halo.sandbox.fault("status", tenant="acme", method="post", path="^/api/application", skip=1, times=2)
    assert halo.post("Agent", {"name": "x"}).status_code == 201
    assert halo.raw("GET", "/api/Application").status_code == 200
    assert other.post("Application", {"displayName": "x"}).status_code == 201
    found = [halo.raw("POST", "/API/Application/", json=[{"displayName": "x"}]).status_code for dummy in range(4)]
    assert found == [201, 500, 500, 201]
    assert halo.sandbox.faults()[0]["hits"] == 2
    halo.sandbox.fault("status", path="/auth/token", status=503, times=None)
    halo.sandbox.fault("status", path="/auth/token", status=502)
    assert [halo.token().status_code for dummy in range(3)] == [503, 503, 503]
    assert other.token().status_code == 503
    halo.sandbox.fault("status", tenant="globex")
    halo.sandbox.control("DELETE", "faults?tenant=globex")
    assert [fault["tenant"] for fault in halo.sandbox.faults()] == ["acme", None, None]
    halo.sandbox.clear()
    assert halo.sandbox.faults() == []
    assert halo.token().status_code == 200


def test_failed_faults_follow_each_other(halo: Client) -> None:
    halo.sandbox.fault("status", status=503)
    halo.sandbox.fault("status", status=502)
    assert [halo.raw("GET", "/api/AuthInfo").status_code for dummy in range(3)] == [503, 502, 200]
