# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is taken for a list, for the whole of it, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.errors import AmbiguousWrite, HaloError
from ansible_collections.haloops.halo.plugins.module_utils.http import Response
from ansible_collections.haloops.halo.plugins.module_utils.resources.agent import EVERYONE
from helpers.memory import OWN_ID, Halo, answer

ROWS = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]


@pytest.fixture
def halo() -> Halo:
    return Halo()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "pause", staticmethod(lambda _seconds: None))


def pages(halo: Halo, *answers: Any) -> None:
    for data in answers:
        halo.disturb("GET /Agent", answer(data))


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        {"agents": ROWS},
        {"Agents": ROWS, "errors": []},
        {"record_count": 2, "results": ROWS},
        {"record_count": 2, "anything": ROWS},
        {"errors": [], "page_no": 1, "agents": ROWS},
    ],
    ids=str,
)
def test_a_list_in_any_wrapping(halo: Halo, data: Any) -> None:
    pages(halo, data)
    assert halo.client().list("/Agent") == ROWS


NO_LISTS: list[Any] = [
    None,
    {},
    {"errors": ["No."]},
    {"errors": [{"id": 5, "message": "No."}]},
    {"[0].id": ["Not valid."]},
    {"Message": "No."},
    {"agents": None},
    {"agents": {}},
    {"record_count": 0},
    ["rubbish"],
    [*ROWS, None],
]


@pytest.mark.parametrize("path", ["/Agent", "/Application", "/Roles", "/Team"])
@pytest.mark.parametrize("data", NO_LISTS, ids=str)
def test_what_is_no_list_is_no_empty_one(halo: Halo, path: str, data: Any) -> None:
    halo.disturb(f"GET {path}", answer(data), times=9)
    with pytest.raises(HaloError, match="not with the list that was asked for"):
        halo.client().list(path)


def test_204_is_no_empty_list(halo: Halo) -> None:
    halo.disturb("GET /Agent", answer(None, 204))
    with pytest.raises(HaloError, match="answered 204, and not with the list"):
        halo.client().list("/Agent")


def test_what_halo_says_instead_of_a_list_is_told_unless_it_is_an_object_of_its_own(halo: Halo) -> None:
    halo.disturb("GET /Roles", Response(200, {"Message": "No rights."}, "No rights.", True, ""))
    with pytest.raises(HaloError, match=r"Halo said: No rights\."):
        halo.client().list("/Roles")
    halo.disturb("GET /Roles", Response(200, {"id": "a", "tokens": ["p4yload"]}, "tokens: p4yload", True, ""))
    with pytest.raises(HaloError) as caught:
        halo.client().list("/Roles")
    assert "p4yload" not in str(caught.value) + str(caught.value.failure())


@pytest.mark.parametrize("path", ["/Agent", "/Application"])
@pytest.mark.parametrize("empty", [[], {"agents": [], "applications": []}, {"record_count": 0, "results": []}], ids=str)
def test_an_empty_list_of_what_the_run_itself_is_one_of_is_not_believed(halo: Halo, path: str, empty: Any) -> None:
    halo.disturb(f"GET {path}", answer(empty), times=9)
    with pytest.raises(HaloError, match=r"empty list, which cannot be.*Check the scopes"):
        halo.client().list(path)


@pytest.mark.parametrize("path", ["/Roles", "/Team"])
def test_other_lists_may_be_empty(halo: Halo, path: str) -> None:
    halo.disturb(f"GET {path}", answer([]))
    assert halo.client().list(path) == []


# Pages


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": number} for number in numbers]


def page(count: int, *numbers: int) -> dict[str, Any]:
    return {"record_count": count, "agents": numbered(*numbers)}


