# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the claims of a role mean, how they are changed, and who has a role."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, Refused
from ansible_collections.haloops.halo.plugins.module_utils.plan import Change, plan
from ansible_collections.haloops.halo.plugins.module_utils.resources.role import (
    NAMED,
    PERMISSIONS,
    ROLE,
    guard,
    held_by,
    is_built_in,
)

Claims = list[dict[str, Any]]


def claims(**values: Any) -> Claims:
    return [{"type": kind, "value": value} for kind, value in values.items()]


def role(*more: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"id": "r-9", "name": "API tickets", "claims": [*claims(**values), *more]}


def change(current: dict[str, Any] | None, **desired: Any) -> Change:
    return plan(ROLE, current, {"name": "API tickets", **desired})


@pytest.mark.parametrize(
    ("held", "permissions", "others"),
    [
        ({"Tx": "1"}, {"tickets": "read"}, []),
        ({"Ux": "1", "Fx": "2", "Ix": "3"}, {"customers": "names", "users": "read", "items": "modify"}, []),
        ({"Dx": "2", "Xx": "3"}, {"assets": "modify", "invoices": "remove"}, []),
        ({"Ticket_Level": "2", "Can_Log_Tickets": "1"}, {"tickets": "modify", "add_tickets": True}, []),
        ({"l6": " True ", "l9": "TRUE", "l4": "false"}, {"add_tickets": True, "view_unassigned_tickets": True}, []),
        ({"SA": "true"}, {"administrator": True}, []),
        ({"Administration": "1"}, {"administrator": True}, []),
        ({"l5": "1"}, {"edit_actions": "own"}, []),
        ({"Hx": "1"}, {"timesheets": "own"}, []),
        ({"Hx": "3"}, {"timesheets": "read"}, []),
        ({"Hx": "4"}, {"timesheets": "all"}, []),
        ({"Tx": "0", "l6": "0", "SA": "false", "Ux": "", "Fx": None}, {}, []),
        # a value that is not known is shown, and the type as such is that of no permission in another letter case
        ({"Tx": "7"}, {"tickets": "7"}, []),
        ({"TX": "2", "Px": "1"}, {}, claims(Px="1", TX="2")),
    ],
    ids=str,
)
def test_what_claims_mean(held: dict[str, Any], permissions: dict[str, Any], others: Claims) -> None:
    view = ROLE.public(role(**held))
    assert (view["permissions"], view["claims"]) == (permissions, others)


@pytest.mark.parametrize(
    ("values", "word"),
    [(["1", "2"], "modify"), (["2", "1"], "modify"), (["0", "1"], "read"), (["2", "9"], "9"), (["9", "2"], "9")],
)
def test_of_two_claims_for_one_permission_the_stronger_one_counts(values: list[str], word: str) -> None:
    both = [{"type": kind, "value": value} for kind, value in zip(("Tx", "Ticket_Level"), values, strict=True)]
    assert ROLE.public(role(*both))["permissions"] == {"tickets": word}


@pytest.mark.parametrize("raw", [{}, {"claims": None}, {"claims": []}, {"claims": ["rubbish"]}], ids=str)
def test_a_role_without_claims(raw: dict[str, Any]) -> None:
    view = ROLE.public(raw)
    assert (view["permissions"], view["claims"]) == ({}, [])


@pytest.mark.parametrize(
    ("row", "covered"), [({}, False), ({"claims": None}, False), ({"claims": []}, False), (role(Tx="0"), True)], ids=str
)
@pytest.mark.parametrize("name", ["permissions", "claims"])
def test_a_list_that_shows_no_claims_proves_nothing(name: str, row: dict[str, Any], covered: bool) -> None:
    assert ROLE.field(name).is_covered_by(row) is covered


@pytest.mark.parametrize("name", PERMISSIONS)
def test_each_permission_can_be_set_read_back_and_taken_away(name: str) -> None:
    one = PERMISSIONS[name]
    for word in list(one.words)[1:]:
        made = change(None, permissions={name: word})
        assert made.payload["claims"] == [{"type": one.types[0], "value": one.words[word][0]}]
        there = {"id": "r-9", **made.payload}
        assert ROLE.public(there)["permissions"] == {name: word}
        assert not change(there, permissions={name: word}).changed
        gone = change(there, permissions={})
        assert gone.payload == {"claims": [{"type": one.types[0], "value": one.words[one.least][0]}]}
        assert ROLE.public({**there, **gone.payload})["permissions"] == {}


