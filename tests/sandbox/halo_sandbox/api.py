# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints below ``/api``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from . import reports
from .answers import Answer, Refused, as_json, page
from .auth import agent_of, login_of
from .records import RECORDS, claims_of, is_administrator, seen
from .tenant import AGENT, APPLICATION, DEPARTMENT, ROLE, TEAM, WORKDAY, Kind, Row, Tenant

_KINDS = {
    "agent": AGENT,
    "application": APPLICATION,
    "roles": ROLE,
    "team": TEAM,
    "workday": WORKDAY,
    "toplevel": DEPARTMENT,
}
# What only an administrator may even read.
_ADMINISTRATION = (APPLICATION, ROLE)
_PAGE_SIZE = 50
_LOOKUPS = {11: ("Not set", "Low", "Medium", "High", "Critical")}
_VERSION = "2.218.4"

Query = Mapping[str, str]


class Request:
    """A request below ``/api``: ``query`` has its names in lower case."""

    def __init__(self, method: str, query: Query, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.query = query
        self.headers = headers
        self.body = body

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.query.get(name)
        return value.lower() in ("true", "1") if value else default

    def integer(self, name: str, default: int) -> int:
        """Raises Refused (400) for anything but a whole number."""
        value = self.query.get(name)
        if not value:
            return default
        return _integer(value, name)

    def array(self) -> list[Any]:
        """The POSTed array. Raises Refused."""
        if self.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, {"title": "Unsupported Media Type", "status": 415})
        try:
            sent = json.loads(self.body)
        except ValueError:
            raise Refused(400, {"$": ["The body is not valid JSON."]}) from None
        if not isinstance(sent, list) or not sent:
            raise Refused(400, {"$": ["The JSON value could not be converted: an array of objects is expected."]})
        return sent


def answer(tenant: Tenant, parts: list[str], request: Request, base: str) -> Answer:
    """Answer a request for ``/api/`` and then *parts* (lower case). *base*: the tenant's own URL."""
    try:
        if parts == ["authinfo"] and request.method == "GET":
            return as_json(200, {"auth_url": base + tenant.settings["auth_path"], "tenant_id": tenant.name})
        if parts == ["control"]:
            return _control(tenant, request)
        if parts == ["report"]:
            _only(request, "POST")
            agent = agent_of(tenant, request.headers, tenant.settings["administration"] == "scope")
            with tenant.store.transaction():
                return as_json(200, reports.run(tenant, agent, request.array()[0]))
        if parts in (["instanceinfo"], ["lookup"]):
            _only(request, "GET")
            agent_of(tenant, request.headers, False)
            return as_json(200, _instance(tenant, base) if parts == ["instanceinfo"] else _lookup(request))
        if parts[0] in RECORDS and len(parts) == 1:
            return _records(tenant, parts[0], request)
        if parts[0] in _KINDS and len(parts) <= 2:
            return _objects(tenant, _KINDS[parts[0]], parts[1] if len(parts) == 2 else None, request)
    except Refused as refused:
        if refused.text is not None and tenant.settings["refusal_shape"] == "string":
            return as_json(400, refused.text)
        return refused.answer
    return page(404)


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        text = f"The requested resource does not support http method '{request.method}'."
        raise Refused(405, {"Message": text})


