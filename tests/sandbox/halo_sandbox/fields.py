# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and types of the properties of Halo's objects, and the check of what a client sent against them.

Property names are case-insensitive on input, as with Halo; what a table does not name is kept as it came.
``null`` means "not given": Halo's models are nullable throughout, so it cannot tell the two apart.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from .answers import Refused

_TYPES = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
}


def _table(**types: str) -> dict[str, str]:
    return {name: kind for kind, names in types.items() for name in names.split()}


AGENT = _table(
    integer="id workday_id licence_type",
    number="workhour_start workhour_end lunchbreak",
    string="name email firstname surname initials colour jobtitle team role_list workday_name use"
    " password datecreated last_modified",
    boolean="isapiagent isdisabled is_agent is_admin",
    array="roles add_roles teams departments",
)

APPLICATION = _table(
    integer="loginas_agent_id loginas_client_id loginas_supplier_id loginentity organisation_id language_id"
    " credential_type apikey_expiry_days createdby_agent_id",
    string="id clientId clientSecret displayName grant_type type consentType concurrencyToken redirecturi"
    " logoutredirecturi cors_whitelist system_use loginas_agent_name description new_apikey1 new_apikey2"
    " createdby_agent creation_date",
    boolean="inactive allowagents allowusers _issystem disable_windowsauth disable_azure disable_adfs disable_okta"
    " disable_centrify disable_google disable_anon",
    array="scopes redirecturi_list postlogoutredirecturi_list cors_whitelist_list",
)

CONTROL = _table(
    integer="id loginas_halointegrator",
    string="client_id_halointegrator client_secret_halointegrator",
    boolean="hashostedintegrator",
)

ROLE = _table(
    integer="id_int",
    string="id name normalizedName concurrencyStamp notes",
    boolean="is_integration",
    array="claims",
)

TEAM = _table(
    integer="id sequence department_id",
    string="guid name department_name org_team_name",
    boolean="inactive forrequests foropps forprojects",
    array="agents",
)

WORKDAY = _table(
    integer="id",
    string="guid name timezone start end",
    boolean="incmonday inctuesday incwednesday incthursday incfriday incsaturday incsunday alldayssame",
)

DEPARTMENT = _table(
    integer="id organisation_id type",
    string="guid name organisation_name org_department_name long_name",
)

# Never stored as they came, never sent back: Halo takes them and keeps them to itself.
WRITE_ONLY = frozenset({"password", "new_apikey1", "new_apikey2"})

# A secret's spaces are part of it.
_UNTRIMMED = frozenset({"clientSecret", "client_secret_halointegrator"})


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_trimmed(item) for item in value]
    if isinstance(value, dict):
        return {name: _trimmed(item) for name, item in value.items()}
    return value


def fold(name: str) -> str:
    """The form in which the database compares names: no surrounding blanks, no letter case, one form of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).strip().casefold())


def fits(value: Any, kind: str) -> bool:
    """Say whether a JSON value has the OpenAPI type *kind*."""
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def lowered(row: dict[str, Any]) -> dict[str, Any]:
    """Return an inner object (a role, a team, a scope) with its property names in lower case."""
    return {name.lower(): value for name, value in row.items() if value is not None}


def read(row: Any, index: int, table: dict[str, str], stored: dict[str, Any] | None) -> dict[str, Any]:
    """Check one element of a POSTed array and give its properties their stored names.

    *index* is its position, for the error; *stored* the object that it updates, whose unknown properties keep the
    spelling of their first arrival. Raises :class:`Refused` (400) in the form of a failed model binding.
    """
    if not isinstance(row, dict):
        raise Refused(400, {f"[{index}]": ["Error converting value: an object is expected."]})
    spelling: dict[str, str] = {name.lower(): name for name in (*(stored or ()), *table)}
    given: dict[str, Any] = {}
    for sent, value in row.items():
        name = spelling.get(sent.lower()) or sent
        if value is None:
            continue
        kind = table.get(name)
        where = f"[{index}].{name}"
        if kind and not fits(value, kind):
            raise Refused(400, {where: [f"Could not convert the value to {kind}. Path '{where}'."]})
        if kind == "array" and not all(isinstance(item, dict) for item in value):
            raise Refused(400, {where: [f"Error converting value: objects are expected. Path '{where}'."]})
        given[name] = value if name in _UNTRIMMED else _trimmed(value)
    return given
