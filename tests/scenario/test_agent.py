# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""API-only agents from a playbook's point of view: in check mode, for real, and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from helpers.playbook import foretold, steered, task
from helpers.tasks import perform, perform_both, promised

AGENT = "halo_api_agent"
WISH: dict[str, Any] = {
    "name": "api-x", "email": "api-x@example.com", "roles": ["API Integration"], "teams": ["1st Line Support"],
    "default_team": "1st Line Support",
}  # fmt: skip
VIEW = {**WISH, "id": 8, "api_only": True, "enabled": True}


def test_the_life_of_an_agent(sandbox: Sandbox, folder: Path) -> None:
    done = perform_both(
        sandbox,
        folder,
        [
            *foretold("create", AGENT, **WISH),
            *foretold("change", AGENT, name="API-X", email="other@example.com", roles=["Read Only", "3"], teams=[]),
            *foretold("grow", AGENT, name="api-x", append=True, teams=["Projects"], roles=["Standard User"]),
            *foretold("disable", AGENT, name="api-x", enabled=False),
            *foretold("rename", AGENT, agent_id=8, name="api-y", default_team=""),
            *foretold("remove", AGENT, name="api-y", state="absent"),
        ],
    )
    created = promised(done, "create", "agent")
    assert created["agent"] == VIEW
    assert created["diff"] == {"before": {}, "after": VIEW}
    assert done["create, check"].result["agent"] == {**VIEW, "id": None}
    changed = promised(done, "change", "agent")
    assert changed["agent"] == {
        **VIEW, "email": "other@example.com", "roles": ["API Integration", "Read Only"], "teams": [],
    }  # fmt: skip
    assert changed["diff"]["before"] == VIEW
    grown = promised(done, "grow", "agent")
    assert grown["agent"]["roles"] == ["API Integration", "Read Only", "Standard User"]
    assert grown["agent"]["teams"] == ["Projects"]
    # 'enabled' and 'api_only' have defaults: what does not give them wants them so
    assert promised(done, "disable", "agent")["agent"]["enabled"] is False
    renamed = promised(done, "rename", "agent")
    assert renamed["agent"]["name"] == "api-y"
    assert renamed["agent"]["default_team"] is None
    removed = promised(done, "remove", "agent")
    assert removed["agent"] is None
    assert removed["diff"]["after"] == {}
    assert done["remove"].writes == ["DELETE /api/Agent/8"]
    assert [row["name"] for row in sandbox.state("acme")["agents"]] == [
        "Unassigned", "Admin", "Bianca Rossi", "Jörg Müller", "Old Hand", "api-automation",
    ]  # fmt: skip


def test_only_what_was_set_is_sent(sandbox: Sandbox, folder: Path) -> None:
    (row,) = sandbox.put_agents(
        "acme", {"name": "api-x", "isapiagent": True, "email": "x@example.com", "jobtitle": "Robot"}
    )
    done = perform(sandbox, folder, [task("change", AGENT, name="api-x", default_team="Projects")])
    assert done["change"].result["changed"] is True
    after = next(agent for agent in sandbox.state("acme")["agents"] if agent["id"] == row["id"])
    assert {**after, "team": None, "last_modified": None} == {**row, "team": None, "last_modified": None}
    assert after["team"] == "Projects"


# What Halo normalises, or shows otherwise, must not look like a change.
STEADY: dict[str, dict[str, Any]] = {
    "letter case and blanks": {"name": "  API-Z ", "email": " Api-Z@Example.COM "},
    "non-ASCII": {"name": "Ægir Ünïcödé ☃ 日本語", "email": "aegir@example.com"},
    "255 characters": {"name": "n" * 255},
    "quotes and markup": {"name": "O'Hara \"X\" <b>&amp; {{ '{{' }} %41 / \\ ;--"},
    "roles by id and by name, twice": {"name": "api-r", "roles": ["3", "api integration", "API Integration"]},
    "teams by id and by name": {"name": "api-t", "teams": ["5", "projects"]},
    "a team of two of the name by id": {"name": "api-o", "teams": ["6"], "default_team": "Projects"},
    "default team by id": {"name": "api-d", "default_team": "4"},
    "empty lists and texts": {"name": "api-e", "roles": [], "teams": [], "email": "", "default_team": ""},
    "properties": {
        "name": "api-p",
        "properties": {"jobtitle": " Robot ", "workday_id": 1, "new_field": {"a": [1, None]}},
    },
    "a human one": {"name": "Ann Other", "api_only": False},
}


def test_what_halo_normalises_is_no_change_the_next_time(sandbox: Sandbox, folder: Path) -> None:
    tasks = [
        made
        for name, args in STEADY.items()
        for made in (task(name, AGENT, **args), task(f"{name}, again", AGENT, **args))
    ]
    done = perform(sandbox, folder, tasks)
    for name in STEADY:
        first, again = done[name], done[f"{name}, again"]
        assert first.outcome == "ok", (name, first.result)
        assert first.writes == ["POST /api/Agent"], name
        assert again.result["changed"] is False, (name, again.result["diff"])
        assert again.writes == [], name
        assert "warnings" not in {**first.result, **again.result}
    assert done["non-ASCII"].result["agent"]["name"] == STEADY["non-ASCII"]["name"]


