# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a field reads, writes, compares and shows."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from ansible.module_utils.errors import AnsibleFallbackNotFound
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.resources.agent import AGENT
from ansible_collections.haloops.halo.plugins.module_utils.resources.application import APPLICATION, METHODS, is_system
from ansible_collections.haloops.halo.plugins.module_utils.resources.integrator import INTEGRATOR
from ansible_collections.haloops.halo.plugins.module_utils.resources.role import ROLE
from ansible_collections.haloops.halo.plugins.module_utils.spec import (
    CONNECTION,
    Choice,
    Field,
    Flag,
    NameRef,
    OneRef,
    Ref,
    Refs,
    Text,
    Values,
    environment,
    fold,
)
from ansible_collections.haloops.halo.plugins.module_utils.spec import Secret as BearsSecret
from hypothesis import given
from hypothesis import strategies as st

FIELD = Field("note", "a_note", {})
TEXT = Text("name", "a_name", {})
FLAG = Flag("hot", "ishot", {})
INVERTED = Flag("enabled", "isdisabled", {}, inverted=True)
CHOICE = Choice("way", "a_way", {}, spellings={"road": ("road", "rd"), "rail": ("railway", "rail")})
VALUES = Values("scopes", "scopes", {})
URIS = Values("uris", "uri_list", {}, key="value", joined="uris", also=("label",))
REFS = Refs("roles", "roles", {}, summary="role_list")
TEAMS = Refs("teams", "teams", {}, id_key="team_id", name_key="team_name")
MEMBERSHIPS = Refs(
    "teams",
    "teams",
    {},
    id_key="team_id",
    name_key="team_name",
    switches={"leader": "is_manager", "sees_others": "otheragent_access"},
    fresh={"is_manager": False, "otheragent_access": True},
)
NAME_REF = NameRef("team", "team", {})
ONE_REF = OneRef("agent", "agent_id", {}, name_api="agent_name")
NAMELESS = OneRef("agent", "agent_id", {})


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        (FIELD, {"a_note": {"any": "thing"}}, {"any": "thing"}),
        (FIELD, {}, None),
        (TEXT, {"a_name": "Ann"}, "Ann"),
        (TEXT, {"a_name": ""}, None),
        (TEXT, {"a_name": None}, None),
        (TEXT, {}, None),
        (FLAG, {"ishot": True}, True),
        (FLAG, {"ishot": False}, False),
        (FLAG, {"ishot": None}, False),
        (FLAG, {}, False),
        (INVERTED, {"isdisabled": True}, False),
        (INVERTED, {"isdisabled": False}, True),
        (INVERTED, {}, True),
        (CHOICE, {"a_way": "road"}, "road"),
        (CHOICE, {"a_way": " RD "}, "road"),
        (CHOICE, {"a_way": "rail"}, "rail"),
        (CHOICE, {"a_way": "Railway"}, "rail"),
        (CHOICE, {"a_way": "By Air"}, "by air"),
        (CHOICE, {"a_way": ""}, None),
        (CHOICE, {}, None),
        (VALUES, {"scopes": [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}]}, ["a", "b"]),
        (VALUES, {"scopes": [{"name": "B"}, {"name": "a"}]}, ["a", "B"]),
        (VALUES, {"scopes": ["b", "a"]}, ["a", "b"]),
        (VALUES, {"scopes": [{"name": "a"}, {"name": "a"}, {"name": None}, {"name": ""}, {}]}, ["a"]),
        (VALUES, {"scopes": None}, []),
        (VALUES, {}, []),
        (
            URIS,
            {"uri_list": [{"value": "https://b"}, {"value": "https://a"}], "uris": "ignored"},
            ["https://a", "https://b"],
        ),
        (URIS, {"uri_list": [], "uris": "https://b https://a"}, ["https://a", "https://b"]),
        (URIS, {"uris": "https://b,https://a, https://c"}, ["https://a", "https://b", "https://c"]),
        (URIS, {"uris": None}, []),
        (REFS, {"roles": [{"id": "r1", "name": "One", "id_int": 1}]}, [Ref("r1", "One")]),
        (REFS, {"roles": []}, []),
        (REFS, {"roles": [], "role_list": "One"}, []),
        (REFS, {"role_list": "One, Two ,,"}, [Ref(None, "One"), Ref(None, "Two")]),
        (REFS, {"role_list": None}, []),
        (REFS, {}, []),
        (TEAMS, {"teams": [{"id": 9, "team_id": 2, "team_name": "Two"}, "rubbish"]}, [Ref(2, "Two")]),
        (TEAMS, {"teams": None}, []),
        (
            MEMBERSHIPS,
            {"teams": [{"team_id": 2, "team_name": "Two", "is_manager": True}]},
            [Ref(2, "Two", {"leader": True, "sees_others": False})],
        ),
        (NAME_REF, {"team": "Two"}, "Two"),
        (NAME_REF, {"team": ""}, None),
        (ONE_REF, {"agent_id": 4, "agent_name": "Ann"}, Ref(4, "Ann")),
        (ONE_REF, {"agent_id": 4, "agent_name": ""}, Ref(4, None)),
        (ONE_REF, {"agent_id": 0, "agent_name": "Ann"}, Ref(None, None)),
        (ONE_REF, {}, Ref(None, None)),
        (NAMELESS, {"agent_id": 4}, Ref(4, None)),
    ],
)
def test_read(field: Field, raw: dict[str, Any], value: Any) -> None:
    assert field.read(raw) == value