def test_a_row_that_went_between_two_pages_hides_no_other(halo: Halo) -> None:
    # 150 rows; row 5 goes while they are read, so that the second page begins with what was row 101
    first, rest = range(100), range(101, 150)
    pages(halo, page(150, *first), page(149, *rest), page(149, *first[:5], *first[6:], 100), page(149, *rest))
    found = [row["id"] for row in halo.client().list("/Agent")]
    assert sorted(found) == [number for number in range(150) if number != 5]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([page(150, *range(100)), page(149, *range(101, 150))], "it changed while it was read"),
        ([page(150, *range(100)), page(150)], "it has 150 rows, and 100 could be read"),
        ([page(150, *range(100)), page(150, *range(100))], "it has 150 rows, and 100 could be read"),
        ([page(150, *range(100)), page(150, *range(100, 130)), page(150)], "it has 150 rows, and 130 could be read"),
        ([page(5, 1, 2), page(5, 1, 2), page(5)], "it has 5 rows, and 2 could be read"),
        ([[{"id": 1}, {"name": "no id"}]], "it has a row without an id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_that_is_not_whole_is_read_again_once_and_then_an_error(
    halo: Halo, answers: list[Any], message: str
) -> None:
    pages(halo, *answers, *answers)
    with pytest.raises(HaloError, match=f"not whole: {message}"):
        halo.client().list("/Agent")
    assert halo.reads == ["GET /Agent"] * 2 * len(answers)


def test_a_list_that_is_whole_at_the_second_reading_is_used(halo: Halo) -> None:
    pages(halo, page(5, 1, 2), page(5, 1, 2), page(5), page(5, 1, 2, 3, 4, 5))
    assert halo.client().list("/Agent") == numbered(1, 2, 3, 4, 5)


def test_a_row_that_comes_twice_is_one(halo: Halo) -> None:
    pages(halo, numbered(1, 2, 2))
    assert halo.client().list("/Agent") == numbered(1, 2)


# The run's own application

LACKS = "lacks the one that this run logs in with"


@pytest.mark.parametrize(
    ("options", "client_id", "warned"),
    [
        ({}, "another", True),
        ({}, OWN_ID.upper(), False),
        ({}, None, False),
        ({"halo_client_id": None, "halo_client_secret": None, "halo_access_token": "given"}, "another", False),
    ],
)
def test_a_list_without_the_runs_own_application(
    halo: Halo, options: dict[str, Any], client_id: str | None, warned: bool
) -> None:
    halo.applications["a-own"]["clientId"] = client_id
    client = halo.client(**options)
    client.list("/Application")
    client.list("/Application")
    assert [LACKS in warning for warning in client.warnings] == [True] * warned


# What was just read is not read again


def test_a_list_is_read_once_until_something_in_it_is_written(halo: Halo) -> None:
    client = halo.client()
    for _time in range(2):
        client.cached("/Agent", EVERYONE)
        client.cached("/Application")
    assert halo.reads == ["GET /Agent", "GET /Application"]
    client.save("/Agent", {"name": "x"})
    assert [row["name"] for row in client.cached("/Agent", EVERYONE)][-1] == "x"
    client.cached("/Application")
    assert halo.reads == ["GET /Agent", "GET /Application", "GET /Agent"]
    client.delete("/Agent/8")
    assert "x" not in [row["name"] for row in client.cached("/Agent", EVERYONE)]


def test_other_filters_are_another_list(halo: Halo) -> None:
    client = halo.client()
    client.cached("/Agent", EVERYONE)
    client.cached("/Agent", {**EVERYONE, "search": "x"})
    assert halo.reads == ["GET /Agent", "GET /Agent"]


def test_a_list_that_is_asked_for_as_it_is_now_is_read(halo: Halo) -> None:
    client = halo.client()
    client.cached("/Agent", EVERYONE)
    halo.agent(9, "new")
    assert 9 in [row["id"] for row in client.list("/Agent", EVERYONE)]
    assert 9 in [row["id"] for row in client.cached("/Agent", EVERYONE)]


def test_who_the_run_is_is_asked_once(halo: Halo) -> None:
    client = halo.client()
    assert client.me() is client.me()
    assert client.me()["name"] == "api-own"
    assert halo.reads == ["GET /Agent/me"]


# A creation without an answer


def lost(**about: Any) -> Callable[[], Response]:
    def fail() -> Response:
        raise AmbiguousWrite("the connection was lost.", **about)

    return fail


def test_a_creation_is_not_repeated_on_the_word_of_what_is_no_list(halo: Halo) -> None:
    halo.disturb("POST /Agent", lost())
    halo.disturb("GET /Agent", answer({}), times=9)
    client = halo.client()
    with pytest.raises(AmbiguousWrite, match="could not be seen"):
        client.save("/Agent", {"name": "x"}, lambda: client.list("/Agent") and None)
    assert halo.writes == ["POST /Agent"]