def test_hidden_agents_are_found_and_not_made_twice(sandbox: Sandbox, folder: Path) -> None:
    def prepare(sandbox: Sandbox) -> None:
        sandbox.put_agents(
            "acme",
            {"name": "api-hidden", "isapiagent": True, "isdisabled": True},
            {"name": "api-hidden too", "isapiagent": True},
        )

    done = perform_both(
        sandbox,
        folder,
        [task("there", AGENT, name="api-hidden", enabled=False), task("gone", AGENT, name="absent", state="absent")],
        prepare,
    )
    assert done["there"].result["changed"] is False
    assert done["there"].result["agent"]["id"] == 8
    assert done["gone"].result["changed"] is False
    assert done["gone"].result["agent"] is None


@pytest.mark.parametrize(
    "settings",
    [
        {"list_shape": "wrapped"},
        {"list_shape": "results", "answer_shape": "array"},
        {"write_status": 200, "answer_shape": "array"},
    ],
    ids=str,
)
def test_halo_answers_in_other_shapes(sandbox: Sandbox, folder: Path, settings: dict[str, Any]) -> None:
    sandbox.settings(**settings)
    sandbox.put_agents("acme", *({"name": f"robot {number}", "isapiagent": True} for number in range(150)))
    done = perform(
        sandbox,
        folder,
        [
            *foretold("create", AGENT, **WISH),
            *foretold("change", AGENT, name="api-x", roles=["Read Only"]),
            *foretold("remove", AGENT, name="robot 149", state="absent"),
        ],
    )
    for name in ("create", "change", "remove"):
        promised(done, name, "agent")


def test_a_converged_agent_costs_the_list_alone(sandbox: Sandbox, folder: Path) -> None:
    done = perform(
        sandbox,
        folder,
        [
            task("create", AGENT, **WISH),
            task("by name", AGENT, **WISH),
            task("by id", AGENT, agent_id=8, **WISH),
            task("cached", AGENT, cached_id=8, **WISH),
            task("cached one is gone", AGENT, cached_id=99, **WISH),
            task("cached one is another", AGENT, cached_id=4, **WISH),
        ],
    )
    assert len(done["create"].writes) == 1
    expected = {
        "by name": ["GET /api/Agent"],
        "by id": ["GET /api/Agent/8"],
        "cached": ["GET /api/Agent"],
        "cached one is gone": ["GET /api/Agent", "GET /api/Agent/99"],
        "cached one is another": ["GET /api/Agent", "GET /api/Agent/4"],
    }
    for name, calls in expected.items():
        assert done[name].calls == calls, name
        assert (done[name].result["changed"], done[name].result["agent"]) == (False, VIEW), name


def test_what_a_member_of_a_team_may_do(sandbox: Sandbox, folder: Path) -> None:
    """A new membership is one that sees tickets; of others nothing changes but what the user sets."""
    line, second = "1st Line Support", "2nd Line Support"
    done = perform_both(
        sandbox,
        folder,
        [
            *foretold(
                "join",
                AGENT,
                name="api-x",
                teams=[{"name": second, "can_be_assigned": False}, "Projects"],
                append=True,
            ),
            *foretold(
                "switch",
                AGENT,
                name="api-x",
                teams=[{"name": second, "leader": True, "sees_others": "no"}, line, "Projects"],
            ),
            task("as it is", AGENT, name="api-x", teams=[line, second, "Projects"]),
            task("misspelt", AGENT, name="api-x", teams=[{"name": second, "lead": True}]),
        ],
        prepare=a_member,
    )
    assert done["as it is"].result["changed"] is False
    assert promised(done, "join", "agent")["agent"]["teams"] == [line, second, "Projects"]
    assert promised(done, "switch", "agent")["agent"]["teams"] == [line, second, "Projects"]
    assert "teams[0]: lead is not an option; did you mean leader?" in done["misspelt"].result["msg"]
    (agent,) = (row for row in sandbox.state("acme")["agents"] if row["name"] == "api-x")
    switches = ("in_section", "unassigned_access", "otheragent_access", "is_manager")
    kept = {row["team_name"]: [row[name] for name in switches] for row in agent["teams"]}
    assert kept == {
        line: [True, False, True, True],
        second: [False, True, False, True],
        "Projects": [True, True, True, False],
    }


def a_member(sandbox: Sandbox) -> None:
    row = {"team_id": 1, "in_section": True, "unassigned_access": False, "otheragent_access": True, "is_manager": True}
    sandbox.put_agents("acme", {"name": "api-x", "isapiagent": True, "teams": [row]})


def test_halo_that_does_not_keep_what_it_was_sent_is_warned_of(sandbox: Sandbox, folder: Path) -> None:
    answer = {"id": 8, "name": "api-x", "isapiagent": True, "roles": [], "teams": [], "email": "x@example.com"}
    lie = ("POST", "faults", {"kind": "status", "status": 200, "body": answer, "method": "POST", "path": "^/api/agent"})
    done = perform(sandbox, folder, [steered(task("create", AGENT, name="api-x", roles=["Read Only"]), lie)])
    lost, unlisted = done["create"].result["warnings"]
    assert lost == "Halo answered without an error and did not keep: roles."
    assert "list does not show it yet" in unlisted
