# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""API-only agents from a playbook's point of view: rehearsed, done, done again."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Play, promised
from halo_sandbox.testing import Sandbox
from helpers.playbook import rehearsed, steered, task

AGENT = "halo_api_agent"
WISH: dict[str, Any] = {
    "name": "api-x", "email": "api-x@example.com", "roles": ["API Integration"], "teams": ["1st Line Support"],
    "default_team": "1st Line Support",
}  # fmt: skip
SHOWN = {**WISH, "id": 8, "api_only": True, "enabled": True}


def test_the_life_of_an_agent(everywhere: Play, sandbox: Sandbox) -> None:
    done = everywhere(
        [
            *rehearsed("create", AGENT, **WISH),
            *rehearsed("change", AGENT, name="API-X", email="other@example.com", roles=["Read Only", "3"], teams=[]),
            *rehearsed("grow", AGENT, name="api-x", append=True, teams=["Projects"], roles=["Standard User"]),
            *rehearsed("disable", AGENT, name="api-x", enabled=False),
            *rehearsed("rename", AGENT, agent_id=8, name="api-y", default_team=""),
            *rehearsed("remove", AGENT, name="api-y", state="absent"),
        ]
    )
    assert done.status == 0
    assert done.warnings == []
    created = promised(done, "create", "agent")
    assert created["agent"] == SHOWN
    assert created["diff"] == {"before": {}, "after": SHOWN}
    assert done["create, check"].result["agent"] == {**SHOWN, "id": None}
    changed = promised(done, "change", "agent")
    assert changed["agent"] == {
        **SHOWN, "email": "other@example.com", "roles": ["API Integration", "Read Only"], "teams": [],
    }  # fmt: skip
    assert changed["diff"]["before"] == SHOWN
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


def test_only_what_was_set_is_sent(play: Play, sandbox: Sandbox) -> None:
    (row,) = sandbox.put_agents(
        "acme", {"name": "api-x", "isapiagent": True, "email": "x@example.com", "jobtitle": "Robot"}
    )
    done = play([task("change", AGENT, name="api-x", default_team="Projects")])
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


def test_what_halo_normalises_is_no_change_the_next_time(play: Play) -> None:
    tasks = [
        made
        for name, args in STEADY.items()
        for made in (task(name, AGENT, **args), task(f"{name}, again", AGENT, **args))
    ]
    done = play(tasks)
    for name in STEADY:
        first, again = done[name], done[f"{name}, again"]
        assert first.outcome == "ok", (name, first.result)
        assert first.writes == ["POST /api/Agent"], name
        assert again.result["changed"] is False, (name, again.result["diff"])
        assert again.writes == [], name
        assert "warnings" not in {**first.result, **again.result}
    assert done["non-ASCII"].result["agent"]["name"] == STEADY["non-ASCII"]["name"]


def test_hidden_agents_are_found_and_not_made_twice(everywhere: Play) -> None:
    def prepare(sandbox: Sandbox) -> None:
        sandbox.put_agents(
            "acme",
            {"name": "api-hidden", "isapiagent": True, "isdisabled": True},
            {"name": "api-hidden too", "isapiagent": True},
        )

    done = everywhere(
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
def test_halo_answers_in_other_shapes(play: Play, sandbox: Sandbox, settings: dict[str, Any]) -> None:
    sandbox.settings(**settings)
    sandbox.put_agents("acme", *({"name": f"robot {number}", "isapiagent": True} for number in range(150)))
    done = play(
        [
            *rehearsed("create", AGENT, **WISH),
            *rehearsed("change", AGENT, name="api-x", roles=["Read Only"]),
            *rehearsed("remove", AGENT, name="robot 149", state="absent"),
        ]
    )
    assert done.warnings == []
    for name in ("create", "change", "remove"):
        promised(done, name, "agent")


def test_known_id_saves_the_search(play: Play) -> None:
    done = play(
        [
            task("create", AGENT, **WISH),
            task("known", AGENT, name="api-x", known_id=8),
            task("gone", AGENT, name="api-x", known_id=99),
            task("another", AGENT, name="api-x", known_id=4),
        ]
    )
    assert done["known"].asked == ["GET /api/Agent/8"]
    for name in ("known", "gone", "another"):
        assert done[name].result["changed"] is False
        assert done[name].result["agent"]["id"] == 8


def test_halo_that_does_not_keep_what_it_was_sent_is_warned_of(play: Play) -> None:
    answer = {"id": 8, "name": "api-x", "isapiagent": True, "roles": [], "teams": [], "email": "x@example.com"}
    lie = ("POST", "faults", {"kind": "status", "status": 200, "body": answer, "method": "POST", "path": "^/api/agent"})
    done = play([steered(task("create", AGENT, name="api-x", roles=["Read Only"]), lie)])
    assert done["create"].result["warnings"] == ["Halo answered without an error and did not keep: roles."]