@pytest.mark.parametrize(
    ("field", "value", "raw"),
    [
        (FIELD, 5, {"a_note": 5}),
        (TEXT, "Ann", {"a_name": "Ann"}),
        (TEXT, "", {"a_name": ""}),
        (FLAG, True, {"ishot": True}),
        (FLAG, False, {"ishot": False}),
        (INVERTED, True, {"isdisabled": False}),
        (INVERTED, False, {"isdisabled": True}),
        (CHOICE, "road", {"a_way": "road"}),
        (CHOICE, "rail", {"a_way": "railway"}),
        (VALUES, ["b", " a ", "b"], {"scopes": [{"name": "a"}, {"name": "b"}]}),
        (VALUES, [], {"scopes": []}),
        (URIS, ["https://a"], {"uri_list": [{"value": "https://a", "label": "https://a"}]}),
        (REFS, [Ref("r1", "One")], {"roles": [{"id": "r1"}]}),
        (REFS, [], {"roles": []}),
        (TEAMS, [Ref(2, "Two"), Ref(1, "One")], {"teams": [{"team_id": 2}, {"team_id": 1}]}),
        (NAME_REF, "Two", {"team": "Two"}),
        (ONE_REF, Ref(4, "Ann"), {"agent_id": 4}),
    ],
)
def test_write(field: Field, value: Any, raw: dict[str, Any]) -> None:
    assert field.write(value) == raw
    assert set(raw) <= set(field.sent)


@pytest.mark.parametrize(
    ("field", "one", "other", "same"),
    [
        (TEXT, "Ann", " aNN ", True),
        (TEXT, None, "", True),
        (TEXT, "Ann", "Anna", False),
        (TEXT, "Jörg", "JÖRG", True),
        (TEXT, "Straße", "STRASSE", True),
        (TEXT, "J\u00f6rg", "Jo\u0308rg", True),
        (REFS, [Ref(None, "One")], [Ref(None, "ONE")], True),
        (FLAG, True, True, True),
        (FLAG, True, False, False),
        (VALUES, ["a", "b"], ["b", " a", "a"], True),
        (VALUES, ["a", "b"], ["a"], False),
        (VALUES, ["a"], ["a", "b"], False),
        (VALUES, ["read:x"], ["READ:x"], False),
        (VALUES, None, [], True),
        (REFS, [Ref("R1", "One")], [Ref("r1", None)], True),
        (REFS, [Ref("r1", "One"), Ref("r2", "Two")], [Ref("r2", "Two"), Ref("r1", "One")], True),
        (REFS, [Ref("r1", "One")], [], False),
        (TEAMS, [Ref(1, "One")], [Ref("1", "One")], True),
        (ONE_REF, Ref(4, "Ann"), Ref("4", None), True),
        (ONE_REF, Ref(4, "Ann"), Ref(5, "Ann"), False),
        (ONE_REF, Ref(None, None), None, True),
    ],
)
def test_canonical(field: Field, one: Any, other: Any, same: bool) -> None:
    assert (field.canonical(one) == field.canonical(other)) is same


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        (TEXT, "Ann", "Ann"),
        (VALUES, ["b", " a ", "B", "b"], ["a", "b", "B"]),
        (REFS, [Ref("r2", "two"), Ref("r1", "One"), Ref("r3", None)], ["One", "r3", "two"]),
        (ONE_REF, Ref(4, "Ann"), {"id": 4, "name": "Ann"}),
        (ONE_REF, Ref(None, None), {"id": None, "name": None}),
    ],
)
def test_show(field: Field, value: Any, shown: Any) -> None:
    found = field.show(value)
    # of two that differ in letter case alone either may come first
    assert (
        [fold(item) for item in found] == [fold(item) for item in shown] if isinstance(found, list) else found == shown
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (FIELD, "road"),
        (FIELD, ["a"]),
        (TEXT, "road"),
        (FLAG, True),
        (FLAG, False),
        (INVERTED, True),
        (INVERTED, False),
        (CHOICE, "road"),
        (CHOICE, "rail"),
        (VALUES, ["b", "a"]),
        (VALUES, []),
        (URIS, ["b", "a"]),
        (URIS, []),
        (NAME_REF, "Two"),
        (REFS, [Ref("r1", None)]),
        (TEAMS, [Ref(1, None)]),
        (ONE_REF, Ref(4, None)),
    ],
)
def test_what_is_written_reads_back_as_the_same(field: Field, value: Any) -> None:
    assert field.canonical(field.read(field.write(value))) == field.canonical(value)


