# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Agent roles from a playbook's point of view: in check mode, for real, and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from helpers.playbook import Steps, foretold, setting, steered, task
from helpers.tasks import perform, perform_both, promised

ROLE, INFO, AGENT = "halo_role", "halo_role_info", "halo_api_agent"
WISH: dict[str, Any] = {
    "name": "API tickets",
    "permissions": {"tickets": "modify", "add_tickets": True, "customers": "names", "all_customers": True},
}


def role_of(sandbox: Sandbox, name: str) -> dict[str, Any]:
    (found,) = (row for row in sandbox.state("acme")["roles"] if row["name"] == name)
    return found


def claims_of(sandbox: Sandbox, name: str) -> dict[str, str]:
    return {claim["type"]: claim["value"] for claim in role_of(sandbox, name)["claims"]}


def made(done: Steps) -> str:
    return str(done["create"].result["role"]["id"])


def test_the_life_of_a_role(sandbox: Sandbox, folder: Path) -> None:
    done = perform_both(
        sandbox,
        folder,
        [
            *foretold("create", ROLE, **WISH),
            *foretold(
                "add", ROLE, name="api TICKETS", claims=[{"type": "Px", "value": 1}, {"type": "Ex", "value": "2"}]
            ),
            *foretold("change", ROLE, name="API tickets", permissions={"tickets": "read", "users": "read"}),
            *foretold("both", ROLE, name="API tickets", permissions={"assets": "remove"}, claims=[]),
            *foretold("rename", ROLE, role_id=made, name="Renamed", properties={"notes": "For the robots"}),
            *foretold("empty", ROLE, name="Renamed", permissions={}),
            *foretold("remove", ROLE, name="Renamed", state="absent"),
        ],
    )
    created = promised(done, "create", "role")
    view = {"id": created["role"]["id"], **WISH, "claims": [], "built_in": False}
    assert created["role"] == view
    assert created["diff"] == {"before": {}, "after": view}
    assert done["create, check"].result["role"] == {**view, "id": None}
    added = promised(done, "add", "role")["role"]
    assert added == {**view, "claims": [{"type": "Ex", "value": "2"}, {"type": "Px", "value": "1"}]}
    changed = promised(done, "change", "role")
    assert changed["role"] == {**added, "permissions": {"tickets": "read", "users": "read"}}
    assert changed["diff"]["before"] == added
    assert promised(done, "both", "role")["role"] == {**view, "permissions": {"assets": "remove"}}
    renamed = promised(done, "rename", "role")["role"]
    assert renamed == {**view, "permissions": {"assets": "remove"}, "name": "Renamed"}
    assert promised(done, "empty", "role")["role"]["permissions"] == {}
    removed = promised(done, "remove", "role")
    assert removed["role"] is None
    assert removed["diff"]["after"] == {}
    assert done["remove"].writes == [f"DELETE /api/Roles/{made(done)}"]
    assert [row["name"] for row in sandbox.state("acme")["roles"]] == [
        "Administrator", "Standard User", "API Integration", "Read Only",
    ]  # fmt: skip


def test_only_what_was_set_is_sent(sandbox: Sandbox, folder: Path) -> None:
    """Of a role that has claims of both kinds, some under older names."""
    done = perform_both(
        sandbox,
        folder,
        [
            task(
                "as it is",
                ROLE,
                name="API Integration",
                permissions={"tickets": "modify", "add_tickets": True, "customers": "read", "sales": "none"},
            ),
            task("a built-in one as it is", ROLE, name="Administrator", permissions={"administrator": True}, claims=[]),
            task("less", ROLE, name="API Integration", permissions={"tickets": "read"}),
        ],
    )
    for name in ("as it is", "a built-in one as it is"):
        assert (done[name].outcome, done[name].result["changed"]) == ("ok", False), done[name].result
    assert done["less"].result["role"]["claims"] == [{"type": "Ex", "value": "1"}]
    assert claims_of(sandbox, "API Integration") == {
        "Ex": "1", "Ticket_Level": "1", "Can_Log_Tickets": "0", "Customers_Level": "0",
    }  # fmt: skip


STEADY: dict[str, dict[str, Any]] = {
    "letter case and blanks": {"name": "  API-Z "},
    "non-ASCII": {"name": "Ægir Ünïcödé ☃ 日本語", "permissions": {"tickets": "read"}},
    "a comma": {"name": "One, two", "permissions": {}},
    "nothing": {"name": "nothing", "permissions": {"tickets": "none", "add_tickets": False}, "claims": []},
    "a switch that is off": {"name": "off", "permissions": {"administrator": False, "tickets": "modify"}},
    "claims": {"name": "claims", "claims": [{"type": " Px ", "value": " 1 "}, {"type": "Px", "value": "1"}]},
    "letter case of values": {"name": "case", "claims": [{"type": "ln", "value": "True"}]},
}


