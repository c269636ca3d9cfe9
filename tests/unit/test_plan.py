# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is sent so that an object becomes what the user wants, and what the result is said to be."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.plan import Change, plan
from ansible_collections.haloops.halo.plugins.module_utils.resources.agent import AGENT
from ansible_collections.haloops.halo.plugins.module_utils.resources.application import APPLICATION, METHODS
from ansible_collections.haloops.halo.plugins.module_utils.resources.integrator import INTEGRATOR
from ansible_collections.haloops.halo.plugins.module_utils.resources.role import (
    NAMED,
    PERMISSIONS,
    ROLE,
    OtherClaims,
    Permissions,
)
from ansible_collections.haloops.halo.plugins.module_utils.spec import (
    Choice,
    Field,
    Flag,
    NameRef,
    OneRef,
    Ref,
    Refs,
    Resource,
    Text,
    Values,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ADMIN, READER, WRITER = Ref("r-1", "Admin"), Ref("r-2", "Reader"), Ref("r-3", "Writer")
ADMIN_ROW = {"id": "r-1", "name": "Admin", "id_int": 1}
READER_ROW = {"id": "r-2", "name": "Reader", "id_int": 2}
# what the web application sets for a new member of a team
NEW = {"in_section": True, "unassigned_access": True, "otheragent_access": True, "is_manager": False}
OPS_ROW = {"id": 90, "team_id": 5, "team_name": "Ops", "is_manager": True, "in_section": True, "fortickets": True}
CURRENT: dict[str, Any] = {
    "id": 31,
    "name": "api-x",
    "email": "x@example.com",
    "isapiagent": True,
    "isdisabled": False,
    "team": "Ops",
    "roles": [ADMIN_ROW, READER_ROW],
    "teams": [OPS_ROW],
    "jobtitle": "Robot",
    "unknown": {"a": 1, "b": [1, 2]},
}


@pytest.mark.parametrize(
    ("desired", "payload"),
    [
        ({}, {}),
        ({"name": "api-x"}, {}),
        ({"name": " API-X "}, {}),
        ({"name": "api-y"}, {"name": "api-y"}),
        ({"email": "X@Example.com"}, {}),
        ({"email": None}, {}),
        ({"email": ""}, {"email": ""}),
        ({"email": "y@example.com"}, {"email": "y@example.com"}),
        ({"api_only": True, "enabled": True}, {}),
        ({"api_only": False}, {"isapiagent": False}),
        ({"enabled": False}, {"isdisabled": True}),
        ({"roles": None}, {}),
        ({"roles": [READER, ADMIN]}, {}),
        ({"roles": [READER, ADMIN, READER]}, {}),
        ({"roles": [ADMIN]}, {"roles": [ADMIN_ROW]}),
        ({"roles": [ADMIN, READER, WRITER]}, {"roles": [ADMIN_ROW, READER_ROW, {"id": "r-3"}]}),
        ({"roles": [WRITER]}, {"roles": [{"id": "r-3"}]}),
        ({"roles": []}, {"roles": []}),
        ({"teams": [Ref("5", "Ops")]}, {}),
        ({"teams": [Ref(6, "Projects")]}, {"teams": [{"team_id": 6, **NEW}]}),
        ({"teams": [Ref(5, "Ops"), Ref(6, "Projects")]}, {"teams": [OPS_ROW, {"team_id": 6, **NEW}]}),
        (
            {"teams": [Ref(6, "Projects", {"leader": True, "sees_others": False})]},
            {"teams": [{"team_id": 6, **NEW, "is_manager": True, "otheragent_access": False}]},
        ),
        ({"teams": [Ref(5, "Ops", {"leader": True, "sees_unassigned": False})]}, {}),
        ({"teams": [Ref(5, "Ops", {"leader": False})]}, {"teams": [{**OPS_ROW, "is_manager": False}]}),
        ({"teams": [Ref(5, "Ops", {"sees_unassigned": True})]}, {"teams": [{**OPS_ROW, "unassigned_access": True}]}),
        ({"default_team": "ops"}, {}),
        ({"default_team": "Projects"}, {"team": "Projects"}),
        ({"default_team": ""}, {"team": ""}),
        ({"name": "api-x", "email": "y@example.com", "enabled": False}, {"email": "y@example.com", "isdisabled": True}),
    ],
)
def test_update(desired: dict[str, Any], payload: dict[str, Any]) -> None:
    change = plan(AGENT, CURRENT, desired)
    assert change.payload == payload
    assert change.action == ("update" if payload else "none")
    assert change.changed is bool(payload)
    assert "id" not in change.payload
    if not payload:
        assert change.after == change.before == AGENT.public(CURRENT)
        assert change.fields == ()


def test_after_an_update() -> None:
    change = plan(AGENT, CURRENT, {"roles": [WRITER], "default_team": "", "enabled": False, "name": "API-X"})
    assert change.fields == ("enabled", "roles", "default_team")
    assert change.before == AGENT.public(CURRENT)
    # the letter case of a name that is the same to Halo stays as Halo has it
    assert change.after == {**change.before, "roles": ["Writer"], "default_team": None, "enabled": False}


@pytest.mark.parametrize(
    ("desired", "payload"),
    [
        ({"roles": [READER]}, {}),
        ({"roles": []}, {}),
        ({"roles": [WRITER]}, {"roles": [ADMIN_ROW, READER_ROW, {"id": "r-3"}]}),
        ({"roles": [WRITER, ADMIN]}, {"roles": [ADMIN_ROW, READER_ROW, {"id": "r-3"}]}),
        ({"teams": [Ref(6, "Projects")]}, {"teams": [OPS_ROW, {"team_id": 6, **NEW}]}),
        ({"teams": [Ref(5, "Ops", {"leader": True})]}, {}),
        ({"teams": [Ref(5, "Ops", {"leader": False})]}, {"teams": [{**OPS_ROW, "is_manager": False}]}),
        ({"email": "y@example.com"}, {"email": "y@example.com"}),
    ],
)
def test_append_lets_lists_only_grow(desired: dict[str, Any], payload: dict[str, Any]) -> None:
    change = plan(AGENT, CURRENT, desired, append=True)
    assert change.payload == payload
    if "roles" in payload:
        assert change.after
        assert change.after["roles"] == ["Admin", "Reader", "Writer"]


def test_append_with_strings() -> None:
    kept = {"id": 4, "application_id": "a", "name": "read:x"}
    current = {"id": "a", "scopes": [kept]}
    change = plan(APPLICATION, current, {"scopes": ["edit:x"]}, append=True)
    assert change.payload == {"scopes": [{"name": "edit:x"}, kept]}
    assert change.after
    assert change.after["scopes"] == ["edit:x", "read:x"]
    assert plan(APPLICATION, current, {"scopes": ["read:x"]}, append=True).action == "none"


def test_create() -> None:
    desired = {
        "name": "api-y",
        "email": None,
        "api_only": True,
        "enabled": True,
        "roles": [ADMIN],
        "teams": [],
        "default_team": "Ops",
    }
    change = plan(AGENT, None, desired)
    assert change.action == "create"
    assert change.before is None
    assert change.payload == {
        "name": "api-y",
        "isapiagent": True,
        "isdisabled": False,
        "roles": [{"id": "r-1"}],
        "team": "Ops",
    }
    assert change.after == {
        "id": None,
        "name": "api-y",
        "email": None,
        "api_only": True,
        "enabled": True,
        "roles": ["Admin"],
        "teams": [],
        "default_team": "Ops",
    }


def test_an_application_is_created_without_a_client_id_of_its_own() -> None:
    change = plan(
        APPLICATION,
        None,
        {
            "name": "App",
            "authentication_method": "client_credentials",
            "login_type": "agent",
            "login_agent": Ref(7, "api-x"),
        },
    )
    assert change.payload == {
        "displayName": "App",
        "grant_type": "client_credentials",
        "allowagents": True,
        "loginas_agent_id": 7,
    }
    assert change.after
    assert change.after["login_agent"] == {"id": 7, "name": "api-x"}
    assert change.after["client_id"] is None
    assert change.after["system"] is False


@pytest.mark.parametrize(
    ("current", "action"),
    [(None, "none"), (CURRENT, "delete")],
)
def test_absent(current: dict[str, Any] | None, action: str) -> None:
    change = plan(AGENT, current, {"name": "other", "roles": []}, state="absent")
    assert (change.action, change.payload, change.after) == (action, {}, None)
    assert change.before == (AGENT.public(current) if current else None)


@pytest.mark.parametrize(
    ("properties", "payload"),
    [
        (None, {}),
        ({}, {}),
        ({"jobtitle": "Robot"}, {}),
        ({"jobtitle": " Robot "}, {}),
        ({"jobtitle": "robot"}, {"jobtitle": "robot"}),
        ({"jobtitle": ""}, {"jobtitle": ""}),
        ({"surname": ""}, {}),
        ({"surname": None}, {}),
        ({"surname": "X"}, {"surname": "X"}),
        ({"isapiagent": True}, {}),
        ({"unknown": {"a": 1}}, {}),
        ({"unknown": {"a": 2}}, {"unknown": {"a": 2}}),
        ({"unknown": {"b": [1, 2]}}, {}),
        ({"unknown": {"b": [2, 1]}}, {"unknown": {"b": [2, 1]}}),
        ({"unknown": {"b": [1]}}, {"unknown": {"b": [1]}}),
        ({"id_like": 3, "jobtitle": "Robot"}, {"id_like": 3}),
    ],
)
def test_properties(properties: dict[str, Any] | None, payload: dict[str, Any]) -> None:
    change = plan(AGENT, CURRENT, {"name": "api-x"}, properties=properties)
    assert change.payload == payload
    assert change.fields == tuple("properties." + name for name in payload)
    assert change.action == ("update" if payload else "none")


def test_properties_of_a_new_object_are_sent_as_they_are() -> None:
    change = plan(AGENT, None, {"name": "api-y"}, properties={"jobtitle": "Robot", "workday_id": 1})
    assert change.payload == {"name": "api-y", "jobtitle": "Robot", "workday_id": 1}


@pytest.mark.parametrize("empty", [None, "", "  ", [], False])
def test_nothing_is_nothing_however_halo_or_the_user_writes_it(empty: Any) -> None:
    for current in ({"id": 1, "x": empty}, {"id": 1, "x": None}, {"id": 1}):
        assert plan(AGENT, current, {}, properties={"x": None}).action == "none"
    assert plan(AGENT, {"id": 1}, {}, properties={"x": empty}).action == "none"


@pytest.mark.parametrize("value", [0, {}, [0], "x", True])
def test_other_values_differ_from_nothing(value: Any) -> None:
    assert plan(AGENT, {"id": 1}, {}, properties={"x": value}).payload == {"x": value}
    assert plan(AGENT, {"id": 1, "x": value}, {}, properties={"x": None}).payload == {"x": None}


# What differs, in words


@pytest.mark.parametrize(
    ("desired", "sentences"),
    [
        ({"name": "API-X", "enabled": True, "roles": [READER, ADMIN]}, []),
        ({"enabled": False}, ["enabled: true instead of false"]),
        ({"email": "y@example.com"}, ["email: x@example.com instead of y@example.com"]),
        ({"email": ""}, ["email: x@example.com instead of nothing"]),
        ({"roles": [READER, WRITER]}, ["roles: Writer is missing", "roles: Admin is not declared"]),
        ({"teams": []}, ["teams: Ops is not declared"]),
        ({"teams": [Ref(5, "Ops", {"sees_unassigned": True})]}, ["teams: Ops sees_unassigned: false instead of true"]),
        ({"teams": [Ref(6, "New", {"leader": True})]}, ["teams: New is missing", "teams: Ops is not declared"]),
        ({"default_team": "Projects"}, ["default team: Ops instead of Projects"]),
    ],
)
def test_drift_of_an_agent(desired: dict[str, Any], sentences: list[str]) -> None:
    assert plan(AGENT, CURRENT, desired).drift() == sentences


def test_drift_of_an_application() -> None:
    current = {"id": "a", "loginas_agent_id": 7, "loginas_agent_name": "rogue-agent", "inactive": True}
    desired = {"enabled": True, "login_agent": Ref(8, "api-tickets"), "scopes": ["read:tickets"]}
    assert plan(APPLICATION, current, desired).drift() == [
        "enabled: false instead of true",
        "login agent: rogue-agent instead of api-tickets",
        "scopes: read:tickets is missing",
    ]
    nobody = plan(APPLICATION, {"id": "a"}, {"login_agent": Ref(8, "api-tickets")})
    assert nobody.drift() == ["login agent: nothing instead of api-tickets"]


def test_drift_of_what_is_not_there_or_shall_not_be() -> None:
    assert plan(AGENT, None, {"name": "x", "enabled": True}).drift() == ["there is no such agent"]
    assert plan(AGENT, None, {}, state="absent").drift() == []
    assert plan(APPLICATION, {"id": "a"}, {}, state="absent").drift() == ["there is such an application"]


def test_drift_tells_no_value_of_a_field_that_is_not_modelled() -> None:
    change = plan(AGENT, CURRENT, {}, properties={"jobtitle": "s3cret"})
    assert change.drift() == ["properties.jobtitle is not as declared"]


def test_drift_of_what_only_grows_tells_what_is_missing() -> None:
    assert plan(AGENT, CURRENT, {"roles": [WRITER]}, append=True).drift() == ["roles: Writer is missing"]


@pytest.mark.parametrize(
    ("current", "desired", "payload"),
    [
        ({"loginas_halointegrator": 3}, Ref(3, "Admin"), {}),
        ({"loginas_halointegrator": 3}, Ref(7, "api"), {"loginas_halointegrator": 7}),
        ({"loginas_halointegrator": 0}, Ref(7, "api"), {"loginas_halointegrator": 7}),
        ({}, Ref(7, "api"), {"loginas_halointegrator": 7}),
        ({"loginas_halointegrator": 3}, None, {}),
    ],
)
def test_the_integrators_agent(current: dict[str, Any], desired: Ref | None, payload: dict[str, Any]) -> None:
    assert plan(INTEGRATOR, current, {"login_agent": desired}).payload == payload


def test_uris_that_halo_keeps_joined_are_no_change() -> None:
    current = {"id": "a", "redirecturi_list": None, "redirecturi": "https://b.example.com https://a.example.com"}
    desired = ["https://a.example.com", "https://b.example.com"]
    assert plan(APPLICATION, current, {"redirect_uris": desired}).action == "none"
    cleared = plan(APPLICATION, current, {"redirect_uris": []})
    assert cleared.payload == {"redirecturi_list": []}
    assert cleared.after
    assert cleared.after["redirect_uris"] == []


def test_an_agent_of_an_application_that_is_given_by_id_keeps_its_name() -> None:
    current = {"id": "a", "loginas_agent_id": 7, "loginas_agent_name": "api-x", "allowagents": True}
    change = plan(APPLICATION, current, {"login_agent": Ref("7", None), "name": "New"})
    assert change.after
    assert change.after["login_agent"] == {"id": 7, "name": "api-x"}


# For any object and any wish: the plan is carried out by a Halo that keeps what it is sent, and made again.

_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
_NAMES = _TEXTS.filter(str.strip)


def _refs(switches: Iterable[str]) -> st.SearchStrategy[list[Ref]]:
    chosen = st.dictionaries(st.sampled_from([*switches]), st.booleans()) if switches else st.just({})
    ref = st.builds(Ref, st.integers(1, 9), _NAMES, chosen)
    return st.lists(ref, max_size=4, unique_by=lambda ref: ref.id)


_WORDS = st.lists(_NAMES, max_size=4)


def _wish(field: Field) -> st.SearchStrategy[Any]:
    if isinstance(field, Refs):
        return _refs(field.switches)
    if isinstance(field, OneRef):
        return st.builds(Ref, st.integers(1, 9), _NAMES, st.just({}))
    if isinstance(field, Values):
        return _WORDS
    if isinstance(field, Choice):
        return st.sampled_from(list(field.spellings))
    if isinstance(field, Flag):
        return st.booleans()
    if isinstance(field, (Text, NameRef)):
        return _TEXTS
    if isinstance(field, Permissions):
        words = {name: st.none() | st.sampled_from(list(one.words)) for name, one in PERMISSIONS.items()}
        return st.fixed_dictionaries({}, optional=words)
    if isinstance(field, OtherClaims):
        claim = st.fixed_dictionaries({"type": _NAMES.filter(lambda kind: kind not in NAMED), "value": _NAMES})
        return st.lists(claim, max_size=4)
    return st.sampled_from(["agent", "user"])  # the login type


def _wishes(resource: Resource) -> st.SearchStrategy[dict[str, Any]]:
    # a login agent and the login type user exclude each other, which is checked before a plan is made
    def possible(wish: dict[str, Any]) -> bool:
        return not (wish.get("login_type") == "user" and wish.get("login_agent"))

    fields = {field.name: st.none() | _wish(field) for field in resource.fields}
    return st.fixed_dictionaries({}, optional=fields).filter(possible)


def _carry_out(resource: Resource, current: dict[str, Any] | None, change: Change) -> dict[str, Any]:
    """Halo's object after the payload: it keeps ids and fills in the names, trims texts and forgets empty ones."""
    stored = copy.deepcopy({**(current or {"id": 99}), **change.payload})
    for field in resource.fields:
        if isinstance(field, Refs) and field.api in change.payload:
            rows = [{**row, field.name_key: f"n{row[field.id_key]}"} for row in stored[field.api]]
            stored[field.api] = rows[::-1]
        if isinstance(field, Values) and field.joined and field.api in change.payload:
            stored[field.joined] = " ".join(row[field.key] for row in stored[field.api])
    return {key: value.strip() or None if isinstance(value, str) else value for key, value in stored.items()}


def _objects(resource: Resource) -> st.SearchStrategy[dict[str, Any] | None]:
    return st.none() | _wishes(resource).map(lambda wish: _carry_out(resource, None, plan(resource, None, wish)))


@pytest.mark.parametrize("resource", [AGENT, APPLICATION, INTEGRATOR, ROLE], ids=lambda resource: resource.key)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(resource: Resource) -> None:
    @settings(max_examples=150, deadline=None)
    @given(_objects(resource), _wishes(resource), st.booleans())
    def holds(current: dict[str, Any] | None, wish: dict[str, Any], append: bool) -> None:
        kept = copy.deepcopy((current, wish))
        change = plan(resource, current, wish, append=append)
        assert (current, wish) == kept, "plan changed what it was given"
        again = plan(resource, _carry_out(resource, current, change), wish, append=append)
        assert again.action == "none", (again.payload, again.fields)

    holds()


@pytest.mark.parametrize("resource", [AGENT, APPLICATION, INTEGRATOR, ROLE], ids=lambda resource: resource.key)
def test_what_is_predicted_has_the_keys_of_what_is_there(resource: Resource) -> None:
    @settings(max_examples=100, deadline=None)
    @given(_objects(resource), _wishes(resource))
    def holds(current: dict[str, Any] | None, wish: dict[str, Any]) -> None:
        change = plan(resource, current, wish)
        real = resource.public(_carry_out(resource, current, change))
        assert change.after is not None
        assert set(change.after) == set(real)
        for name, value in change.after.items():
            if isinstance(value, list):
                assert len(value) == len(real[name])
            elif isinstance(value, bool):
                assert value == real[name]

    holds()


def test_every_method_can_be_planned() -> None:
    for method in METHODS:
        change = plan(APPLICATION, {"id": "a", "grant_type": "other"}, {"authentication_method": method})
        assert change.after
        assert change.after["authentication_method"] == method
