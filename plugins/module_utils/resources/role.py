# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Agent roles (Halo's model NHD_Roles, ``/Roles``).

What a role allows is a list of claims, each a type and a value. Halo publishes neither. The types and values here are
those that reports on Halo's database name: a short code, or an older word for it. Both are read, and the code is sent.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from urllib.parse import quote

from ..client import Client, Raw
from ..errors import HaloError, Refused
from ..plan import Change
from ..spec import Field, Option, Resource, Text, fold
from .agent import AGENT

# a type that pylint of older ansible-test takes for an operation
Word = t.Union[str, bool]  # noqa: UP007

MOST_HOLDERS = 5
# Halo's own are called so, some with the product's name before it, as in HaloITSM Administrator
_BUILT_IN = re.compile(r"(halo\w* )?(administrator|standard user)")

# what a permission can be, from the least to the most, each with the values that Halo may keep, the one to send first
READ = {"none": ("0", ""), "read": ("1",), "modify": ("2",)}
NAMES = {"none": ("0", ""), "names": ("1",), "read": ("2",), "modify": ("3",)}
REMOVE = {**READ, "remove": ("3",)}
SHEETS = {"none": ("0", ""), "read": ("3",), "own": ("1",), "managed": ("2",), "all": ("4",)}
ACTIONS = {"none": ("0", ""), "own": ("1",), "all": ("3",)}
SWITCH = {False: ("0", "false", ""), True: ("1", "true")}
TRUTH = {False: ("false", "0", ""), True: ("true", "1")}


class Permission(t.NamedTuple):
    """Something that a role allows.

    :param words: what it can be, from the least to the most, each with Halo's values for it
    :param types: of the claims that say so, the one to send first
    """

    words: t.Mapping[t.Any, tuple[str, ...]]
    types: tuple[str, ...]

    @property
    def least(self) -> Word:
        return next(iter(self.words))

    @property
    def option(self) -> Option:
        if True in self.words:
            return {"type": "bool"}
        return {"type": "str", "choices": list(self.words)}

    def word(self, row: Raw) -> Word:
        """What a claim says; Halo's own value where it is none of the known ones."""
        value = fold(row.get("value"))
        return next((word for word, values in self.words.items() if value in values), value)

    def strongest(self, rows: t.Iterable[Raw]) -> Word:
        """What several claims say together; an unknown value counts for the most."""
        order = list(self.words)
        words = [self.least, *(self.word(row) for row in rows)]
        return max(words, key=lambda word: order.index(word) if word in order else len(order))


PERMISSIONS = {
    "administrator": Permission(TRUTH, ("SA", "Administration")),
    "tickets": Permission(READ, ("Tx", "Ticket_Level")),
    "add_tickets": Permission(SWITCH, ("l6", "Can_Log_Tickets")),
    "edit_closed_tickets": Permission(SWITCH, ("lf", "Can_Edit_Closed_Tickets")),
    "reassign_tickets": Permission(SWITCH, ("l7", "Can_Reassign_Tickets")),
    "remove_tickets": Permission(SWITCH, ("l4", "Can_Remove_Tickets")),
    "view_others_tickets": Permission(SWITCH, ("l8", "Can_View_Tech_Tickets")),
    "view_unassigned_tickets": Permission(SWITCH, ("l9", "Can_View_Unassigned_Tickets")),
    "all_ticket_types": Permission(SWITCH, ("Ft",)),
    "edit_actions": Permission(ACTIONS, ("l5", "Can_Edit_Actions")),
    "customers": Permission(NAMES, ("Ux", "Customers_Level")),
    "all_customers": Permission(SWITCH, ("Fc",)),
    "users": Permission(NAMES, ("Fx",)),
    "assets": Permission(REMOVE, ("Dx", "Assets_Level")),
    "calendar": Permission(READ, ("Ax", "Calendar_Level")),
    "knowledge_base": Permission(READ, ("Bx", "KB_Level")),
    "contracts": Permission(READ, ("Cx", "Contract_Level")),
    "suppliers": Permission(READ, ("Sx", "Sup_Lvl")),
    "items": Permission(NAMES, ("Ix",)),
    "sales": Permission(READ, ("Ox", "Sales_Level")),
    "quotes": Permission(READ, ("Qx",)),
    "sales_orders": Permission(READ, ("Yx",)),
    "purchase_orders": Permission(READ, ("Zx",)),
    "billing": Permission(READ, ("Jx",)),
    "invoices": Permission(REMOVE, ("Xx",)),
    "reporting": Permission(READ, ("Rx", "Reporting_Level")),
    "services": Permission(READ, ("Vx", "Serv_Lvl")),
    "software": Permission(READ, ("Wx", "Software_Level")),
    "timesheets": Permission(SHEETS, ("Hx", "Timesheets_Level")),
}
# the type of a claim to the permission that it is
NAMED = {kind: name for name, permission in PERMISSIONS.items() for kind in permission.types}


