# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new tenant holds. Ids and credentials are derived from one key, so that a reset and a restart keep them."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from typing import Any, NamedTuple

WEB_APP_CLIENT_ID = "24fe0a24-85d5-46d4-b9c6-721e23f25843"
INTEGRATOR_USE = "halointegrator"
_NAMES = ("acme", "globex", "initech")
_MADE = "2026-01-05T09:00:00"

# (id_int, name, claims: codes, and as in older tenants words, to values)
_ROLES: tuple[tuple[int, str, dict[str, str]], ...] = (
    (1, "Administrator", {"SA": "true"}),
    (2, "Standard User", {"SA": "false", "Tx": "2", "Ux": "3", "Fx": "3", "l6": "1", "l9": "1", "Ft": "1", "Fc": "1"}),
    (3, "API Integration", {"Ticket_Level": "2", "Can_Log_Tickets": "1", "Customers_Level": "2", "Ex": "1"}),
    (4, "Read Only", {"Tx": "1", "Ux": "2", "l6": "0", "Ft": "1", "Px": "1"}),
)
_DEPARTMENTS = ((1, "Service Desk"), (2, "Field Services"))
# (id, name, department)
_TEAMS = (
    (1, "1st Line Support", 1),
    (2, "2nd Line Support", 1),
    (3, "Projects", 1),
    (4, "Facilities", 2),
    (5, "Operations", 1),
    (6, "Operations", 2),
)
# (id, name, email, role, teams, other fields); there is no agent 2
_AGENTS: tuple[tuple[int, str, str | None, str | None, tuple[int, ...], dict[str, Any]], ...] = (
    (1, "Unassigned", None, None, (), {}),
    (3, "Admin", "admin@{tenant}.example.com", "Administrator", (1, 2), {"team": "1st Line Support"}),
    (4, "Bianca Rossi", "bianca.rossi@{tenant}.example.com", "Standard User", (1,), {"team": "1st Line Support"}),
    (5, "Jörg Müller", "joerg.mueller@{tenant}.example.com", "Standard User", (2, 3), {"team": "2nd Line Support"}),
    (6, "Old Hand", "old.hand@{tenant}.example.com", "Standard User", (4,), {"team": "Facilities", "isdisabled": True}),
    (7, "api-automation", "api-automation@{tenant}.example.com", "Administrator", (), {"isapiagent": True}),
)
# what the web application sets for a new member of a team
_MEMBER = {"in_section": True, "unassigned_access": True, "otheragent_access": True, "is_manager": False}
ADMIN = 3
AUTOMATION = 7


def tenant_names(count: int) -> list[str]:
    """acme, globex, initech, tenant0004, tenant0005, ..."""
    return [*_NAMES[:count], *(f"tenant{number:04d}" for number in range(len(_NAMES) + 1, count + 1))]


class Contents(NamedTuple):
    """``rows``: (kind, id, document); ``counters``: name -> last number; ``secrets``: application id -> secret."""

    rows: list[tuple[str, int | str, dict[str, Any]]]
    counters: dict[str, int]
    secrets: dict[str, str]