def _integer(value: str, name: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise Refused(400, {name: [f"The value '{value}' is not valid."]}) from None


def _instance(tenant: Tenant, base: str) -> Row:
    agents = tenant.rows("agent").values()
    licensed = [agent for agent in agents if not agent["isapiagent"] and not agent["isdisabled"] and agent["id"] != 1]
    return {
        "app_name": "HaloPSA",
        "app_version": _VERSION,
        "agent_count": len(agents),
        "licensed_agent_count": len(licensed),
        "agent_url": base,
        "portal_url": f"{base}/portal",
        "auth_url": base + tenant.settings["auth_path"],
    }


def _lookup(request: Request) -> list[Row]:
    number = request.integer("lookupid", 0)
    return [{"id": row, "name": name, "lookupid": number} for row, name in enumerate(_LOOKUPS.get(number, ()), 1)]


def _records(tenant: Tenant, name: str, request: Request) -> Answer:
    _only(request, "GET")
    number, scopes = login_of(tenant, request.headers)
    agent = tenant.row("agent", number)
    if agent is None:
        raise Refused(401)
    record = RECORDS[name]
    return _paged(tenant, seen(tenant, record, agent, scopes), record.plural, request)


def _control(tenant: Tenant, request: Request) -> Answer:
    _only(request, "GET", "POST")
    agent_of(tenant, request.headers, request.method == "POST")
    if request.method == "GET":
        return as_json(200, tenant.control())
    with tenant.store.transaction():
        saved = [tenant.save_control(row, index) for index, row in enumerate(request.array())]
    return _saved(tenant, saved)


def _saved(tenant: Tenant, saved: list[Row]) -> Answer:
    alone = len(saved) == 1 and tenant.settings["answer_shape"] == "object"
    return as_json(tenant.settings["write_status"], saved[0] if alone else saved)


def _objects(tenant: Tenant, kind: Kind, number: str | None, request: Request) -> Answer:
    _only(request, *(("GET", "POST") if number is None else ("GET", "DELETE")))
    administers = kind in _ADMINISTRATION or request.method != "GET"
    agent = agent_of(tenant, request.headers, administers and tenant.settings["administration"] == "scope")
    if request.method == "POST":
        with tenant.store.transaction():
            saved = [tenant.save(kind, row, index) for index, row in enumerate(request.array())]
        return _saved(tenant, saved)
    if number is None:
        rows = [row for row in tenant.listed(kind).values() if _LISTED.get(kind.name, _every)(tenant, row, request)]
        return _list(tenant, kind, rows, request)
    if kind is AGENT and number == "me":
        found = tenant.row("agent", agent)
        if found is None:
            raise Refused(401)
        claims = [claim for claim in claims_of(tenant, found) if claim["type"] != "SA"]
        administration = {"type": "Administration", "value": str(is_administrator(claims_of(tenant, found))).lower()}
        return as_json(200, {**tenant.view(kind, found, False), "claims": [administration, *claims]})
    identity = number if kind.guid else _integer(number, "id")
    found = tenant.read(kind, identity) if request.method == "GET" else tenant.row(kind.name, identity)
    if found is None:
        raise Refused(404, {"Message": f"The {kind.name} with ID {number} was not found."})
    if request.method == "DELETE":
        with tenant.store.transaction():
            return as_json(200, tenant.delete(kind, found))
    details = request.flag("includedetails") or (kind is TEAM and request.flag("includeagents"))
    return as_json(200, tenant.view(kind, found, details))


def _list(tenant: Tenant, kind: Kind, rows: list[Row], request: Request) -> Answer:
    return _paged(tenant, rows, kind.plural, request, lambda row: tenant.list_row(kind, row))


def _paged(
    tenant: Tenant, rows: list[Row], plural: str, request: Request, shown: Callable[[Row], Row] = lambda row: row
) -> Answer:
    count = len(rows)
    shape = tenant.settings["list_shape"]
    if request.flag("pageinate") or shape == "paged":
        number = max(1, request.integer("page_no", 1))
        size = min(tenant.settings["longest_page"], max(1, request.integer("page_size", _PAGE_SIZE)))
        rows = rows[(number - 1) * size : number * size]
        wrapping: Row | None = {"record_count": count, "page_no": number, "page_size": size}
    else:
        # top levels come with their count in any case
        wrapping = None if shape == "bare" and plural != DEPARTMENT.plural else {"record_count": count}
    page_of = [shown(row) for row in rows]
    if wrapping is None:
        return as_json(200, page_of)
    return as_json(200, {**wrapping, "results" if shape == "results" else plural: page_of})


# Filters of the lists


def _every(_tenant: Tenant, _row: Row, _request: Request) -> bool:
    return True


def _listed_agent(tenant: Tenant, row: Row, request: Request) -> bool:
    if row["id"] == 1 and not request.flag("includeunassigned"):
        return False
    shows = not tenant.settings["hidden_agents"]
    if row["isapiagent"] and not request.flag("includeapiagents", shows):
        return False
    if not (request.flag("includedisabled", shows) if row["isdisabled"] else request.flag("includeenabled", True)):
        return False
    wanted = request.query.get("search", "").strip().casefold()
    if wanted and wanted not in row["name"].casefold() and wanted not in (row["email"] or "").casefold():
        return False
    if request.query.get("team") and request.query["team"].casefold() != (row["team"] or "").casefold():
        return False
    role = request.integer("role", 0)
    if role:
        roles = tenant.rows("role")
        if role not in [roles[number]["id_int"] for number in row["roles"] if number in roles]:
            return False
    team = request.integer("team_id", 0)
    return not team or team in [member["team_id"] for member in row["teams"]]


def _listed_team(_tenant: Tenant, row: Row, request: Request) -> bool:
    if not (request.flag("includedisabled") if row["inactive"] else request.flag("includeenabled", True)):
        return False
    department = request.integer("department_id", 0)
    return not department or department == row["department_id"]


_LISTED: dict[str, Callable[[Tenant, Row, Request], bool]] = {"agent": _listed_agent, "team": _listed_team}
