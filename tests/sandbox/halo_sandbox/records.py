# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What integrations work on, such as tickets and customers: rows to read, and who may.

A login sees what its scopes and the roles of its agent both allow. What they do not is 403 with an empty body, or, as
the setting ``denied`` has it, a list without rows; what the agent's teams or customers hide is such a list always.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .answers import Refused
from .tenant import Row, Tenant

_ADMINISTRATOR = ("SA", "Administration")


class Record(NamedTuple):
    """``claims``: the types of a role's claim for it, of which ``least`` is the lowest value that shows rows."""

    plural: str
    scope: str
    claims: tuple[str, ...] = ()
    least: int = 1
    teams: bool = False
    customers: bool = False


RECORDS = {
    "tickets": Record("tickets", "tickets", ("Tx", "Ticket_Level"), teams=True),
    "projects": Record("tickets", "projects", teams=True),
    "client": Record("clients", "customers", ("Ux", "Customers_Level"), least=2, customers=True),
    "users": Record("users", "customers", ("Fx",), least=2, customers=True),
    "asset": Record("assets", "assets", ("Dx", "Assets_Level")),
    "appointment": Record("appointments", "calendar", ("Ax", "Calendar_Level")),
    "kbarticle": Record("articles", "kb", ("Bx", "KB_Level")),
    "clientcontract": Record("contracts", "contracts", ("Cx", "Contract_Level")),
    "supplier": Record("suppliers", "suppliers", ("Sx", "Sup_Lvl")),
    "item": Record("items", "items", ("Ix",), least=2),
    "opportunities": Record("tickets", "sales", ("Ox", "Sales_Level")),
    "quotation": Record("quotes", "quotes", ("Qx",)),
    "salesorder": Record("orders", "sos", ("Yx",)),
    "purchaseorder": Record("orders", "pos", ("Zx",)),
    "invoice": Record("invoices", "invoices", ("Xx",)),
    "report": Record("reports", "reporting", ("Rx", "Reporting_Level")),
}


def claims_of(tenant: Tenant, agent: Row) -> list[Row]:
    """The claims of all roles of an agent."""
    roles = (tenant.row("role", number) for number in agent["roles"])
    return [claim for role in roles if role for claim in role["claims"]]


def is_administrator(claims: list[Row]) -> bool:
    return any(claim["type"] in _ADMINISTRATOR and claim["value"].lower() in ("true", "1") for claim in claims)


def seen(tenant: Tenant, record: Record, agent: Row, scopes: frozenset[str]) -> list[Row]:
    """The rows that a login sees. Raises Refused (403)."""
    claims = claims_of(tenant, agent)
    rows: list[Row] = [{"id": number, "name": f"Row {number}"} for number in range(1, tenant.settings["records"] + 1)]
    may = scopes & {f"read:{record.scope}", f"edit:{record.scope}", "all", "all:standard"}
    if not is_administrator(claims):
        level = max((_number(claim) for claim in claims if claim["type"] in record.claims), default=0)
        may = may and (not record.claims or level >= record.least)
        if record.customers and not any(claim["type"] == "Fc" and _number(claim) for claim in claims):
            rows = []
    if not may:
        if tenant.settings["denied"] == "403":
            raise Refused(403)
        return []
    # the rows belong to nobody and, in the tenants of the seed, to any of the agent's teams
    sees = any(member["unassigned_access"] or member["otheragent_access"] for member in agent["teams"])
    return rows if sees or not record.teams or "all:teams" in scopes else []


def _number(claim: dict[str, Any]) -> int:
    return int(claim["value"]) if claim["value"].isdigit() else 0
