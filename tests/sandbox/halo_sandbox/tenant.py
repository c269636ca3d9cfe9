# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of Halo for one tenant: what is stored when something is saved, and what is shown of it."""

from __future__ import annotations

import base64
import datetime
import hashlib
import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import fields
from .answers import Refused, exception, message
from .seed import new_application
from .store import Store

Row = dict[str, Any]
LONGEST_NAME = 255
# what a member of a team may do, besides the kinds of work
SWITCHES = ("in_section", "unassigned_access", "otheragent_access", "is_manager")
CLIENT_CREDENTIALS = "client_credentials"


@dataclass(frozen=True)
class Kind:
    """A kind of object: how it is named in the store and in lists, what its ids are, which property is its name."""

    name: str
    plural: str
    table: dict[str, str]
    guid: bool = False
    title: str = "name"


AGENT = Kind("agent", "agents", fields.AGENT)
APPLICATION = Kind("application", "applications", fields.APPLICATION, guid=True, title="displayName")
ROLE = Kind("role", "roles", fields.ROLE, guid=True)
TEAM = Kind("team", "teams", fields.TEAM)
WORKDAY = Kind("workday", "workdays", fields.WORKDAY)
DEPARTMENT = Kind("department", "toplevels", fields.DEPARTMENT)

# Computed when read, or the server's own: ignored when a client sends them.
_READ_ONLY = {
    "agent": {"role_list", "is_agent", "is_admin", "workday_name", "use", "datecreated", "last_modified"},
    "application": {
        "loginas_agent_name",
        "_issystem",
        "system_use",
        "concurrencyToken",
        "creation_date",
        "createdby_agent",
        "createdby_agent_id",
        "type",
        "consentType",
        "tokens",
        "authorizations",
    },
    "role": {"id_int", "normalizedName", "concurrencyStamp"},
    "team": {"guid", "department_name", "org_team_name", "agents"},
    "workday": {"guid"},
    "department": {"guid", "organisation_name", "org_department_name", "long_name"},
}

_NEW: dict[str, Callable[[], Row]] = {
    "agent": lambda: {
        "email": None,
        "isdisabled": False,
        "isapiagent": False,
        "team": None,
        "workday_id": 1,
        "licence_type": 0,
        "roles": [],
        "teams": [],
        "departments": [],
        "datecreated": _now(),
    },
    "application": lambda: {**new_application(), "creation_date": _now()},
    "role": lambda: {"claims": []},
    "team": lambda: {
        "guid": str(uuid.uuid4()),
        "department_id": 1,
        "sequence": 0,
        "inactive": False,
        "forrequests": True,
        "foropps": False,
        "forprojects": False,
    },
    "workday": lambda: {
        "guid": str(uuid.uuid4()),
        "timezone": "GMT Standard Time",
        "start": "1900-01-01T09:00:00",
        "end": "1900-01-01T17:30:00",
        "alldayssame": True,
    },
    "department": lambda: {"guid": str(uuid.uuid4()), "organisation_id": 1},
}

_LOGIN_FIELDS = ("loginas_agent_id", "allowagents", "allowusers", "loginentity")
# list property -> its mirror, the values joined by spaces
_MIRRORS = {
    "redirecturi_list": "redirecturi",
    "postlogoutredirecturi_list": "logoutredirecturi",
    "cors_whitelist_list": "cors_whitelist",
}
_AGENT_DETAILS = ("roles", "teams", "departments")
_AGENT_SUMMARY = frozenset(fields.AGENT) - {
    "datecreated",
    "last_modified",
    "workhour_start",
    "workhour_end",
    "lunchbreak",
}
_APPLICATION_SUMMARY = {*fields.APPLICATION, "tokens", "authorizations"} - {"scopes", *_MIRRORS}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _new_secret(form: str) -> str:
    return f"{uuid.uuid4()}-{uuid.uuid4()}" if form == "guids" else secrets.token_urlsafe(32)


def _issued(application: Row) -> Row:
    """What Halo keeps of the tokens of an application, and sends with it: references and payloads among it.

    Always the same for one application, so that reading it twice is no change.
    """
    digest = hashlib.sha256(application["id"].encode()).digest()
    reference = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    subject = str(application["loginas_agent_id"])
    token = {
        "id": str(uuid.UUID(bytes=digest[:16], version=4)),
        "referenceId": reference,
        "payload": f"eyJhbGciOiJSUzI1NiJ9.payload-{reference}",
        "status": "valid",
        "subject": subject,
        "type": "access_token",
    }
    authorization = {"id": str(uuid.UUID(bytes=digest[16:], version=4)), "status": "valid", "subject": subject}
    return {"tokens": [token], "authorizations": [{**authorization, "tokens": [token]}]}