@pytest.mark.parametrize(
    ("value", "folded"), [(None, ""), ("  Ann ", "ann"), (4, "4"), ("ẞ", "ss"), ("", ""), ("Jo\u0308rg", "jörg")]
)
def test_fold(value: Any, folded: str) -> None:
    assert fold(value) == folded


@given(st.text())
def test_a_name_in_any_of_its_spellings_is_one(name: str) -> None:
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, name)) == fold(name)
    assert fold(fold(name)) == fold(name)


@pytest.mark.parametrize(
    ("field", "value", "now", "raw"),
    [
        (
            REFS,
            [Ref("R1", "One"), Ref("r3", None)],
            {"roles": [{"id": "r1", "name": "One", "more": 1}, {"id": "r2"}]},
            {"roles": [{"id": "r1", "name": "One", "more": 1}, {"id": "r3"}]},
        ),
        (
            MEMBERSHIPS,
            [Ref(2, "Two", {"leader": False}), Ref(3, "Three", {"leader": True}), Ref(4, "Four")],
            {"teams": [{"id": 9, "team_id": 2, "is_manager": True, "otheragent_access": False, "more": 1}]},
            {
                "teams": [
                    {"id": 9, "team_id": 2, "is_manager": False, "otheragent_access": False, "more": 1},
                    {"team_id": 3, "is_manager": True, "otheragent_access": True},
                    {"team_id": 4, "is_manager": False, "otheragent_access": True},
                ]
            },
        ),
        (
            VALUES,
            ["b", "a"],
            {"scopes": [{"id": 5, "name": "a"}, {"id": 6, "name": "c"}]},
            {"scopes": [{"id": 5, "name": "a"}, {"name": "b"}]},
        ),
        (
            URIS,
            ["https://b", "https://a"],
            {"uri_list": [{"value": "https://a", "label": "mine"}], "uris": "https://a"},
            {"uri_list": [{"value": "https://a", "label": "mine"}, {"value": "https://b", "label": "https://b"}]},
        ),
    ],
)
def test_rows_that_stay_are_sent_back_as_they_were_read(
    field: Field, value: Any, now: dict[str, Any], raw: dict[str, Any]
) -> None:
    assert field.write(value, now) == raw


@pytest.mark.parametrize(
    ("items", "parsed"),
    [
        ([], []),
        (["One", 5, "5"], [("One", {}), ("5", {}), ("5", {})]),
        ([{"name": "One"}, {"name": 5, "leader": None}], [("One", {}), ("5", {})]),
        ([{"name": "One", "leader": True, "sees_others": "no"}], [("One", {"leader": True, "sees_others": False})]),
    ],
)
def test_items_of_a_list_of_references(items: list[Any], parsed: Any) -> None:
    assert MEMBERSHIPS.parse(items) == parsed


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["x", {"name": "One", "leeder": True}], "teams[1]: leeder is not an option; did you mean leader?"),
        ([{"name": "One", "zzz": True}], "teams[0]: zzz is not an option. There are: name, leader, sees_others."),
        ([{"leader": True}], "teams[0] must be a name or an id"),
        ([""], "teams[0] must be a name or an id"),
        ([None], "teams[0] must be a name or an id"),
        ([["One"]], "teams[0] must be a name or an id"),
        ([{"name": "One", "leader": "perhaps"}], "teams[0].leader must be true or false"),
    ],
)
def test_items_that_cannot_be_meant(items: list[Any], message: str) -> None:
    with pytest.raises(HaloError) as caught:
        MEMBERSHIPS.parse(items)
    assert message in str(caught.value)


# Login types, authentication methods and system applications, as Halo's objects have them

LOGIN_TYPE = APPLICATION.field("login_type")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"loginas_agent_id": 7}, "agent"),
        ({"loginas_agent_id": 7, "allowusers": True, "allowagents": False}, "agent"),
        ({"loginas_agent_id": 0, "allowagents": True}, "agent"),
        ({"allowagents": True, "allowusers": True}, "agent"),
        ({"allowagents": False, "allowusers": True}, "user"),
        ({"allowagents": False, "allowusers": False}, None),
        ({}, None),
    ],
)
def test_login_type(raw: dict[str, Any], kind: str | None) -> None:
    assert LOGIN_TYPE.read(raw) == kind


