# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The self test's table of questions: what it says, what its guide says, and whose names and instances it takes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.auth import Connection
from ansible_collections.haloops.halo.plugins.module_utils.questions import (
    AS_ASSUMED,
    NOT_ASKED,
    OTHERWISE,
    QUESTIONS,
    Finding,
    NotAsked,
    Question,
    Reply,
    answered,
    row,
    secret_shape,
    summary,
    table,
)
from ansible_collections.haloops.halo.plugins.module_utils.self_test import OPTIONS, consents, is_own

GUIDE = Path(__file__).resolve().parent.parent.parent / "docs" / "docsite" / "rst" / "assumptions.rst"
ROW = re.compile(r"^   \* - ``(\w+)``\n     - (.+)\n     - (.+)\n", re.MULTILINE)


def test_the_guide_lists_the_questions_as_they_are() -> None:
    listed = [found.groups() for found in ROW.finditer(GUIDE.read_text())]
    parts = (
        [one for one in QUESTIONS if not one.writes],
        [one for one in QUESTIONS if one.writes and not one.reports],
        [one for one in QUESTIONS if one.reports],
    )
    assert listed == [(one.key, one.text, one.assumed) for part in parts for one in part]
    assert len({one.key for one in QUESTIONS}) == len(QUESTIONS)
    for option in ("confirm", "cleanup", "questions", "reports", "path"):
        assert option in OPTIONS
        assert f"``halo_self_test_{option}``" in GUIDE.read_text()


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("haloops-self-test-0123456789ab-login", True),
        ("haloops-self-test-0123456789ab-agent-change", True),
        ("haloops-self-test-0123456789AB-login", False),
        ("HALOOPS-self-test-0123456789ab-login", False),
        ("haloops-self-test-0123456789abc-login", False),
        ("haloops-self-test-0123456789a-login", False),
        ("haloops-self-test-0123456789ab-", False),
        ("haloops-self-test-0123456789ab", False),
        ("haloops-self-test-0123456789ab-login ", False),
        ("haloops-self-test-0123456789ab-login\n", False),
        ("haloops-self-test-0123456789ab-login-", False),
        ("a haloops-self-test-0123456789ab-login", False),
        ("haloops-self-test", False),
        ("", False),
        (None, False),
    ],
)
def test_its_names_are_told_from_all_others(name: Any, own: bool) -> None:
    assert is_own(name) is own


CONNECTION = Connection(
    url="https://acme.example.com",
    tenant="acme",
    client_id="c",
    client_secret="s",
    access_token=None,
    auth_url=None,
    scope="all",
    verify=True,
    timeout=1,
    retry_seconds=0,
)


@pytest.mark.parametrize(
    ("confirm", "yes"),
    [
        ("https://acme.example.com", True),
        ("https://acme.example.com/", True),
        ("ACME.example.com", True),
        (" acme ", True),
        ("", False),
        ("  ", False),
        ("/", False),
        ("http://acme.example.com", False),
        ("example.com", False),
        ("https://acme.example.com/api", False),
        ("true", False),
        ("none", False),
    ],
)
def test_consent_names_the_instance(confirm: str, yes: bool) -> None:
    assert consents(confirm, CONNECTION) is yes
    for tenant in (None, ""):
        nameless = dataclasses.replace(CONNECTION, tenant=tenant)
        assert consents(confirm, nameless) is (yes and "example" in confirm.lower())


@pytest.mark.parametrize(
    ("reply", "shape"),
    [
        (Reply(404, None), "404, no body"),
        (Reply(404, None, False), "404, no JSON"),
        (Reply(400, "A name such as Bianca"), "400, a text"),
        (Reply(200, [{"name": "Bianca"}]), "200, an array of one"),
        (Reply(200, []), "200, an array"),
        (Reply(200, {"id": 4, "name": "Bianca"}), "200, an object"),
        (Reply(200, {"record_count": 1, "agents": []}), "200, an object with agents, record_count"),
        (Reply(400, {"error": "invalid_scope", "error_description": "x"}), "400, error invalid_scope"),
        (Reply(400, {"error": "Bianca is in the way"}), "400, an object with error"),
        (Reply(400, {}), "400, an empty object"),
        (Reply(400, {"[0].id": []}), "400, an object with [0].id"),
        (Reply(400, {"\x1b]0;title\x07": 1, "9c0e-11": 1, "Ok": 1}), "400, an object with (odd), (odd), Ok"),
        (Reply(400, {"<b>": 1}), "400, an object with (odd)"),
        (Reply(400, {"[0].id": ["x"]}), "400, an object with [0].id"),
        (Reply(200, 5), "200, a value"),
    ],
)
def test_a_shape_holds_no_value(reply: Reply, shape: str) -> None:
    assert reply.shape == shape


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, "nothing"),
        ("", "an empty text"),
        ("********", "a mask"),
        ("AQAAAAEAACcQ", "12 characters, a hash"),
        ("s3cret", "6 characters, no mask and no known hash"),
    ],
)
def test_what_is_in_a_secrets_place(value: Any, shape: str) -> None:
    assert secret_shape(value) == shape


def question(result: Finding | Exception) -> Question:
    def ask(_lab: Any) -> Finding:
        if isinstance(result, Exception):
            raise result
        return result

    return Question("key", "Is it | so?", "yes", ask)


def test_answers_are_counted_and_put_into_a_table() -> None:
    lab: Any = None
    rows = [
        answered(question(Finding(True, "yes")), lab),
        answered(question(NotAsked("403")), lab),
        answered(question(Finding(False, "no:\nnever")), lab),
    ]
    assert [one["answer"] for one in rows] == ["as assumed", "not asked: 403", "otherwise: no:\nnever"]
    assert [one["observed"] for one in rows] == ["yes", "", "no:\nnever"]
    assert summary(rows) == {"as_assumed": 1, "otherwise": 1, "not_asked": 1}
    assert table(rows).splitlines() == [
        "| question | assumed | answer | observed |",
        "| --- | --- | --- | --- |",
        r"| Is it \| so? | yes | otherwise: no: never | no: never |",
        r"| Is it \| so? | yes | not asked: 403 |  |",
        r"| Is it \| so? | yes | as assumed | yes |",
    ]
    assert row(question(Finding(True, "")), OTHERWISE, "x")["answer"] == "otherwise: x"
    assert (AS_ASSUMED, NOT_ASKED) == ("as assumed", "not asked")
