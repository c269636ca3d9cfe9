# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a new client secret is needed, and whether it is made: the whole table."""

from __future__ import annotations

import itertools
import re
import uuid
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.secret import (
    POLICIES,
    Rotation,
    needs_new_secret,
    new_secret,
    secret_in_force,
)


def view(agent: Any = None, login_type: str | None = "agent") -> dict[str, Any]:
    return {"login_agent": {"id": agent, "name": None}, "login_type": login_type}


NONE, CREATED, AGENT, TYPE, ASKED = "none", "created", "agent_changed", "login_type_changed", "requested"

# before, after, reason when the policy is not "always", reason when it is, previous agent
CASES = {
    "new": (None, view(7), CREATED, CREATED, None),
    "new, of a user": (None, view(None, "user"), CREATED, CREATED, None),
    "the same": (view(7), view(7), NONE, ASKED, None),
    "the same, written otherwise": (view(7), view("7"), NONE, ASKED, None),
    "no agent before and after": (view(None), view(None), NONE, ASKED, None),
    "zero is no agent": (view(0), view(None), NONE, ASKED, None),
    "another agent": (view(7), view(8), AGENT, AGENT, 7),
    "an agent for the first time": (view(None), view(8), AGENT, AGENT, None),
    "no agent any more": (view(7), view(None), AGENT, AGENT, 7),
    "agent to user": (view(7), view(None, "user"), TYPE, TYPE, 7),
    "user to agent": (view(None, "user"), view(8), TYPE, TYPE, None),
    "the login type alone": (view(None, "user"), view(None, "agent"), TYPE, TYPE, None),
    "no view of the agent": ({}, {"login_agent": None}, NONE, ASKED, None),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("policy", "given", "deferred"), list(itertools.product(POLICIES, (False, True), (False, True)))
)
def test_table(case: str, policy: str, given: bool, deferred: bool) -> None:
    before, after, reason, always, previous = CASES[case]
    expected = always if policy == "always" else reason
    rotation = needs_new_secret(before, after, policy, given=given, deferred=deferred)
    assert rotation.reason == expected
    assert rotation.required is (expected != "none")
    assert rotation.performed is (expected != "none" and policy != "never" and (given or not deferred))
    assert rotation.previous_agent_id == previous


def test_the_policies_are_those_of_the_contract() -> None:
    assert POLICIES == ("on_agent_change", "always", "never")


def test_public() -> None:
    assert Rotation().public() == {"required": False, "performed": False, "reason": "none", "previous_agent_id": None}
    assert Rotation("agent_changed", True, 7).public() == {
        "required": True, "performed": True, "reason": "agent_changed", "previous_agent_id": 7,
    }  # fmt: skip


def test_new_secrets_have_halos_form_and_never_repeat() -> None:
    made = {new_secret() for dummy in range(50)}
    assert len(made) == 50
    for secret in made:
        assert re.fullmatch(r"[0-9a-f-]{73}", secret)
        for half in (secret[:36], secret[37:]):
            assert str(uuid.UUID(half)) == half
            assert uuid.UUID(half).version == 4
        assert secret[36] == "-"


SENT = "11111111-1111-4111-8111-111111111111-22222222-2222-4222-8222-222222222222"
MADE = "33333333-3333-4333-8333-333333333333-44444444-4444-4444-8444-444444444444"


@pytest.mark.parametrize(
    ("answered", "in_force"),
    [
        (None, SENT),
        ("", SENT),
        ("********", SENT),
        ("AQAAAAEAACcQAAAAEJ0tq3hash", SENT),
        (42, SENT),
        (["x"], SENT),
        (MADE[:36], SENT),
        (MADE + "-x", SENT),
        (SENT, SENT),
        (MADE, MADE),
        (MADE.upper(), MADE.upper()),
        (f" {MADE}\n", MADE),
        ("q" * 43, "q" * 43),
        ("*" * 43, SENT),
        ("q" * 44, SENT),
        ("AQAAAAEAACcQ" + "q" * 72, SENT),
    ],
)
def test_the_servers_own_secret_is_the_truth(answered: Any, in_force: str) -> None:
    assert secret_in_force(SENT, answered) == in_force


@pytest.mark.parametrize(
    ("how", "performed"),
    [
        ({}, True),
        ({"given": True}, True),
        ({"deferred": True}, False),
        ({"given": True, "deferred": True}, True),
    ],
)
def test_a_deferred_one_is_made_where_it_is_given(how: dict[str, bool], performed: bool) -> None:
    assert needs_new_secret(None, view(7), "on_agent_change", **how).performed is performed
