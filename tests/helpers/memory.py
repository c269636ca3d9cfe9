# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Halo in memory, in the place of a transport: no server, no rules but those that the collection counts on."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from ansible_collections.haloops.halo.plugins.module_utils.auth import Connection, Login
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.http import Response

Row = dict[str, Any]
Reply = Callable[[], Response]

OWN_ID, OWN_SECRET = "0b1e7a52-own", "own-s3cret"
OPTIONS: dict[str, Any] = {
    "halo_url": "https://acme.example.com",
    "halo_tenant": None,
    "halo_client_id": OWN_ID,
    "halo_client_secret": OWN_SECRET,
    "halo_access_token": None,
    "halo_auth_url": None,
    "halo_scope": "all",
    "halo_validate_certs": True,
    "halo_ca_path": None,
    "halo_timeout": 10,
    "halo_retry_seconds": 0,
}
ROLES = [{"id": "r-1", "name": "Admin", "id_int": 1}, {"id": "r-2", "name": "Reader", "id_int": 2}]
TEAMS = [
    {"id": 1, "name": "Support"},
    {"id": 2, "name": "Projects"},
    {"id": 5, "name": "Ops"},
    {"id": 6, "name": "Ops"},
]
MEMBER = {"in_section": True, "unassigned_access": True, "otheragent_access": True, "is_manager": False}


def answer(data: Any = None, status: int = 200) -> Response:
    """A response with this JSON; None for an empty body."""
    text = "" if data is None else data if isinstance(data, str) else json.dumps(data)
    return Response(status=status, data=data, text=text, is_json=True, location="")