def _type(row: t.Mapping[str, t.Any]) -> str:
    return str(row.get("type") or "").strip()


def _claims(raw: Raw | None) -> list[Raw]:
    return [row for row in (raw or {}).get("claims") or [] if isinstance(row, dict)]


@dataclasses.dataclass(frozen=True)
class Permissions(Field):
    """The claims of PERMISSIONS, name to word; one that is not named is the least."""

    def read(self, raw: Raw) -> dict[str, Word]:
        found: dict[str, list[Raw]] = {}
        for row in _claims(raw):
            found.setdefault(NAMED.get(_type(row), ""), []).append(row)
        return {name: one.strongest(found[name]) for name, one in PERMISSIONS.items() if name in found}

    def write(self, value: t.Mapping[str, Word | None], now: Raw | None = None) -> Raw:
        """All claims: those of PERMISSIONS as desired, the others as they are.

        What is taken away is sent with the least value and not left out, which is right even where Halo should not
        replace the claims of a role but merge them.
        """
        rows = [row for row in _claims(now) if _type(row) not in NAMED]
        for name, permission in PERMISSIONS.items():
            there = [row for row in _claims(now) if NAMED.get(_type(row)) == name]
            word = permission.least if value.get(name) is None else value[name]
            if all(permission.word(row) == word for row in there) and (there or word == permission.least):
                rows += there
            else:
                kind = _type(there[0]) if there else permission.types[0]
                rows.append({"type": kind, "value": permission.words[word][0]})
        return {self.api: rows}

    def canonical(self, value: t.Any) -> dict[str, Word]:
        return self.show(value or {})

    def is_covered_by(self, row: Raw) -> bool:
        # an empty list in a row may be one that Halo's list does not fill
        return bool(_claims(row))

    def differences(self, now: t.Mapping[str, Word], value: t.Mapping[str, Word | None]) -> list[str]:
        there, desired = self.show(now), self.show(value)
        return [
            f"{name} {str(there.get(name, one.least)).lower()} instead of {str(desired.get(name, one.least)).lower()}"
            for name, one in PERMISSIONS.items()
            if there.get(name) != desired.get(name)
        ]

    def show(self, value: t.Mapping[str, Word | None]) -> dict[str, Word]:
        """What is allowed, without what is not."""
        return {
            name: word
            for name, one in PERMISSIONS.items()
            if (word := value.get(name)) is not None and word != one.least
        }


@dataclasses.dataclass(frozen=True)
class OtherClaims(Field):
    """The claims that PERMISSIONS does not know, as a set of type and value."""

    def check(self, value: t.Iterable[t.Mapping[str, t.Any]]) -> None:
        for number, item in enumerate(value):
            kind = _type(item)
            if not kind:
                raise HaloError(f"{self.name}[{number}].type is empty.")
            if kind in NAMED or kind in PERMISSIONS:
                raise HaloError(
                    f"{self.name}[{number}].type: {kind} is a permission.",
                    hint=f"Set it as permissions.{NAMED.get(kind, kind)}.",
                )

    def read(self, raw: Raw) -> list[Raw]:
        return [row for row in _claims(raw) if _type(row) not in NAMED]

    def write(self, value: t.Iterable[Raw], now: Raw | None = None) -> Raw:
        """All claims: the others as desired, those of PERMISSIONS as they are."""
        rows = _claims(now)
        there = {self._key(row): row for row in rows}
        kept = [row for row in rows if _type(row) in NAMED]
        return {self.api: [*kept, *(there.get(self._key(item)) or item for item in self.show(value))]}

    def canonical(self, value: t.Any) -> frozenset[tuple[str, str]]:
        return frozenset(self._key(row) for row in value or ())

    def is_covered_by(self, row: Raw) -> bool:
        return bool(_claims(row))

    def differences(self, now: t.Iterable[Raw], value: t.Iterable[Raw]) -> list[str]:
        there, desired = ({self._key(row): row for row in self.show(rows)} for rows in (now, value))
        return [
            *(f"{row['type']}={row['value']} is missing" for key, row in desired.items() if key not in there),
            *(f"{row['type']}={row['value']} is not declared" for key, row in there.items() if key not in desired),
        ]

    def show(self, value: t.Iterable[Raw]) -> list[dict[str, str]]:
        claims = {self._key(row): {"type": _type(row), "value": str(row.get("value") or "").strip()} for row in value}
        return [claims[key] for key in sorted(claims)]

    @staticmethod
    def _key(row: t.Mapping[str, t.Any]) -> tuple[str, str]:
        return _type(row), fold(row.get("value"))


