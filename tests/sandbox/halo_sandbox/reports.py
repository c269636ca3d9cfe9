# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``POST /api/Report`` with ``_loadreportonly``: a SELECT over the table of applications, and nothing else."""

from __future__ import annotations

import re
from typing import Any

from .answers import Refused, message
from .tenant import APPLICATION, ROLE, Row, Tenant

_SELECT = re.compile(
    r"\s*SELECT\s+(DISTINCT\s+)?(?P<columns>.+?)\s+FROM\s+NHD_IDENTITY_Application"
    r"(?:\s+WHERE\s+ClientId\s*=\s*'(?P<client>[^']*)')?\s*",
    re.I | re.S,
)
_LENGTH, _START = re.compile(r"LEN\(ClientSecret\)", re.I), re.compile(r"LEFT\(ClientSecret, *(\d+)\)", re.I)
# not one between parentheses
_COMMA = re.compile(r",\s*(?![^(]*\))")
# how ASP.NET's PasswordHasher stores a secret: 61 bytes in base64
_HASH = "AQAAAAEAACcQ".ljust(84, "A")
_COLUMNS = {
    "clientid": "clientId",
    "displayname": "displayName",
    "granttype": "grant_type",
    "systemuse": "system_use",
    "credentialtype": "credential_type",
}


def run(tenant: Tenant, agent: int, sent: Any) -> Row:
    """The report with its rows. Raises Refused: 403 without a body unless the agent is an administrator."""
    found = tenant.row("agent", agent)
    roles = tenant.rows("role")
    held = [roles[number] for number in (found or {}).get("roles", ()) if number in roles]
    claims = [claim for role in held for claim in tenant.view(ROLE, role, True)["claims"]]
    if {"type": "SA", "value": "true"} not in claims:
        raise Refused(403)
    if not isinstance(sent, dict) or sent.get("_loadreportonly") is not True or not sent.get("name"):
        raise message("This sandbox only runs reports that are not stored.")
    query = _SELECT.fullmatch(str(sent.get("sql") or ""))
    if query is None:
        raise message("The report could not be run.")
    rows = []
    for application in tenant.rows(APPLICATION.name).values():
        if query["client"] is None or query["client"].lower() == application["clientId"].lower():
            row = dict(_column(tenant, application, column) for column in _COMMA.split(query["columns"]))
            if not query[1] or row not in rows:
                rows.append(row)
    return {"id": 0, "name": sent["name"], "report": {"rows": rows}}


def _column(tenant: Tenant, application: Row, column: str) -> tuple[str, Any]:
    value, _as, name = column.partition(" AS ")
    stored = _HASH if tenant.store.secret_is(tenant.name, application["id"], None) else ""
    if value.lower() in _COLUMNS:
        return name or value, application[_COLUMNS[value.lower()]]
    if _LENGTH.fullmatch(value):
        return name, len(stored)
    if start := _START.fullmatch(value):
        return name, stored[: int(start[1])]
    raise message(f"Invalid column name '{column}'.")