class Halo:
    """Agents and applications by id; ``requests`` is what came, ``disturb`` changes what is answered."""

    def __init__(self) -> None:
        self.agents: dict[Any, Row] = {}
        self.applications: dict[Any, Row] = {}
        self.control: Row = {
            "id": 1,
            "loginas_halointegrator": 3,
            "client_id_halointegrator": "i-1",
            "hashostedintegrator": False,
        }
        self.me = 7
        # of roles, by id; None where Halo does not say them
        self.claims: dict[str, list[Row] | None] = {}
        self.requests: list[str] = []
        self.sent: list[Row] = []
        self.query: dict[str, Any] = {}
        self._disturbances: list[tuple[re.Pattern[str], Any, list[int]]] = []
        self.agent(3, "Admin", isapiagent=None, roles=["r-1"])
        self.agent(7, "api-own")
        self.application("a-own", "Automation", clientId=OWN_ID, loginas_agent_id=7)

    def client(self, **options: Any) -> Client:
        """A client of this Halo, which logs in as the application Automation."""
        connection = Connection.from_params({**OPTIONS, **options})
        return Client(self, Login(connection, self))  # type: ignore[arg-type]

    def agent(self, number: int, name: str, **more: Any) -> Row:
        held = more.pop("roles", [])
        roles = [dict(role) for role in ROLES if role["id"] in held]
        row = {"id": number, "name": name, "email": None, "isapiagent": True, "isdisabled": False, "team": None}
        self.agents[number] = {**row, "roles": roles, "teams": [], **more}
        return self.agents[number]

    def application(self, number: str, name: str, **more: Any) -> Row:
        row = {"id": number, "displayName": name, "clientId": f"c-{number}", "inactive": False, "loginas_agent_id": 0}
        row |= {"grant_type": "client_credentials", "allowagents": True, "scopes": [{"id": 1, "name": "all"}]}
        self.applications[number] = {**row, **more}
        return self.applications[number]

    def disturb(self, request: str, reply: Any, times: int = 1, skip: int = 0) -> None:
        """Answer ``reply`` (a Response, or a function that gives one) to the next requests that match."""
        self._disturbances.append((re.compile(request), reply, [skip, times]))

    def send(self, method: str, url: str, *, path: str, body: Any = None, query: Any = None, **_more: Any) -> Response:
        """The transport's part."""
        self.query = dict(query or {})
        request = f"{method} {path}"
        self.requests.append(request)
        for pattern, reply, counts in self._disturbances:
            if pattern.fullmatch(request) and counts[1] > 0:
                counts[0] -= 1
                if counts[0] < 0:
                    counts[1] -= 1
                    return reply() if callable(reply) else reply
        return copy.deepcopy(self._serve(method, path, body))

    @property
    def reads(self) -> list[str]:
        return [request for request in self.requests if request.startswith("GET")]

    @property
    def writes(self) -> list[str]:
        return [request for request in self.requests if not request.startswith("GET") and "/token" not in request]

    def _serve(self, method: str, path: str, body: Any) -> Response:
        if path == "/token":
            return answer({"access_token": "t0ken", "scope": "all", "expires_in": 3600})
        if path == "/Agent/me":
            shown = {name: self.agents[self.me][name] for name in ("id", "name", "isapiagent")}
            return answer(shown | {"claims": claims} if (claims := self.agents[self.me].get("claims")) else shown)
        if path == "/Roles":
            return answer(ROLES)
        if path == "/Team":
            # those in use and those that are not, each on request
            both = all(self.query.get(name) == "true" for name in ("includeenabled", "includedisabled"))
            return answer(TEAMS if both else [])
        if path.startswith("/Roles/"):
            number = path.rpartition("/")[2]
            return answer({"id": number, "claims": self.claims.get(number, [])})
        if path == "/Control":
            if method == "POST":
                self.sent.append(body[0])
                self.control.update(body[0])
            return answer({**self.control, "client_secret_halointegrator": None})
        kind, _slash, number = path.strip("/").partition("/")
        rows = {"Agent": self.agents, "Application": self.applications}[kind]
        if not number:
            if method == "POST":
                self.sent.append(body[0])
                return answer(self._save(kind, rows, body[0]), 201)
            return answer([self._list_row(row) for row in rows.values() if self._is_listed(kind, row)])
        key = next((key for key in rows if str(key) == number), None)
        if key is None:
            return answer({"Message": "not found"}, 404)
        if method == "DELETE":
            return answer(rows.pop(key))
        details = set() if self.query.get("includedetails") == "true" else {"roles", "teams", "scopes"}
        return answer({name: value for name, value in self._shown(rows[key]).items() if name not in details})

    def _save(self, kind: str, rows: dict[Any, Row], sent: Row) -> Row:
        number = sent.get("id")
        if number is None:
            if kind == "Agent":
                number = self.agent(max(rows) + 1, sent["name"])["id"]
            else:
                number = self.application(f"a-{len(rows) + 1}", "", scopes=[])["id"]
        row = rows[number]
        row.update(copy.deepcopy(sent))
        for role in row.get("roles", []):
            role.update(next(known for known in ROLES if known["id"] == role["id"]))
        for team in row.get("teams", []):
            team["team_name"] = next(known["name"] for known in TEAMS if known["id"] == team["team_id"])
        return self._shown(row)

    def _shown(self, row: Row) -> Row:
        row = {**row, **({"clientSecret": None} if "clientId" in row else {})}
        if row.get("loginas_agent_id"):
            row["loginas_agent_name"] = self.agents.get(row["loginas_agent_id"], {}).get("name")
        return row

    def _is_listed(self, kind: str, row: Row) -> bool:
        """Agents that are disabled, or for programs alone, are listed on request."""
        names = [
            name for name, on in (("includedisabled", "isdisabled"), ("includeapiagents", "isapiagent")) if row.get(on)
        ]
        return kind != "Agent" or all(self.query.get(name) == "true" for name in names)

    def _list_row(self, row: Row) -> Row:
        shown = self._shown(row)
        if "roles" in shown:
            shown["role_list"] = ", ".join(role["name"] for role in shown.pop("roles"))
        shown.pop("scopes", None)
        return shown