@pytest.mark.parametrize("kind", ["agent", "user"])
@pytest.mark.parametrize("before", [{"loginas_agent_id": 7, "allowagents": True}, {"allowusers": True}, {}])
def test_a_login_type_that_was_written_is_read(kind: str, before: dict[str, Any]) -> None:
    written = LOGIN_TYPE.write(kind)
    assert LOGIN_TYPE.read({**before, **written}) == kind
    assert set(written) <= set(LOGIN_TYPE.sent)


@pytest.mark.parametrize("word", METHODS)
def test_every_spelling_of_an_authentication_method_is_read(word: str) -> None:
    field = APPLICATION.field("authentication_method")
    for spelling in METHODS[word]:
        assert field.read({"grant_type": spelling.upper()}) == word
    assert field.write(word) == {"grant_type": METHODS[word][0]}


def test_no_spelling_stands_for_two_methods() -> None:
    spellings = [spelling for forms in METHODS.values() for spelling in forms]
    assert len(spellings) == len(set(spellings))
    assert spellings == [fold(spelling) for spelling in spellings]


@pytest.mark.parametrize(
    ("raw", "system"),
    [
        ({}, False),
        ({"_issystem": False, "system_use": "", "clientId": "x"}, False),
        ({"_issystem": True}, True),
        ({"system_use": "halointegrator"}, True),
        ({"system_use": "  "}, False),
        ({"clientId": "24FE0A24-85d5-46d4-b9c6-721e23f25843"}, True),
    ],
)
def test_is_system(raw: dict[str, Any], system: bool) -> None:
    assert is_system(raw) is system


# Public views

VIEWS = {
    "agent": {"id", "name", "email", "api_only", "enabled", "roles", "teams", "default_team"},
    "application": {
        "id",
        "name",
        "client_id",
        "enabled",
        "authentication_method",
        "login_type",
        "login_agent",
        "scopes",
        "redirect_uris",
        "logout_redirect_uris",
        "cors_origins",
        "system",
    },
    "integrator": {"client_id", "hosted", "login_agent"},
    "role": {"id", "name", "permissions", "claims", "built_in"},
}


@pytest.mark.parametrize("resource", [AGENT, APPLICATION, INTEGRATOR, ROLE], ids=lambda resource: resource.key)
@pytest.mark.parametrize("raw", [{}, {"id": 1, "clientSecret": "s3cret", "client_secret_halointegrator": "s3cret"}])
def test_a_public_view_always_has_the_promised_keys_and_no_secret(resource: Any, raw: dict[str, Any]) -> None:
    view = resource.public(raw)
    assert set(view) == VIEWS[resource.key]
    assert "s3cret" not in repr(view)


def test_the_view_of_an_agent() -> None:
    raw = {
        "id": 31,
        "name": "api-x",
        "email": "",
        "isapiagent": True,
        "isdisabled": True,
        "team": None,
        "roles": [{"id": "r2", "name": "Two"}, {"id": "r1", "name": "One"}],
        "teams": [{"team_id": 5, "team_name": "Ops"}],
    }
    assert AGENT.public(raw) == {
        "id": 31,
        "name": "api-x",
        "email": None,
        "api_only": True,
        "enabled": False,
        "roles": ["One", "Two"],
        "teams": ["Ops"],
        "default_team": None,
    }


@pytest.mark.parametrize(("method", "needed"), [(method, method not in ("implicit", "api_key")) for method in METHODS])
def test_which_methods_use_a_secret(method: str, needed: bool) -> None:
    assert isinstance(APPLICATION.secret, BearsSecret)
    assert APPLICATION.secret.needs({"authentication_method": method}) is needed


# Fallbacks on the environment


def test_the_first_variable_that_is_not_empty_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALO_A", "")
    monkeypatch.setenv("HALO_B", "b")
    assert environment("HALO_A", "HALO_B") == "b"


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("HALO_URL", value)
    with pytest.raises(AnsibleFallbackNotFound):
        environment("HALO_URL")


@pytest.mark.parametrize("option", CONNECTION)
def test_every_connection_option_falls_back_on_its_variable(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    fallback, names = CONNECTION[option]["fallback"]
    assert names == [option.upper()]
    monkeypatch.setenv(option.upper(), "x")
    assert fallback(*names) == "x"


def test_names_are_shown_in_the_order_of_a_person() -> None:
    refs = [Ref(1, "beta"), Ref(2, "Gamma"), Ref(3, "alpha"), Ref(4, None)]
    assert AGENT.field("roles").show(refs) == ["4", "alpha", "beta", "Gamma"]


def test_an_info_module_without_filters_shows_all() -> None:
    assert ROLE.keep({}, {}) is True