# What Halo's database keeps, and nothing else here would notice a slip in: the types, the one that is sent first.
TYPES = """
administrator SA Administration; tickets Tx Ticket_Level; add_tickets l6 Can_Log_Tickets;
edit_closed_tickets lf Can_Edit_Closed_Tickets; reassign_tickets l7 Can_Reassign_Tickets;
remove_tickets l4 Can_Remove_Tickets; view_others_tickets l8 Can_View_Tech_Tickets;
view_unassigned_tickets l9 Can_View_Unassigned_Tickets; all_ticket_types Ft; edit_actions l5 Can_Edit_Actions;
customers Ux Customers_Level; all_customers Fc; users Fx; assets Dx Assets_Level; calendar Ax Calendar_Level;
knowledge_base Bx KB_Level; contracts Cx Contract_Level; suppliers Sx Sup_Lvl; items Ix; sales Ox Sales_Level;
quotes Qx; sales_orders Yx; purchase_orders Zx; billing Jx; invoices Xx; reporting Rx Reporting_Level;
services Vx Serv_Lvl; software Wx Software_Level; timesheets Hx Timesheets_Level
"""
LEVELS = {
    "none=0, read=1 modify=2": "tickets calendar knowledge_base contracts suppliers sales quotes sales_orders "
    "purchase_orders billing reporting services software",
    "none=0, names=1 read=2 modify=3": "customers users items",
    "none=0, read=1 modify=2 remove=3": "assets invoices",
    "none=0, read=3 own=1 managed=2 all=4": "timesheets",
    "none=0, own=1 all=3": "edit_actions",
    "False=0,false, True=1,true": "add_tickets edit_closed_tickets reassign_tickets remove_tickets view_others_tickets "
    "view_unassigned_tickets all_ticket_types all_customers",
    "False=false,0, True=true,1": "administrator",
}


def test_types_and_values_are_those_of_halos_database() -> None:
    expected = {name: types for name, *types in (entry.split() for entry in TYPES.split(";"))}
    assert {name: list(one.types) for name, one in PERMISSIONS.items()} == expected
    found: dict[str, list[str]] = {}
    for name, one in PERMISSIONS.items():
        level = " ".join(f"{word}={','.join(values)}" for word, values in one.words.items())
        found.setdefault(level, []).append(name)
    assert {level: " ".join(names) for level, names in found.items()} == LEVELS


def test_no_type_and_no_value_stands_for_two_things() -> None:
    assert len(NAMED) == sum(len(one.types) for one in PERMISSIONS.values())
    assert not set(NAMED) & set(PERMISSIONS)
    for one in PERMISSIONS.values():
        values = [value for values in one.words.values() for value in values]
        assert len(values) == len(set(values))
        assert "" in one.words[one.least]


HELD = role(Ticket_Level="2", l6="true", Cx="0", Px="1", Ex="2")
NAMED_ROWS = {"Ticket_Level": "2", "l6": "true", "Cx": "0"}
NONE_ROWS = {"Ticket_Level": "0", "l6": "0", "Cx": "0"}
OTHER_ROWS = {"Px": "1", "Ex": "2"}
WORDS = {"tickets": "modify", "add_tickets": True}


