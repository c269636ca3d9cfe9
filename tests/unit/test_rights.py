# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a login can do, judged from one answer of Halo and from what can be read of its scopes, roles and teams."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.access import ask, held, look_up
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.resources.role import PERMISSIONS
from ansible_collections.haloops.halo.plugins.module_utils.rights import (
    AREAS,
    RIGHTS,
    Known,
    judge,
    refused,
    sentence,
    without_scope,
)
from ansible_collections.haloops.halo.plugins.module_utils.spec import Ref
from halo_sandbox.records import RECORDS
from helpers.memory import Halo, answer

DATA = Path(__file__).resolve().parent / "data"
GUIDE = Path(__file__).resolve().parent.parent.parent / "docs" / "docsite" / "rst" / "rights.rst"
BOTH = frozenset({"read:tickets", "edit:tickets", "read:customers", "edit:customers"})
ADMINISTRATOR = {"administrator": True}
TICKETS = {"tickets": "modify", "all_ticket_types": True}
CUSTOMERS = {"customers": "read", "all_customers": True}
MEMBER = Ref(1, "Support", {"sees_unassigned": True, "sees_others": False})
BLIND = Ref(2, "Projects", {"sees_unassigned": False, "sees_others": False})


def known(permissions: Any = None, teams: Any = None, granted: Any = BOTH, scopes: Any = BOTH) -> Known:
    return Known(frozenset(granted), scopes if scopes is None else frozenset(scopes), permissions, teams)


LEVELS = ("tickets is none instead of read", "customers is read instead of modify", "assets is none instead of read")
LEVELS += ("customers is names instead of read",)
NO_SCOPE = "scope read:tickets is not granted"
# name, answer, what is known, state, reason
JUDGED: dict[str, tuple[str, str, Known, str, str | None]] = {
    "a row proves it, whatever can be read": (
        "read tickets", "rows", known({}, [], granted=(), scopes=()), "granted", None,
    ),
    "refused, no scope": (
        "read tickets", "refused", known(TICKETS, [MEMBER], granted=["read:customers"], scopes=["read:customers"]),
        "refused", NO_SCOPE,
    ),
    "refused, scope not readable": (
        "read tickets", "refused", known(None, None, granted=[], scopes=None), "refused", NO_SCOPE,
    ),
    "refused, scope not in the token": (
        "read tickets", "refused", known(TICKETS, [MEMBER], granted=["read:customers"]),
        "refused", "scope read:tickets is the application's and not the token's",
    ),
    "refused, role": (
        "read tickets", "refused", known({"tickets": "none"}, [MEMBER]),
        "refused", "role permission tickets is none instead of read",
    ),
    "refused, both": (
        "read tickets", "refused", known({}, [], granted=[], scopes=[]),
        "refused", f"{NO_SCOPE}; role permission tickets is none instead of read",
    ),
    "refused, too little": (
        "read customers", "refused", known({"customers": "names", "all_customers": True}),
        "refused", "role permission customers is names instead of read",
    ),
    "refused, nothing but the team": (
        "read tickets", "refused", known(TICKETS, []), "refused", "the agent is in no team",
    ),
    "refused, unexplained": (
        "read tickets", "refused", known(TICKETS, [MEMBER]),
        "refused", "scope read:tickets is granted and the agent's roles seem to allow it",
    ),
    "refused, an unknown level may be enough": (
        "read tickets", "refused", known({**TICKETS, "tickets": "9"}, [MEMBER]),
        "refused", "scope read:tickets is granted and the agent's roles seem to allow it",
    ),
    "refused, roles not readable": (
        "read tickets", "refused", known(),
        "refused", "scope read:tickets is granted and the permissions of the agent's roles cannot be read",
    ),
    "refused to an administrator": (
        "read tickets", "refused", known(ADMINISTRATOR, [MEMBER]),
        "refused", "scope read:tickets is granted and the agent's roles seem to allow it",
    ),
    "empty, no scope": (
        "read tickets", "empty", known(TICKETS, [], granted=["read:customers"], scopes=["read:customers"]),
        "refused", NO_SCOPE,
    ),
    "empty, no team": ("read tickets", "empty", known(TICKETS, []), "empty", "the agent is in no team"),
    "empty, an administrator without a team": (
        "read tickets", "empty", known(ADMINISTRATOR, []), "empty", "the agent is in no team",
    ),
    "empty, team switches": (
        "read tickets", "empty", known(TICKETS, [BLIND]),
        "empty", "in its teams the agent sees neither unassigned tickets nor those of others",
    ),
    "empty, one team is enough": (
        "read tickets", "empty", known(TICKETS, [BLIND, MEMBER]), "empty", "there may be none",
    ),
    "empty, ticket types": (
        "read tickets", "empty", known({"tickets": "read"}, [MEMBER]),
        "empty", "role permission all_ticket_types is off",
    ),
    "empty, role": (
        "read assets", "empty", known({}, [], granted=["read:assets"], scopes=["read:assets"]),
        "empty", "role permission assets is none instead of read",
    ),
    "empty, customers setting": (
        "read customers", "empty", known({"customers": "read"}, []),
        "empty", "role permission all_customers (Allow use of all Customers) is off",
    ),
    "empty, users have the customers' scope": (
        "read users", "empty", known({"users": "read", "all_customers": True}, []), "empty", "there may be none",
    ),
    "empty, nothing readable": ("read customers", "empty", known(), "empty", "there may be none"),
    "edit, scope and role": (
        "edit tickets", "rows", known(TICKETS, []), "granted", "by scope and role; no write was tried",
    ),
    "edit, administrator": (
        "edit tickets", "rows", known(ADMINISTRATOR, []), "granted", "by scope and role; no write was tried",
    ),
    "edit, roles not readable": (
        "edit tickets", "rows", known(), "granted", "by its scope alone; no write was tried",
    ),
    "edit, no permission known": (
        "edit projects", "rows", known({}, [], granted=["edit:projects"]),
        "granted", "by its scope alone; no write was tried",
    ),
    "edit, it may only read": (
        "edit tickets", "rows", known(TICKETS, [], granted=["read:tickets"], scopes=["read:tickets"]),
        "refused", "scope edit:tickets is not granted",
    ),
    "edit, its role may only read": (
        "edit customers", "rows", known(CUSTOMERS, []),
        "refused", "role permission customers is read instead of modify",
    ),
    "edit, its role may more": (
        "edit invoices", "rows", known({"invoices": "remove"}, granted=["edit:invoices"]),
        "granted", "by scope and role; no write was tried",
    ),
    "edit, empty": (
        "edit tickets", "empty", known(TICKETS, [MEMBER]), "empty", "there may be none",
    ),
    "edit, empty and its role may only read": (
        "edit tickets", "empty", known({"tickets": "read"}, [MEMBER]),
        "refused", "role permission tickets is read instead of modify",
    ),
    "edit, refused": (
        "edit tickets", "refused", known(TICKETS, [MEMBER], granted=["edit:tickets"]),
        "refused", "scope edit:tickets is granted and the agent's roles seem to allow it",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "answered", "what", "state", "reason"), JUDGED.values(), ids=JUDGED)
