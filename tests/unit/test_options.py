# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user is told about wrong options: where, what, and what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.haloops.halo.plugins.module_utils.binding import asked_for
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.options import HIDDEN, complaints, concealed

NAME = {"type": "str", "required": True}
TEAM = {"name": NAME, "leader": {"type": "bool"}}
SPEC: dict[str, Any] = {
    "bindings": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": NAME,
            "agent": {
                "type": "dict",
                "required": True,
                "options": {
                    "name": NAME,
                    "roles": {"type": "list", "elements": "str"},
                    "teams": {"type": "list", "elements": "dict", "options": TEAM},
                },
            },
            "application": {
                "type": "dict",
                "options": {"scopes": {"type": "list", "elements": "str"}, "lifetime": {"type": "int"}},
            },
            "previous_agent": {"type": "str", "choices": ["keep", "disable", "delete"], "aliases": ["former_agent"]},
            "adopt": {"type": "str", "choices": ["false", "rotate", "proven"]},
            "max_age_days": {"type": "int"},
            "properties": {"type": "dict"},
            "adopt_secret": {"type": "str", "no_log": True},
            "pin": {"type": "int", "no_log": True},
            "kind_of_secret": {"type": "str", "choices": ["odd", "even"], "no_log": True},
        },
    },
    "acknowledge": {"type": "dict", "options": {"made_at": {"type": "str", "required": True}}},
    "vaulted": {
        "type": "dict",
        "no_log": True,
        "options": {"word": {"type": "bool"}, "rows": {"type": "list", "elements": "dict", "options": TEAM}},
    },
    "verify": {"type": "bool"},
    "marks": {"type": "list", "elements": "str", "choices": ["red", "green"]},
    "many": {"type": "str", "choices": [f"{verb} thing {number}" for verb in ("read", "edit") for number in range(9)]},
    "url": {"type": "str", "required": True},
    "folder": {"type": "path"},
    "anything": {"type": "raw"},
}
SECRET = "s3cret-Value"