def test_what_halo_normalises_is_no_change_the_next_time(sandbox: Sandbox, folder: Path) -> None:
    tasks = [
        made
        for name, args in STEADY.items()
        for made in (task(name, ROLE, **args), task(f"{name}, again", ROLE, **args))
    ]
    done = perform(sandbox, folder, tasks)
    for name in STEADY:
        first, again = done[name], done[f"{name}, again"]
        assert first.outcome == "ok", (name, first.result)
        assert first.writes == ["POST /api/Roles"], name
        assert again.result["changed"] is False, (name, again.result["diff"])
        assert "warnings" not in {**first.result, **again.result}


@pytest.mark.parametrize(
    "settings",
    [{"list_shape": "wrapped"}, {"list_shape": "results", "answer_shape": "array", "write_status": 200}],
    ids=str,
)
def test_halo_answers_in_other_shapes(sandbox: Sandbox, folder: Path, settings: dict[str, Any]) -> None:
    sandbox.settings(**settings)
    done = perform(
        sandbox,
        folder,
        [
            *foretold("create", ROLE, **WISH),
            *foretold("change", ROLE, name="API tickets", permissions={"tickets": "read"}),
            *foretold("remove", ROLE, name="API tickets", state="absent"),
        ],
    )
    for name in ("create", "change", "remove"):
        promised(done, name, "role")


def test_a_halo_that_merges_claims_is_told_what_to_take_away(sandbox: Sandbox, folder: Path) -> None:
    """Permissions do not hang on how Halo takes a list of claims; other claims do, and the user hears of it."""
    sandbox.settings(role_claims="merge")
    done = perform(
        sandbox,
        folder,
        [
            *foretold("create", ROLE, **WISH),
            *foretold("less", ROLE, name="API tickets", permissions={"tickets": "read"}),
            task("claims", ROLE, name="API tickets", claims=[{"type": "Px", "value": "1"}]),
            task("other claims", ROLE, name="API tickets", claims=[{"type": "Ex", "value": "1"}]),
        ],
    )
    assert promised(done, "less", "role")["role"]["permissions"] == {"tickets": "read"}
    assert "warnings" not in done["claims"].result
    assert done["other claims"].result["warnings"] == ["Halo answered without an error and did not keep: claims."]


def test_a_role_is_there_for_the_agent_of_the_next_task(sandbox: Sandbox, folder: Path) -> None:
    done = perform(
        sandbox,
        folder,
        [
            task("role", ROLE, **WISH),
            task("agent", AGENT, name="api-x", roles=["API tickets"], enabled=False),
            task("in use", ROLE, name="API tickets", state="absent"),
            {**task("in use, check", ROLE, name="API tickets", state="absent"), "check_mode": True},
            task("forced", ROLE, name="API tickets", state="absent", force=True),
        ],
    )
    assert done["agent"].result["agent"]["roles"] == ["API tickets"]
    for name in ("in use", "in use, check"):
        assert "role 'API tickets': it is a role of the agent 'api-x'" in done[name].result["msg"]
        assert done[name].writes == []
    assert done["forced"].result["changed"] is True


def test_what_is_listed(sandbox: Sandbox, folder: Path) -> None:
    sandbox.settings(read_only=True)
    done = perform_both(
        sandbox,
        folder,
        [
            task("all", INFO),
            task("by name", INFO, name="read ONLY"),
            task("none", INFO, name="Read"),
            steered(task("wrapped", INFO), setting(list_shape="results")),
            {**task("in check mode", INFO), "check_mode": True},
        ],
    )
    for step in done.steps:
        assert (step.outcome, step.result["changed"], step.writes) == ("ok", False, [])
    roles = done["all"].result["roles"]
    assert [row["name"] for row in roles] == ["Administrator", "API Integration", "Read Only", "Standard User"]
    assert roles == done["wrapped"].result["roles"] == done["in check mode"].result["roles"]
    assert roles[0]["permissions"] == {"administrator": True}
    assert [row["built_in"] for row in roles] == [True, False, False, True]
    assert done["by name"].result["roles"] == [
        {
            "id": role_of(sandbox, "Read Only")["id"],
            "name": "Read Only",
            "permissions": {"tickets": "read", "customers": "read", "all_ticket_types": True},
            "claims": [{"type": "Px", "value": "1"}],
            "built_in": False,
        }
    ]
    assert done["none"].result["roles"] == []
    by_id = perform(sandbox, folder, [task("by id", INFO, role_id=roles[2]["id"])])
    assert by_id["by id"].result["roles"] == [roles[2]]