def test_judge(name: str, answered: str, what: Known, state: str, reason: str | None) -> None:
    assert judge(name, answered, what) == {"name": name, "state": state, "reason": reason}


@pytest.mark.parametrize("scope", ["read:tickets", "edit:tickets", "all", "all:standard"])
def test_scopes_that_let_read(scope: str) -> None:
    found = judge("read tickets", "empty", known({"tickets": "read", "all_ticket_types": True}, [MEMBER], [scope]))
    assert found["state"] == "empty"
    assert without_scope(["read tickets"], [f" {scope} "]) == {}


@pytest.mark.parametrize("scope", ["admin", "all:teams", "read:customers", "read:tickets"])
def test_scopes_that_do_not_let_edit(scope: str) -> None:
    assert judge("edit tickets", "rows", known(TICKETS, [MEMBER], [scope], []))["state"] == "refused"
    assert without_scope(["edit tickets"], [scope]) == {"edit tickets": "edit:tickets"}


def test_which_scopes_are_missing() -> None:
    names = ["read tickets", "edit tickets", "read users", "edit knowledge base"]
    assert without_scope(names, ["read:tickets", "read:kb"]) == {
        "edit tickets": "edit:tickets", "read users": "read:customers", "edit knowledge base": "edit:kb",
    }  # fmt: skip


def test_sentences() -> None:
    rows = [judge("read tickets", how, known({}, [], granted=(), scopes=())) for how in ("rows", "refused")]
    rows.append(judge("read customers", "empty", known(CUSTOMERS)))
    assert refused({"rights": rows}) == [
        f"read tickets is refused, {NO_SCOPE}; role permission tickets is none instead of read"
    ]
    assert sentence(rows[2]) == "read customers gave no rows, there may be none"
    assert refused({}) == refused({"rights": None}) == []


# The table


def test_every_right_is_asked_for_at_an_endpoint_that_halo_describes() -> None:
    paths: dict[str, Any] = json.loads((DATA / "halo_paths.json").read_text())
    for name, area in AREAS.items():
        assert {"pageinate", "page_size", "page_no"} <= set(paths[area.path]["get"]), name
        assert area.permission is None or area.permission in PERMISSIONS, name
        assert set(area.switches) <= set(PERMISSIONS), name
        # what the levels are called in messages, and compared by
        if area.permission:
            assert {"none", "read", "modify"} <= set(PERMISSIONS[area.permission].words), name
    assert [right.scope for right in (RIGHTS["read tickets"], RIGHTS["edit sales orders"])] == [
        "read:tickets", "edit:sos",
    ]  # fmt: skip


def test_the_sandbox_has_them_all_by_the_same_rules() -> None:
    found = {
        name: (area.scope, PERMISSIONS[area.permission].types if area.permission else (), area.teams)
        for name, area in AREAS.items()
    }
    records = {name: RECORDS[area.path.strip("/").lower()] for name, area in AREAS.items()}
    assert found == {name: (one.scope, one.claims, one.teams) for name, one in records.items()}
    assert len(records) == len(RECORDS)