class Tenant:
    """One tenant, for one request."""

    def __init__(self, store: Store, name: str, settings: dict[str, Any]) -> None:
        store.prepare(name)
        self.store = store
        self.name = name
        self.settings = settings

    # Reading

    def rows(self, kind: str) -> dict[Any, Row]:
        """All documents of a kind by id. Not to be changed."""
        return self.store.rows(self.name, kind)

    def row(self, kind: str, number: int | str) -> Row | None:
        return self.rows(kind).get(number)

    def listed(self, kind: Kind) -> dict[Any, Row]:
        """The documents that a list shows, which may lag behind. Not to be changed."""
        lags = self.settings["list_lag"]
        return self.store.listed(self.name, kind.name) if lags else self.rows(kind.name)

    def read(self, kind: Kind, number: int | str) -> Row | None:
        """The document that a read by its id shows, which may lag behind."""
        return self.store.read(self.name, kind.name, number)

    def view(self, kind: Kind, row: Row, details: bool) -> Row:
        """What is sent of a document: the full object, or without its inner lists."""
        shown: Row = getattr(self, f"_show_{kind.name}")(row, details)
        return shown

    def list_row(self, kind: Kind, row: Row) -> Row:
        """What is sent of a document in a list."""
        shown = self.view(kind, row, False)
        if kind is AGENT:
            shown |= {"teams": self._memberships(row), "departments": self._departments(row)}
        return shown

    def _show_agent(self, row: Row, details: bool) -> Row:
        roles = [role for role in (self.rows("role").get(number) for number in row["roles"]) if role]
        workday = self.rows("workday").get(row["workday_id"])
        shown = {name: value for name, value in row.items() if name not in _AGENT_DETAILS}
        first, _space, last = row["name"].partition(" ")
        shown = {
            "firstname": first,
            "surname": last,
            "initials": (first[:1] + last[:1]).upper(),
            "colour": "#2bd3c6",
            **shown,
            "isapiagent": shown["isapiagent"] or (None if self.settings["null_isapiagent"] else False),
            "role_list": ", ".join(role["name"] for role in roles),
            "workday_name": workday and workday["name"],
            "is_agent": True,
            "use": "agent",
        }
        if not details:
            return {name: value for name, value in shown.items() if name in _AGENT_SUMMARY}
        shown["roles"] = [{"id": role["id"], "name": role["name"], "id_int": role["id_int"]} for role in roles]
        shown["teams"] = self._memberships(row)
        shown["departments"] = self._departments(row)
        shown["is_admin"] = any(role["name"] == "Administrator" for role in roles)
        return shown

    def _memberships(self, row: Row) -> list[Row]:
        teams = self.rows("team")
        found = ((member, teams.get(member["team_id"])) for member in row["teams"])
        return [
            {
                **member,
                "agent_id": row["id"],
                "agent_name": row["name"],
                "team_guid": team["guid"],
                "team_name": team["name"],
                "department_id": team["department_id"],
            }
            for member, team in found
            if team
        ]

    def _departments(self, row: Row) -> list[Row]:
        departments = self.rows("department")
        found = ((member, departments.get(member["department_id"])) for member in row["departments"])
        return [
            {**member, "agent_id": row["id"], "agent_name": row["name"], "department_name": department["name"]}
            for member, department in found
            if department
        ]

    def _show_application(self, row: Row, details: bool) -> Row:
        agent = self.row("agent", row["loginas_agent_id"])
        shown = {
            **row,
            "clientSecret": self.settings["secret_mask"],
            "loginas_agent_name": agent["name"] if agent else "",
        }
        for name, mirror in _MIRRORS.items():
            shown[mirror] = " ".join(entry["value"] for entry in row[name])
        if self.settings["token_arrays"]:
            shown |= _issued(row)
        if not details:
            return {name: value for name, value in shown.items() if name in _APPLICATION_SUMMARY}
        shown["scopes"] = [{**scope, "application_id": row["id"]} for scope in row["scopes"]]
        return shown

    def _show_role(self, row: Row, details: bool) -> Row:
        shown = {**row, "normalizedName": row["name"].upper(), "is_integration": False}
        return shown if details else {name: value for name, value in shown.items() if name != "claims"}

    def _show_team(self, row: Row, details: bool) -> Row:
        department = self.row("department", row["department_id"])
        name = department["name"] if department else ""
        shown = {**row, "department_name": name, "org_team_name": f"{name} - {row['name']}"}
        if details:
            members = (self._memberships(agent) for agent in self.rows("agent").values())
            shown["agents"] = [member for found in members for member in found if member["team_id"] == row["id"]]
        return shown

    def _show_workday(self, row: Row, details: bool) -> Row:
        return row

    def _show_department(self, row: Row, details: bool) -> Row:
        return {**row, "organisation_name": "Head Office", "org_department_name": row["name"], "long_name": row["name"]}

    # The Integrator's part of Control is a view of the Integrator's application, so that its rules are those of every
    # other application.

    def control(self) -> Row:
        number, client_id = self.store.seed.integrator(self.name)
        application = self.row("application", number)
        assert application is not None  # a system application cannot be deleted
        return {
            **(self.row("control", 1) or {}),
            "client_id_halointegrator": client_id,
            "client_secret_halointegrator": self.settings["secret_mask"],
            "loginas_halointegrator": application["loginas_agent_id"],
            "hashostedintegrator": self.settings["hosted_integrator"],
        }

    def save_control(self, sent: Any, index: int) -> Row:
        """Save one element of an array POSTed to Control. Raises Refused."""
        stored = self.row("control", 1) or {}
        given = fields.read(sent, index, fields.CONTROL, stored)
        application: Row = {"id": self.store.seed.integrator(self.name)[0]}
        for name, target in (
            ("loginas_halointegrator", "loginas_agent_id"),
            ("client_secret_halointegrator", "clientSecret"),
        ):
            if name in given:
                application[target] = given[name]
        saved = self.save(APPLICATION, application, index)
        own = {name: value for name, value in given.items() if name not in fields.CONTROL}
        self.store.put(self.name, "control", 1, {**stored, **own})
        answer = self.control()
        if self.settings["secret_policy"] == "replace" and "clientSecret" in application:
            answer["client_secret_halointegrator"] = saved["clientSecret"]
        return answer

    # Writing

    def save(self, kind: Kind, sent: Any, index: int, direct: bool = False) -> Row:
        """Save one element of a POSTed array: create without an id, update with one.

        *direct*: put in by a test; any id may be created, names may repeat, the policies of the settings do not count.
        Returns the full object as it is answered. Raises Refused; the caller takes the transaction back.
        """
        given = fields.read(sent, index, kind.table, None)
        number = given.pop("id", None) or None
        if kind.guid and number:
            number = number.lower()
        stored = self.row(kind.name, number) if number else None
        if stored:
            given = fields.read(sent, index, kind.table, stored)
            del given["id"]
        elif number and not direct:
            raise message(f"The {kind.name} with ID {number} does not exist.")
        given = {
            name: value
            for name, value in given.items()
            if name not in fields.WRITE_ONLY and (direct or name not in _READ_ONLY[kind.name])
        }
        self._check_title(kind, given, stored, index, direct)
        if not number:
            number = str(uuid.uuid4()) if kind.guid else self.store.next_number(self.name, kind.name)
        elif not stored and isinstance(number, int):
            self.store.raise_number(self.name, kind.name, number)
        row = {"id": number, **(stored or _NEW[kind.name]())}
        if not direct:
            self._lag(kind, number)
        saving = getattr(self, f"_save_{kind.name}", None)
        extra = saving(row, given, stored is None, direct) if saving else {}
        row.update(given)
        self.store.put(self.name, kind.name, number, row)
        return {**self.view(kind, row, True), **extra}

    def delete(self, kind: Kind, row: Row) -> Row:
        """Remove a document; returns the full object as it was. Raises Refused."""
        if kind is APPLICATION:
            if row["_issystem"] or row["system_use"]:
                raise message("System applications cannot be deleted.")
            self.store.drop_secret(self.name, row["id"])
        if kind is AGENT and self.settings["agent_in_use"] == "refuse":
            users = [other for other in self.rows("application").values() if other["loginas_agent_id"] == row["id"]]
            if users:
                raise message("This agent is in use and cannot be deleted.")
        shown = self.view(kind, row, True)
        self._lag(kind, row["id"])
        if kind is AGENT and self.settings["agent_delete"] == "soft":
            self.store.put(self.name, kind.name, row["id"], {**row, "isdisabled": True})
        else:
            self.store.remove(self.name, kind.name, row["id"])
        return shown

    def _lag(self, kind: Kind, number: int | str) -> None:
        if self.settings["list_lag"]:
            self.store.lag(self.name, kind.name, self.settings["list_lag"])
        if self.settings["read_lag"]:
            self.store.lag_one(self.name, kind.name, number, self.settings["read_lag"])

    def _check_title(self, kind: Kind, given: Row, stored: Row | None, index: int, direct: bool) -> None:
        title = given.get(kind.title)
        if title is None and stored:
            return
        if not title:
            raise Refused(400, {f"[{index}].{kind.title}": [f"The {kind.title} field is required."]})
        if self.settings["longest_name"] and not direct:
            title = given[kind.title] = title[: self.settings["longest_name"]].strip()
        if len(title) > LONGEST_NAME:
            raise exception("String or binary data would be truncated. The statement has been terminated.")
        if self.settings["unique_names"] and not direct:
            wanted = fields.fold(title)
            for number, row in self.rows(kind.name).items():
                if fields.fold(row[kind.title]) == wanted and number != (stored or {}).get("id"):
                    raise message(f"The {kind.name} {title} already exists.")

    def _save_role(self, row: Row, given: Row, new: bool, direct: bool) -> Row:
        if new:
            given["id_int"] = self.store.next_number(self.name, "role")
        if "claims" in given:
            claims = [_claim(item, number) for number, item in enumerate(given["claims"])]
            if self.settings["role_claims"] == "merge":
                sent = {claim["type"] for claim in claims}
                claims = [*(claim for claim in row["claims"] if claim["type"] not in sent), *claims]
            given["claims"] = claims
        return {}

    def _save_agent(self, row: Row, given: Row, new: bool, direct: bool) -> Row:
        if "email" in given:
            given["email"] = given["email"].lower() or None
        if not direct:
            self._check_email(row, given, new)
        if "team" in given:
            given["team"] = self._team(name=given["team"])["name"] if given["team"] else None
        roles = list(row["roles"])
        if "roles" in given:
            sent = self._role_ids(given.pop("roles"))
            roles = [*roles, *sent] if self.settings["inner_lists"] == "merge" else sent
        added = self._role_ids(given.pop("add_roles", []))
        given["roles"] = list(dict.fromkeys([*roles, *added]))
        if "teams" in given:
            before = {member["team_id"]: member for member in row["teams"]}
            given["teams"] = [self._member("team_id", item, before) for item in self._wanted_teams(given["teams"])]
            if self.settings["inner_lists"] == "merge":
                sent = {member["team_id"] for member in given["teams"]}
                given["teams"] = [*(one for one in row["teams"] if one["team_id"] not in sent), *given["teams"]]
        if "departments" in given:
            before = {member["department_id"]: member for member in row["departments"]}
            wanted = self._wanted_departments(given["departments"])
            given["departments"] = [self._member("department_id", item, before) for item in wanted]
        given["last_modified"] = _now()
        return {}

    def _check_email(self, row: Row, given: Row, new: bool) -> None:
        email = given.get("email")
        if new and not email and self.settings["agent_needs_email"]:
            raise message("Please enter an email address for this agent.")
        others = {other["email"] for other in self.rows("agent").values() if other["id"] != row["id"]}
        if email and email in others and self.settings["unique_emails"]:
            raise message("An agent with this email address already exists.")

    def _role_ids(self, sent: list[Row]) -> list[str]:
        roles = self.rows("role")
        found = []
        for item in map(fields.lowered, sent):
            number = str(item.get("id", "")).lower()
            if number not in roles:
                raise message(f"The role with ID {number or '(none)'} does not exist.")
            found.append(number)
        return found

    def _team(self, number: Any = None, name: Any = None) -> Row:
        # Of several teams with the name the oldest is taken, without a word.
        for row in self.rows("team").values():
            if row["id"] == number if number else fields.fold(row["name"]) == fields.fold(str(name or "")):
                return row
        raise message(f"The team {number or name or '(none)'} does not exist.")

    def _wanted_teams(self, sent: list[Row]) -> Iterable[Row]:
        wanted: dict[int, Row] = {}
        for item in map(fields.lowered, sent):
            team = self._team(item.get("team_id"), item.get("team_name"))
            wanted[team["id"]] = {
                "team_id": team["id"],
                **{name: item[name] for name in ("fortickets", "foropps", "forprojects") if name in item},
                # whether Halo takes a missing switch for off is not known: the worse case is assumed
                **{name: bool(item.get(name, self.settings["member_switches"] == "on")) for name in SWITCHES},
            }
        return wanted.values()

    def _wanted_departments(self, sent: list[Row]) -> Iterable[Row]:
        wanted: dict[int, Row] = {}
        for item in map(fields.lowered, sent):
            number = item.get("department_id")
            if not isinstance(number, int) or number not in self.rows("department"):
                raise message(f"The department with ID {number or '(none)'} does not exist.")
            wanted[number] = {"department_id": number}
        return wanted.values()

    def _member(self, key: str, wanted: Row, before: dict[int, Row]) -> Row:
        if wanted[key] in before:
            return {**before[wanted[key]], **wanted}
        return {"id": self.store.next_number(self.name, "membership"), **wanted}

    def _save_application(self, row: Row, given: Row, new: bool, direct: bool) -> Row:
        """Returns what the answer says beyond the object: the secret, when the server made one."""
        secret = given.pop("clientSecret", None)
        replace = not direct and self.settings["secret_policy"] == "replace"
        if new:
            sent = "" if not direct and self.settings["client_id_policy"] == "replace" else given.get("clientId")
            given["clientId"] = sent or str(uuid.uuid4())
        elif not given.get("clientId", True):
            del given["clientId"]
        login_changed = not new and any(given.get(name, row[name]) != row[name] for name in _LOGIN_FIELDS)
        agent = given.get("loginas_agent_id")
        if agent and not direct and agent != row["loginas_agent_id"] and not self.row("agent", agent):
            raise message(f"The agent with ID {agent} does not exist.")
        if "scopes" in given:
            before = {scope["name"]: scope["id"] for scope in row["scopes"]}
            kept = row["scopes"] if self.settings["inner_lists"] == "merge" else []
            given["scopes"] = self._scopes([*kept, *given["scopes"]], before)
        for name, mirror in _MIRRORS.items():
            values = [{"value": value} for value in given.pop(mirror).split()] if mirror in given else None
            values = given.get(name, values)
            if values is not None:
                given[name] = _pairs(values)
        given["concurrencyToken"] = str(uuid.uuid4())
        answer: Row = {}
        if replace and (secret or new):
            secret = answer["clientSecret"] = _new_secret(self.settings["secret_form"])
        killed = login_changed and self.settings["agent_change"] == "kill"
        if secret:
            if self.settings["old_secret"] == "alive":
                self.store.keep_secret(self.name, row["id"])
            self.store.set_secret(self.name, row["id"], secret)
        elif not new and (killed or self.settings["bare_update"] == "kill"):
            self.store.drop_secret(self.name, row["id"])
        if not new and (secret or given.get("inactive")) and self.settings["tokens"] == "end":
            self.store.drop_tokens(self.name)
        return answer

    def _scopes(self, sent: list[Row], before: dict[str, int]) -> list[Row]:
        names = {str(item.get("name") or "") for item in map(fields.lowered, sent)} - {""}
        return [
            {"id": before.get(name) or self.store.next_number(self.name, "scope"), "name": name}
            for name in sorted(names)
        ]

    # Logging in

    def login(self, client_id: str, client_secret: str) -> tuple[Row, Row] | None:
        """The application and its login agent, if the credentials are good now; otherwise None."""
        wanted = client_id.lower()
        for application in self.rows("application").values():
            if application["clientId"].lower() != wanted or application["inactive"]:
                continue
            if not self.store.secret_is(self.name, application["id"], client_secret):
                continue
            agent = self.row("agent", application["loginas_agent_id"])
            if agent and not agent["isdisabled"]:
                return application, agent
        return None

    def state(self) -> Row:
        """Everything that a test may want to see: full objects, no secret and no hash."""
        control = self.control()
        integrator = self.store.seed.integrator(self.name)[0]
        return {
            "agents": [self.view(AGENT, row, True) for row in self.rows("agent").values()],
            "applications": [
                {**self.view(APPLICATION, row, True), "secret_set": self.store.secret_is(self.name, row["id"], None)}
                for row in self.rows("application").values()
            ],
            "roles": [self.view(ROLE, row, True) for row in self.rows("role").values()],
            "control": {**control, "secret_set": self.store.secret_is(self.name, integrator, None)},
        }


def _claim(sent: Row, number: int) -> Row:
    item = fields.lowered(sent)
    if not all(isinstance(item.get(name), str) and item[name] for name in ("type", "value")):
        raise Refused(400, {f"claims[{number}]": ["A claim has a type and a value, which are strings."]})
    return {"type": item["type"], "value": item["value"]}


def _pairs(sent: list[Row]) -> list[Row]:
    pairs = {}
    for item in map(fields.lowered, sent):
        value = str(item.get("value") or "")
        if value:
            pairs[value] = {"value": value, "label": str(item.get("label") or value), "isnew": False}
    return list(pairs.values())