class Seed:
    """Everything that is derived from the key of a data directory."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def guid(self, *parts: str) -> str:
        """A version-4 GUID, always the same for the same *parts*."""
        digest = hmac.digest(self._key, "/".join(parts).encode(), hashlib.sha256)
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def credentials(self, tenant: str) -> tuple[str, str]:
        """Client id and client secret of the application "Automation"."""
        return self.guid(tenant, "client", "automation"), self._secret(tenant, "automation")

    def integrator(self, tenant: str) -> tuple[str, str]:
        """Application id and client id of the Halo Integrator."""
        return self.guid(tenant, "application", "integrator"), self.guid(tenant, "client", "integrator")

    def _secret(self, tenant: str, name: str) -> str:
        return f"{self.guid(tenant, 'secret', name, '1')}-{self.guid(tenant, 'secret', name, '2')}"

    def contents(self, tenant: str) -> Contents:
        """What a new tenant of that name holds."""
        rows: list[tuple[str, int | str, dict[str, Any]]] = []
        role_ids = {name: self.guid(tenant, "role", name) for _number, name, _claims in _ROLES}
        for number, name, held in _ROLES:
            claims = [{"type": kind, "value": value} for kind, value in held.items()]
            row = {"id": role_ids[name], "id_int": number, "name": name, "claims": claims}
            rows.append(("role", row["id"], row))
        for number, name in _DEPARTMENTS:
            guid = self.guid(tenant, "department", name)
            rows.append(("department", number, {"id": number, "guid": guid, "name": name, "organisation_id": 1}))
        for number, name, department in _TEAMS:
            guid = self.guid(tenant, "team", str(number))
            rows.append(
                (
                    "team",
                    number,
                    {
                        "id": number,
                        "guid": guid,
                        "name": name,
                        "sequence": number,
                        "department_id": department,
                        "inactive": False,
                        "forrequests": True,
                        "foropps": False,
                        "forprojects": name == "Projects",
                    },
                )
            )
        rows.append(
            (
                "workday",
                1,
                {
                    "id": 1,
                    "guid": self.guid(tenant, "workday"),
                    "name": "Default",
                    "timezone": "GMT Standard Time",
                    "start": "1900-01-01T09:00:00",
                    "end": "1900-01-01T17:30:00",
                    "alldayssame": True,
                    "incmonday": True,
                    "inctuesday": True,
                    "incwednesday": True,
                    "incthursday": True,
                    "incfriday": True,
                    "incsaturday": False,
                    "incsunday": False,
                },
            )
        )
        membership = 0
        for number, name, email, role, teams, more in _AGENTS:
            members = []
            for team in teams:
                membership += 1
                members.append({"id": membership, "team_id": team, **_MEMBER})
            rows.append(
                (
                    "agent",
                    number,
                    {
                        "id": number,
                        "name": name,
                        "email": email and email.format(tenant=tenant),
                        "isdisabled": False,
                        "isapiagent": False,
                        "team": None,
                        "workday_id": 1,
                        "licence_type": 0,
                        "roles": [role_ids[role]] if role else [],
                        "teams": members,
                        "departments": [],
                        "datecreated": _MADE,
                        "last_modified": _MADE,
                        **more,
                    },
                )
            )
        rows.extend(("application", row["id"], row) for row in self._applications(tenant))
        rows.append(("control", 1, {"id": 1}))
        automation, integrator = self.guid(tenant, "application", "automation"), self.integrator(tenant)[0]
        return Contents(
            rows,
            {
                "agent": _AGENTS[-1][0],
                "team": len(_TEAMS),
                "department": len(_DEPARTMENTS),
                "workday": 1,
                "role": len(_ROLES),
                "membership": membership,
                "scope": 4,
            },
            {automation: self._secret(tenant, "automation"), integrator: self._secret(tenant, "integrator")},
        )

    def _applications(self, tenant: str) -> list[dict[str, Any]]:
        integrator_id, integrator_client = self.integrator(tenant)
        given: list[dict[str, Any]] = [
            {
                "id": self.guid(tenant, "application", "web"),
                "clientId": WEB_APP_CLIENT_ID,
                "displayName": "nethelpdesk-agent-web-application",
                "grant_type": "authorization_code",
                "type": "public",
                "_issystem": True,
                "scopes": ["all"],
            },
            {
                "id": integrator_id,
                "clientId": integrator_client,
                "displayName": "Halo Integrator",
                "grant_type": "client_credentials",
                "system_use": INTEGRATOR_USE,
                "loginas_agent_id": ADMIN,
                "scopes": ["all"],
            },
            {
                "id": self.guid(tenant, "application", "automation"),
                "clientId": self.credentials(tenant)[0],
                "displayName": "Automation",
                "grant_type": "client_credentials",
                "loginas_agent_id": AUTOMATION,
                "scopes": ["admin", "all"],
            },
        ]
        number = 0
        for row in given:
            scopes = []
            for name in row["scopes"]:
                number += 1
                scopes.append({"id": number, "name": name})
            row["scopes"] = scopes
        return [{**new_application(), "creation_date": _MADE, "createdby_agent_id": ADMIN, **row} for row in given]


def new_application() -> dict[str, Any]:
    """The database's defaults for an application."""
    return {
        "grant_type": "",
        "type": "confidential",
        "consentType": "implicit",
        "inactive": False,
        "system_use": "",
        "_issystem": False,
        "loginas_agent_id": 0,
        "loginas_client_id": 0,
        "loginas_supplier_id": 0,
        "loginentity": 0,
        "allowagents": True,
        "allowusers": False,
        "organisation_id": 0,
        "language_id": 0,
        "credential_type": 0,
        "description": "",
        "scopes": [],
        "redirecturi_list": [],
        "postlogoutredirecturi_list": [],
        "cors_whitelist_list": [],
    }