def is_built_in(raw: Raw) -> bool:
    """Whether this is one of the roles that Halo comes with, by its name: Halo does not mark them."""
    return bool(_BUILT_IN.fullmatch(fold(raw.get("name"))))


def guard(client: Client, params: t.Mapping[str, t.Any], current: Raw | None, change: Change, rotation: t.Any) -> None:
    """Halo's own roles stay as they are, nobody loses a role unasked, and no claim is lost that cannot be seen.

    :raises Refused: see ``allow_built_in`` and ``force``
    :raises HaloError: what is there cannot be seen
    """
    if current is None:
        if not client.cached(ROLE.path, ROLE.query):
            raise HaloError(
                f"GET {ROLE.path} gave an empty list, which cannot be: Halo comes with roles.",
                hint="Check the scopes of the application and the roles of its login agent: what they do not cover, "
                "Halo leaves out without a word.",
            )
        return
    if not change.changed:
        return
    if is_built_in(current) and not params["allow_built_in"]:
        raise Refused(
            "it is a built-in role of Halo and is not touched.",
            hint="Choose another name, or set allow_built_in: true if you know who depends on it.",
        )
    blind = current.get("claims") is None and "claims" in change.payload
    if blind and (params["permissions"] is None or params["claims"] is None):
        raise HaloError(
            "Halo does not say which claims it has: those that are not declared would be lost.",
            hint="Give permissions and claims, both in full.",
        )
    if change.action == "delete" and not params["force"]:
        agents = held_by(client, current)
        if agents:
            more = f" and {len(agents) - MOST_HOLDERS} more" if len(agents) > MOST_HOLDERS else ""
            names = ", ".join(f"'{name}'" for name in agents[:MOST_HOLDERS])
            raise Refused(
                f"it is a role of the agent{'s' if len(agents) > 1 else ''} {names}{more}.",
                hint="Give them another role first, or set force: true.",
            )


def held_by(client: Client, role: Raw) -> list[str]:
    """The names of the agents that have this role, disabled and API-only ones included. Halo's ``/Agent``.

    :raises HaloError: the roles of one cannot be seen; what cannot be seen may have it
    """
    field = AGENT.field("roles")
    holders = []
    for row in client.list(AGENT.path, AGENT.query):
        agent: Raw | None = row
        # a row has the names alone, separated by commas
        if not field.is_covered_by(row) or "," in str(role.get("name")):
            agent = client.get(f"{AGENT.path}/{quote(str(row['id']), safe='')}", {"includedetails": "true"})
            if not agent:
                raise HaloError(
                    f"which roles the agent '{row.get('name')}' ({row['id']}) has cannot be read.",
                    hint="Nothing was changed; run again.",
                )
        refs = field.read(agent or {})
        if any(fold(role["id"]) == fold(ref.id) or fold(role.get("name")) == fold(ref.name) for ref in refs):
            holders.append(str(row.get("name")))
    return holders


ROLE = Resource(
    noun="role",
    key="role",
    path="/Roles",
    id_option="role_id",
    id_type="str",
    details=("claims",),
    sparse=True,
    fields=(
        Text("name", "name", {"type": "str"}),
        Permissions(
            "permissions",
            "claims",
            {"type": "dict", "options": {name: one.option for name, one in PERMISSIONS.items()}},
        ),
        OtherClaims(
            "claims",
            "claims",
            {
                "type": "list",
                "elements": "dict",
                "options": {"type": {"type": "str", "required": True}, "value": {"type": "str", "required": True}},
            },
        ),
    ),
    computed={"built_in": is_built_in},
    guard=guard,
    plural="roles",
    extra={
        "allow_built_in": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
    },
)