def bound(**more: Any) -> dict[str, Any]:
    """One binding in order, with what is wrong about it."""
    return {"url": "x", "bindings": [{"name": "Sync", "agent": {"name": "api-a"}, **more}]}


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the option of the task": (
        {"url": "x", "binding": []},
        ["binding is not an option; did you mean bindings?"],
    ),
    "nothing like it": (
        {"acknowledge": {"made_at": "x", "zzz": 1}},
        ["acknowledge.zzz is not an option; the options are made_at"],
    ),
    "a key of a binding, and which": (
        {"bindings": [bound()["bindings"][0], {"name": "Other", "agnet": {"name": "api-a"}}]},
        ["bindings[1] 'Other': agnet is not an option; did you mean agent?"],
    ),
    "a key of a binding without a name": (
        {"bindings": [{"agent": {"name": "api-a"}, "adpot": "rotate"}]},
        ["bindings[0]: adpot is not an option; did you mean adopt?", "bindings[0]: name is missing"],
    ),
    "deeper": (
        bound(application={"scops": ["all"]}),
        ["bindings[0] 'Sync': application.scops is not an option; did you mean scopes?"],
    ),
    "one level too high": (
        bound(scopes=["all"]),
        ["bindings[0] 'Sync': scopes is not an option; did you mean application.scopes?"],
    ),
    "a list in a list": (
        bound(agent={"name": "api-a", "teams": [{"name": "1st Line", "leeder": True}]}),
        ["bindings[0] 'Sync': agent.teams[0] '1st Line': leeder is not an option; did you mean leader?"],
    ),
    "other case, other dashes": (
        bound(**{"Max-Age-Days": 90}),
        ["bindings[0] 'Sync': Max-Age-Days is not an option; did you mean max_age_days?"],
    ),
    "an alias": (
        bound(former_agents="keep"),
        ["bindings[0] 'Sync': former_agents is not an option; did you mean former_agent?"],
    ),
    "a key that is no text": (
        {"acknowledge": {"made_at": "x", 1: 2}},
        ["acknowledge.1 is not an option; the options are made_at"],
    ),
    "a text for a dictionary": (
        bound(agent="api-b"),
        ["bindings[0] 'Sync': agent must be a dictionary, such as {name: api-b}, not the text 'api-b'"],
    ),
    "a list for a path": (
        {"url": "x", "folder": ["/tmp"]},
        ["folder must be a path, not a list"],
    ),
    "a list for a dictionary": (
        bound(agent=["api-b"]),
        ["bindings[0] 'Sync': agent must be a dictionary, such as {name: ...}, not a list"],
    ),
    "a number for a dictionary": (
        bound(application=8),
        ["bindings[0] 'Sync': application must be a dictionary, such as {scopes: ...}, not 8"],
    ),
    "a dictionary without a form": (
        bound(properties="odd"),
        ["bindings[0] 'Sync': properties must be a dictionary, not the text 'odd'"],
    ),
    "a text in a list of dictionaries": (
        {"bindings": ["Sync"]},
        ["bindings[0] must be a dictionary, such as {name: Sync}, not the text 'Sync'"],
    ),
    "a text for a list of dictionaries": (
        {"bindings": "Sync"},
        ["bindings must be a dictionary, such as {name: Sync}, not the text 'Sync'"],
    ),
    "a dictionary for a list": ({"bindings": {"name": "Sync"}}, ["bindings must be a list, not a dictionary"]),
    "a dictionary for a text": (
        bound(agent={"name": {"a": "b"}}),
        ["bindings[0] 'Sync': agent.name must be a text, not a dictionary"],
    ),
    "a dictionary in a list of texts": (
        bound(application={"scopes": ["all", {"name": "edit"}]}),
        ["bindings[0] 'Sync': application.scopes[1] must be a text, not a dictionary"],
    ),
    "no number": (
        bound(max_age_days="ninety"),
        ["bindings[0] 'Sync': max_age_days must be a whole number, not the text 'ninety'"],
    ),
    "no whole number": (
        bound(max_age_days=1.5),
        ["bindings[0] 'Sync': max_age_days must be a whole number, not 1.5"],
    ),
    "not true and not false": ({"verify": "perhaps"}, ["verify must be true or false, not the text 'perhaps'"]),
    "missing": (bound(agent={"roles": []}), ["bindings[0] 'Sync': agent.name is missing"]),
    "null, where something must be": (bound(agent=None), ["bindings[0] 'Sync': agent is missing"]),
    "missing in a dictionary of the task": ({"acknowledge": {}}, ["acknowledge.made_at is missing"]),
    "none of the choices": (
        bound(previous_agent="keap"),
        ["bindings[0] 'Sync': previous_agent must be keep, disable or delete, not the text 'keap'; did you mean keep?"],
    ),
    "a choice under its other name": (
        bound(former_agent="burn"),
        ["bindings[0] 'Sync': previous_agent must be keep, disable or delete, not the text 'burn'"],
    ),
    "a boolean that is no choice": (
        bound(adopt=True),
        ["bindings[0] 'Sync': adopt must be false, rotate or proven, not True"],
    ),
    "one of several": (
        {"marks": ["red", "gren"]},
        ["marks[1] must be red or green, not the text 'gren'; did you mean green?"],
    ),
    "one of many": ({"many": "reed thing 3"}, ["many cannot be the text 'reed thing 3'; did you mean read thing 3?"]),
    "several in a text": ({"marks": "red, blue"}, ["marks must be red or green, not the text 'blue'"]),
    "a name of many lines": (
        {"bindings": [{"name": "a\nb" + "c" * 100, "agent": 1}]},
        [f"bindings[0] 'a b{'c' * 74}...': agent must be a dictionary, such as {{name: ...}}, not 1"],
    ),
    "each of them": (
        {"bindings": [{"name": "A", "agnet": {}}, {"name": "B"}], "verify": "x"},
        [
            "bindings[0] 'A': agnet is not an option; did you mean agent?",
            "bindings[1] 'B': agent is missing",
            "verify must be true or false, not the text 'x'",
        ],
    ),
}

RIGHT: dict[str, dict[str, Any]] = {
    "as it should be": bound(
        application={"scopes": ["all"], "lifetime": 3600}, previous_agent="keep", adopt="rotate", max_age_days=90
    ),
    "in other spellings": bound(
        application={"scopes": "all,edit", "lifetime": "3600"},
        previous_agent="keep",
        adopt=False,
        max_age_days="90",
        properties={"any": {"thing": 1}},
    ),
    "a text of keys and values": bound(agent="name=api-a"),
    "a text of JSON": bound(agent='{"name": "api-a"}'),
    "numbers as names": bound(agent={"name": 4711, "roles": [1, True]}),
    "one for a list": bound(agent={"name": "api-a", "roles": "Read Only"}),
    "null": bound(application=None, max_age_days=None, properties=None),
    "null in lists": bound(agent={"name": "api-a", "roles": None, "teams": None}),
    "booleans": {"verify": "Yes"},
    "a boolean as a number": {"verify": 0},
    "what Ansible alone can judge": {"folder": 8, "anything": {"a": [1]}, "verify": 2},
    # Ansible asks the environment first
    "missing in the task": {},
}