@pytest.mark.parametrize(
    ("desired", "payload"),
    [
        ({"permissions": WORDS}, None),
        ({"permissions": {**WORDS, "contracts": "none", "users": None}}, None),
        ({"claims": claims(Ex="2", Px="1")}, None),
        ({"claims": [*claims(Ex=" 2 ", Px="1"), *claims(Px="1")]}, None),
        # what stays is sent as it was read, under the type that it has
        ({"permissions": {**WORDS, "tickets": "read"}}, {**OTHER_ROWS, **NAMED_ROWS, "Ticket_Level": "1"}),
        ({"permissions": {"tickets": "modify"}}, {**OTHER_ROWS, **NAMED_ROWS, "l6": "0"}),
        ({"permissions": {}}, {**OTHER_ROWS, **NONE_ROWS}),
        ({"claims": claims(Px="1")}, {**NAMED_ROWS, "Px": "1"}),
        ({"claims": []}, NAMED_ROWS),
        # both together
        ({"permissions": {"users": "read"}, "claims": claims(Px="2")}, {**NONE_ROWS, "Fx": "2", "Px": "2"}),
        ({"permissions": WORDS, "claims": []}, NAMED_ROWS),
        ({"permissions": {}, "claims": claims(Ex="2", Px="1")}, {**OTHER_ROWS, **NONE_ROWS}),
    ],
    ids=str,
)
def test_what_is_sent(desired: dict[str, Any], payload: dict[str, str] | None) -> None:
    planned = change(HELD, **desired)
    assert planned.changed is (payload is not None)
    sent = planned.payload.get("claims", [])
    assert {row["type"]: row["value"] for row in sent} == (payload or {})
    assert len(sent) == len(payload or {})


def test_two_claims_for_one_permission_become_one() -> None:
    both = role(Tx="1", Ticket_Level="2")
    assert not change(both, permissions={"tickets": "modify"}).changed
    assert change(both, permissions={"tickets": "read"}).payload == {"claims": claims(Tx="1")}


def test_how_a_role_differs_in_words() -> None:
    planned = change(HELD, permissions={"tickets": "read", "users": "names"}, claims=claims(Px="2", Ex="2"))
    assert planned.sentences == (
        "permissions: tickets modify instead of read",
        "permissions: add_tickets true instead of false",
        "permissions: users none instead of names",
        "claims: Px=2 is missing",
        "claims: Px=1 is not declared",
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Tx", "claims[1].type: Tx is a permission. Set it as permissions.tickets."),
        ("Ticket_Level", "Set it as permissions.tickets."),
        ("tickets", "Set it as permissions.tickets."),
        (" ", "claims[1].type is empty"),
    ],
)
def test_what_has_a_name_is_no_further_claim(kind: str, message: str) -> None:
    with pytest.raises(HaloError) as caught:
        ROLE.field("claims").check([{"type": "Px", "value": "1"}, {"type": kind, "value": "1"}])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "built_in"),
    [
        ("Administrator", True),
        (" standard USER", True),
        ("HaloITSM Administrator", True),
        ("HaloPSA Standard User", True),
        ("API Administrator", False),
        ("Administrators", False),
        (None, False),
    ],
)
def test_built_in(name: str | None, built_in: bool) -> None:
    assert is_built_in({"name": name}) is built_in


# Guards that take more than a look


class Agents:
    """The part of a client that lists agents; ``details`` is what is answered for each id."""

    def __init__(self, rows: Claims, details: dict[int, Any] | None = None) -> None:
        self.rows = rows
        self.details = details or {}
        self.asked: list[str] = []

    def list(self, path: str, query: dict[str, str]) -> Claims:
        assert (path, query["includeapiagents"], query["includedisabled"]) == ("/Agent", "true", "true")
        return self.rows

    def get(self, path: str, query: dict[str, str]) -> Any:
        assert query == {"includedetails": "true"}
        self.asked.append(path)
        return self.details[int(path.rpartition("/")[2])]

    def cached(self, path: str, query: dict[str, str]) -> Claims:
        assert path == "/Roles"
        return self.rows


def test_who_has_a_role_is_read_off_the_list() -> None:
    halo = Agents([
        {"id": 1, "name": "a", "role_list": "Other, api TICKETS"},
        {"id": 2, "name": "b", "role_list": "API tickets only"},
        {"id": 3, "name": "c", "roles": [{"id": "R-9", "name": "Renamed"}]},
    ])  # fmt: skip
    assert held_by(halo, HELD) == ["a", "c"]  # type: ignore[arg-type]
    assert halo.asked == []