def _rows_of(page: str) -> list[list[str]]:
    lines = re.findall(r'^   (".+")$', page, re.MULTILINE)
    return [row for row in csv.reader(lines) if not row[0].startswith("can")]


def test_the_guide_has_the_same_table() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    marked = {name: f"``{name}``" for name in PERMISSIONS}
    assert _rows_of(page) == [
        [
            name,
            f"``{area.path}``",
            f"``read:{area.scope}``",
            f"``{area.permission}``" if area.permission else "",
            "; ".join(["a team"] * area.teams + [marked[switch] for switch in area.switches]),
        ]
        for name, area in AREAS.items()
    ]


def test_the_guide_explains_every_reason() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    quoted = set(re.findall(r"^``(.+)``$", page, re.MULTILINE))
    quoted |= {text.replace("all_customers (Allow use of all Customers)", "all_ticket_types") for text in quoted}
    quoted |= {re.sub("tickets is read instead of modify", words, text) for text in quoted for words in LEVELS}
    found = [reason for _name, _answer, _known, state, reason in JUDGED.values() if state != "granted" and reason]
    reasons = {part for reason in found for part in reason.split("; ")}
    assert {reason.replace("edit:tickets", "read:tickets") for reason in reasons} <= quoted


# What is asked


def page(*rows: Any) -> Any:
    return answer({"record_count": len(rows), "page_no": 1, "page_size": 1, "tickets": list(rows)})


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (page({"id": 1}), "granted"),
        (answer([{"id": 1}]), "granted"),
        (page(), "empty"),
        (answer([]), "empty"),
        (answer(None), "empty"),
        (answer(None, 403), "refused"),
        (answer("You may not", 403), "refused"),
        (answer(None, 401), "refused"),
    ],
)
def test_one_row_is_asked_for(reply: Any, state: str) -> None:
    halo = Halo()
    halo.disturb("GET /Tickets", reply, times=2)
    (found,) = ask(halo.client(), ["read tickets"], known)
    assert found["state"] == state
    # a refused token is renewed once
    assert halo.reads == ["GET /Tickets"] * (2 if reply.status == 401 else 1)


@pytest.mark.parametrize(
    "reply", [answer(None, 500), answer(None, 404), answer({"Message": "x"}), answer("text"), answer(None, 429)]
)
def test_what_is_no_answer_is_neither_granted_nor_refused(reply: Any) -> None:
    halo = Halo()
    halo.disturb("GET /Tickets", reply)
    with pytest.raises(HaloError, match=r"GET /Tickets"):
        ask(halo.client(), ["read tickets"], known)


def test_each_endpoint_is_asked_once_and_roles_only_where_a_row_does_not_say_it() -> None:
    halo, read = Halo(), []

    def look() -> Known:
        read.append(1)
        return known(TICKETS, [MEMBER])

    halo.disturb("GET /Tickets", page({"id": 1}), times=9)
    halo.disturb("GET /Client", page({"id": 1}), times=9)
    client = halo.client()
    assert len(ask(client, ["read tickets", "read customers", "read tickets"], look)) == 2
    assert (halo.reads, read) == (["GET /Tickets", "GET /Client"], [])
    found = ask(client, ["read tickets", "edit tickets"], look)
    assert [one["state"] for one in found] == ["granted", "granted"]
    assert (halo.reads[2:], read) == (["GET /Tickets"], [1])


def held_by(halo: Halo) -> Any:
    client = halo.client()
    return held(client, look_up(client, 3))


def roles(halo: Halo, *claims: Any) -> None:
    """Give agent 3 a role for each list of claims; None: Halo does not say them."""
    halo.agent(3, "Admin", roles=["r-1", "r-2"][: len(claims)])
    halo.claims = {f"r-{number}": one for number, one in enumerate(claims, 1)}


def test_what_an_agent_may_do_is_what_its_roles_allow_together() -> None:
    halo = Halo()
    roles(halo, [{"type": "Tx", "value": "1"}], [{"type": "Ticket_Level", "value": "2"}, {"type": "SA", "value": "0"}])
    halo.agents[3]["teams"] = [{"team_id": 1, "team_name": "Support", "unassigned_access": True}]
    permissions, teams = held_by(halo)
    assert permissions == {"administrator": False, "tickets": "modify"}
    assert [(team.name, team.switches["sees_unassigned"]) for team in teams or []] == [("Support", True)]
    roles(halo, [])
    halo.agents[3]["claims"] = [{"type": "Ux", "value": "2"}]
    assert held_by(halo) == ({"customers": "read"}, [])


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("GET /Roles/r-1", answer({"id": "r-1", "claims": None})),
        ("GET /Roles/r-1", answer(None, 403)),
        ("GET /Roles/r-1", answer(None, 404)),
        ("GET /Agent/3", answer(None, 403)),
        ("GET /Agent/3", answer({"id": 3, "role_list": "Admin"})),
    ],
)
def test_what_cannot_be_read_is_not_known(path: str, reply: Any) -> None:
    halo = Halo()
    halo.disturb(path, reply)
    roles(halo, [{"type": "Tx", "value": "1"}])
    assert held_by(halo)[0] is None