@pytest.mark.parametrize(("value", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(value: dict[str, Any], expected: list[str]) -> None:
    assert complaints(SPEC, value) == expected


@pytest.mark.parametrize("value", RIGHT.values(), ids=RIGHT)
def test_what_is_right_passes(value: dict[str, Any]) -> None:
    assert complaints(SPEC, value) == []


@pytest.mark.parametrize("value", [one for name, one in RIGHT.items() if "alone" not in name], ids=str)
def test_what_ansible_accepts_is_accepted(value: dict[str, Any]) -> None:
    """The other half of the promise: nothing in the table above is there that Ansible itself refuses."""
    assert ArgumentSpecValidator(SPEC).validate({"url": "x", **value}).error_messages == []


@pytest.mark.parametrize(
    "value",
    [
        bound(adopt_secret={"a": SECRET}),
        bound(adopt_secret=[SECRET]),
        bound(pin=SECRET),
        bound(kind_of_secret=SECRET),
        {"vaulted": SECRET},
        {"vaulted": {"word": SECRET}},
        {"vaulted": {"rows": SECRET}},
        {"vaulted": {"rows": [SECRET]}},
        {"vaulted": {"rows": [{"name": SECRET, "leader": SECRET}]}},
    ],
    ids=str,
)
def test_a_secret_is_not_repeated(value: dict[str, Any]) -> None:
    found = complaints(SPEC, value)
    assert len(found) == 1
    assert SECRET not in found[0]


def test_one_choice_is_no_choice() -> None:
    assert complaints({"a": {"choices": ["b"]}}, {"a": "c"}) == ["a must be b, not the text 'c'"]


@pytest.mark.parametrize(("value", "word"), [(True, "yes"), (False, "no")])
def test_a_boolean_stands_for_the_one_choice_that_is_spelt_like_it(value: bool, word: str) -> None:
    assert complaints({"a": {"choices": [word, "maybe"]}}, {"a": value}) == []
    assert complaints({"a": {"choices": ["perhaps", "maybe"]}}, {"a": value}) != []


@pytest.mark.parametrize("word", ["y", "Yes", "on", "1", "true", "t", "n", "no", "OFF", "0", "False", "f"])
def test_what_is_taken_for_a_boolean(word: str) -> None:
    assert complaints({"a": {"type": "bool"}}, {"a": word}) == []
    assert complaints({"a": {"type": "bool"}}, {"a": f"{word}x"}) != []


@pytest.mark.parametrize("kind", ["str", "int", "bool", "dict", "path", "raw"])
def test_nothing_is_left_to_ansible(kind: str) -> None:
    assert complaints({"many": {"type": "list", "elements": kind}}, {"many": [None]}) == []


def test_the_name_of_a_secret_element_is_not_repeated() -> None:
    spec = {"rows": {"type": "list", "elements": "dict", "options": {"name": {"type": "str", "no_log": True}}}}
    assert complaints(spec, {"rows": [{"name": SECRET, "x": 1}]}) == [
        "rows[0]: x is not an option; the options are name"
    ]


# The one option that is a boolean or a word


CONCEALED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no secret": ({"verify": True, "marks": ["red"], "url": None}, {"verify": True, "marks": ["red"], "url": None}),
    "in a list": (
        {"bindings": [{"name": "x", "adopt_secret": SECRET, "agent": {"name": "a"}}]},
        {"bindings": [{"name": "x", "adopt_secret": HIDDEN, "agent": {"name": "a"}}]},
    ),
    "one alone": ({"bindings": {"name": "x", "pin": 1}}, {"bindings": {"name": "x", "pin": HIDDEN}}),
    "as a text": ({"bindings": f"adopt_secret={SECRET}"}, {"bindings": HIDDEN}),
    "texts": ({"bindings": [f'{{"pin": "{SECRET}"}}', None]}, {"bindings": [HIDDEN, None]}),
    "misspelt": ({"bindings": [{"pim": SECRET}], "pin": SECRET}, {"bindings": [{"pim": HIDDEN}], "pin": HIDDEN}),
    "whatever is in it": ({"vaulted": {"word": SECRET}}, {"vaulted": HIDDEN}),
    "nobody knows": ({"bindings": [{"properties": {"x": SECRET}}]}, {"bindings": [{"properties": HIDDEN}]}),
    "an alias": ({"bindings": [{"former_agent": "keep"}]}, {"bindings": [{"former_agent": "keep"}]}),
}


@pytest.mark.parametrize(("value", "expected"), CONCEALED.values(), ids=CONCEALED)
def test_what_is_secret_is_concealed(value: dict[str, Any], expected: dict[str, Any]) -> None:
    assert concealed(SPEC, value) == expected


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        *((yes, "requested") for yes in (True, 1, "true", "True", "yes", "YES", "on", "1", "y", "t", " yes ")),
        *((no, "") for no in (False, 0, "false", "False", "no", "off", "0", "n", "f")),
        *((back, "rollback") for back in ("rollback", "Rollback", " rollback ")),
    ],
)
def test_what_rotate_asks_for(given: Any, asked: str) -> None:
    assert asked_for(given) == asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rolback", r"the text 'rolback'; did you mean rollback\? Nothing was changed"),
        ("roll back", r"the text 'roll back'; did you mean rollback\?"),
        ("always", r"the text 'always'\. Nothing was changed"),
        ("", "the text ''"),
        (7, "not 7"),
        ({"rollback": True}, "a text, not a dictionary"),
        (["rollback"], "a text, not a list"),
    ],
)
def test_what_rotate_does_not_take(given: Any, said: str) -> None:
    with pytest.raises(HaloError, match=rf"^rotate must be .*{said}"):
        asked_for(given)
