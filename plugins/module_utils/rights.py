# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a binding can do, by readable names, and in words why it cannot. Nothing here does I/O.

What an application can do is what its scopes and its login agent both allow. A right to read is proven by a row; a
right to edit never by a write, but by the scope that the token has and the permission of the agent's roles.
"""

from __future__ import annotations

import typing as t

from .resources.role import PERMISSIONS, Word
from .spec import Ref

# grant whatever the agent may do; all:teams and admin say nothing of rows
EVERYTHING = ("all", "all:standard")
VERBS = ("read", "edit")
GRANTED, REFUSED, EMPTY = "granted", "refused", "empty"
ROWS = "rows"
# what the web application calls a permission that hides rows
CALLED = {"all_customers": "all_customers (Allow use of all Customers)"}


class Area(t.NamedTuple):
    """A kind of Halo's objects.

    :param path: what is asked for a row
    :param scope: what follows ``read:`` and ``edit:`` in the scopes that grant it
    :param permission: the one of PERMISSIONS that a role needs; None where none is known
    :param switches: those of PERMISSIONS without which rows are hidden
    :param teams: whether the agent sees those of its teams alone
    """

    path: str
    scope: str
    permission: str | None
    switches: tuple[str, ...] = ()
    teams: bool = False


AREAS = {
    "tickets": Area("/Tickets", "tickets", "tickets", ("all_ticket_types",), teams=True),
    "projects": Area("/Projects", "projects", None, teams=True),
    "customers": Area("/Client", "customers", "customers", ("all_customers",)),
    # there is no scope of their own
    "users": Area("/Users", "customers", "users", ("all_customers",)),
    "assets": Area("/Asset", "assets", "assets"),
    "calendar": Area("/Appointment", "calendar", "calendar"),
    "knowledge base": Area("/KBArticle", "kb", "knowledge_base"),
    "contracts": Area("/ClientContract", "contracts", "contracts"),
    "suppliers": Area("/Supplier", "suppliers", "suppliers"),
    "items": Area("/Item", "items", "items"),
    "sales": Area("/Opportunities", "sales", "sales"),
    "quotes": Area("/Quotation", "quotes", "quotes"),
    "sales orders": Area("/SalesOrder", "sos", "sales_orders"),
    "purchase orders": Area("/PurchaseOrder", "pos", "purchase_orders"),
    "invoices": Area("/Invoice", "invoices", "invoices"),
    "reports": Area("/Report", "reporting", "reporting"),
}


class Right(t.NamedTuple):
    """Something that a binding can do: ``verb`` is read or edit."""

    verb: str
    area: Area

    @property
    def scope(self) -> str:
        """The scope that grants it and nothing else."""
        return f"{self.verb}:{self.area.scope}"

    @property
    def scopes(self) -> frozenset[str]:
        """Each of these grants it; who may edit may read."""
        return frozenset({self.scope, f"edit:{self.area.scope}", *EVERYTHING})

    @property
    def level(self) -> str:
        """What the permission of a role must be at least."""
        return "modify" if self.verb == "edit" else "read"


RIGHTS = {f"{verb} {name}": Right(verb, area) for name, area in AREAS.items() for verb in VERBS}


class Known(t.NamedTuple):
    """What can be read of a login.

    :param granted: scopes that the token has
    :param scopes: scopes that the application has; None where that cannot be read
    :param permissions: what the agent's roles allow together, by PERMISSIONS; None where that cannot be read
    :param teams: the teams that the agent is in; None where that cannot be read
    """

    granted: frozenset[str]
    scopes: frozenset[str] | None = None
    permissions: t.Mapping[str, Word] | None = None
    teams: t.Sequence[Ref] | None = None


def without_scope(names: t.Iterable[str], scopes: t.Iterable[str]) -> dict[str, str]:
    """The rights that none of these scopes could grant, each with the scope that is missing."""
    given = {scope.strip() for scope in scopes}
    return {name: RIGHTS[name].scope for name in names if not RIGHTS[name].scopes & given}


def is_judged_by_roles(name: str, answer: str) -> bool:
    """Whether a right takes more than the answer of Halo to judge."""
    return answer != ROWS or RIGHTS[name].verb == "edit"


def judge(name: str, answer: str, known: Known) -> dict[str, t.Any]:
    """Whether there is a right.

    :param answer: to a request for one row: ``rows``, ``empty`` or ``refused``
    :returns: ``{name, state, reason}``: granted, refused, or empty where it cannot be told; the reason in words, None
        where a row proves the right
    """
    right = RIGHTS[name]
    if not is_judged_by_roles(name, answer):
        return {"name": name, "state": GRANTED, "reason": None}
    scope, permission = _scope(right, known), _permission(right, known)
    lacking = [text for text in (scope, permission) if text]
    if answer == REFUSED:
        found = lacking or _hidden(right, known) or [_unexplained(right, known)]
        return {"name": name, "state": REFUSED, "reason": "; ".join(found)}
    if scope or (permission and right.verb == "edit"):
        return {"name": name, "state": REFUSED, "reason": "; ".join(lacking)}
    if answer == EMPTY:
        found = [*lacking, *_hidden(right, known)] or ["there may be none"]
        return {"name": name, "state": EMPTY, "reason": "; ".join(found)}
    by = "scope and role" if right.area.permission and known.permissions is not None else "its scope alone"
    return {"name": name, "state": GRANTED, "reason": f"by {by}; no write was tried"}


def sentence(found: t.Mapping[str, t.Any]) -> str:
    """What :func:`judge` found, as a sentence without its full stop."""
    if found["state"] == EMPTY:
        return f"{found['name']} gave no rows, {found['reason']}"
    return f"{found['name']} is {found['state']}, {found['reason']}"


def refused(row: t.Mapping[str, t.Any]) -> list[str]:
    """What is refused to a binding, in sentences.

    :param row: its result
    """
    return [sentence(found) for found in row.get("rights") or () if found["state"] == REFUSED]


def _scope(right: Right, known: Known) -> str:
    if known.granted & right.scopes:
        return ""
    if known.scopes is not None and known.scopes & right.scopes:
        return f"scope {right.scope} is the application's and not the token's"
    return f"scope {right.scope} is not granted"


def _permission(right: Right, known: Known) -> str:
    name = right.area.permission
    if name is None or known.permissions is None or known.permissions.get("administrator") is True:
        return ""
    word = known.permissions.get(name, PERMISSIONS[name].least)
    order = list(PERMISSIONS[name].words)
    # a word that is not known may be more than all of them
    if word not in order or order.index(word) >= order.index(right.level):
        return ""
    return f"role permission {name} is {word} instead of {right.level}"


def _hidden(right: Right, known: Known) -> list[str]:
    """Why there may be rows that the agent does not see."""
    found = []
    if right.area.teams and known.teams is not None:
        if not known.teams:
            found.append("the agent is in no team")
        elif not any(team.switches.get(on) for team in known.teams for on in ("sees_unassigned", "sees_others")):
            found.append("in its teams the agent sees neither unassigned tickets nor those of others")
    held = known.permissions
    if held is not None and held.get("administrator") is not True:
        found += [f"role permission {CALLED.get(on, on)} is off" for on in right.area.switches if not held.get(on)]
    return found


def _unexplained(right: Right, known: Known) -> str:
    roles = "the permissions of the agent's roles cannot be read"
    if known.permissions is not None:
        roles = "the agent's roles seem to allow it"
    return f"scope {right.scope} is granted and {roles}"