def test_an_agent_whose_row_names_no_role_is_read() -> None:
    rows = [{"id": 1, "name": "a", "role_list": ""}, {"id": 2, "name": "b"}, {"id": 3, "name": "c", "role_list": None}]
    held = {"roles": [{"id": "r-9", "name": "API tickets"}]}
    halo = Agents(rows, {1: held, 2: {"roles": []}, 3: held})
    assert held_by(halo, HELD) == ["a", "c"]  # type: ignore[arg-type]
    assert halo.asked == ["/Agent/1", "/Agent/2", "/Agent/3"]


def test_a_name_that_holds_a_comma_is_not_looked_for_in_a_list_of_names() -> None:
    halo = Agents(
        [{"id": 1, "name": "a", "role_list": "One, two"}], {1: {"roles": [{"id": "r-9", "name": "One, two"}]}}
    )
    assert held_by(halo, {"id": "r-9", "name": "One, two"}) == ["a"]  # type: ignore[arg-type]


@pytest.mark.parametrize("reply", [None, {}])
def test_an_agent_that_cannot_be_read_may_have_the_role(reply: Any) -> None:
    halo = Agents([{"id": 1, "name": "a", "role_list": ""}], {1: reply})
    with pytest.raises(HaloError, match=r"which roles the agent 'a' \(1\) has cannot be read"):
        held_by(halo, HELD)  # type: ignore[arg-type]


@pytest.mark.parametrize("unseen", [{}, {"claims": None}], ids=str)
@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"permissions": {"tickets": "read"}}, True),
        ({"claims": claims(Px="1")}, True),
        ({"permissions": {"tickets": "read"}, "claims": []}, False),
        ({"name": "Renamed"}, False),
    ],
    ids=str,
)
def test_claims_that_halo_does_not_say_are_not_overwritten(
    unseen: dict[str, Any], given: dict[str, Any], refused: bool
) -> None:
    current = {"id": "r-9", "name": "API tickets", **unseen}
    params = {"permissions": None, "claims": None, "allow_built_in": False, "force": False, **given}
    planned = plan(ROLE, current, given)
    assert planned.changed
    try:
        guard(Agents([]), params, current, planned, None)  # type: ignore[arg-type]
        raised = False
    except HaloError as error:
        raised = "would be lost" in str(error)
    assert raised is refused


@pytest.mark.parametrize("state", ["present", "absent"])
def test_an_empty_list_of_roles_is_not_believed(state: str) -> None:
    planned = plan(ROLE, None, {"name": "API tickets"}, state=state)
    with pytest.raises(HaloError, match="gave an empty list, which cannot be"):
        guard(Agents([]), {}, None, planned, None)  # type: ignore[arg-type]
    guard(Agents([HELD]), {}, None, planned, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "agent 'a0'."),
        (2, "agents 'a0', 'a1'."),
        (5, "agents 'a0', 'a1', 'a2', 'a3', 'a4'."),
        (8, "agents 'a0', 'a1', 'a2', 'a3', 'a4' and 3 more."),
    ],
)
def test_many_agents_that_have_a_role_are_counted(count: int, said: str) -> None:
    halo = Agents([{"id": number, "name": f"a{number}", "role_list": "API tickets"} for number in range(count)])
    params = {"allow_built_in": False, "force": False, "permissions": None, "claims": None}
    with pytest.raises(Refused) as caught:
        guard(halo, params, HELD, plan(ROLE, HELD, {}, state="absent"), None)  # type: ignore[arg-type]
    assert caught.value.message == f"it is a role of the {said}"
    assert "force: true" in (caught.value.hint or "")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_built_in_role_is_changed_on_request_alone(allowed: bool) -> None:
    built_in = {"id": "r-1", "name": "Administrator", "claims": claims(SA="true")}
    params = {"allow_built_in": allowed, "force": True, "permissions": {}, "claims": None}
    changed = plan(ROLE, built_in, {"permissions": {}})
    assert changed.changed
    if allowed:
        guard(Agents([]), params, built_in, changed, None)  # type: ignore[arg-type]
    else:
        with pytest.raises(Refused, match="it is a built-in role of Halo"):
            guard(Agents([]), params, built_in, changed, None)  # type: ignore[arg-type]
    guard(Agents([]), params, built_in, plan(ROLE, built_in, {}), None)  # type: ignore[arg-type]
