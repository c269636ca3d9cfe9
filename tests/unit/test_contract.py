# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The corners of the collection held together: tables, Halo's description, options, documentation, plugins, role."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible_collections.haloops.halo.plugins.module_utils.binding import BINDINGS
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS
from ansible_collections.haloops.halo.plugins.module_utils.spec import (
    CONNECTION,
    Choice,
    Field,
    Flag,
    OneRef,
    Ref,
    Refs,
    Resource,
    Target,
    Text,
    Values,
)
from ansible_collections.haloops.halo.plugins.plugin_utils.binding_action import FROM_ROLE
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import DEFAULT_FOLDER, DEFAULT_STORE, VARIABLES

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "ansible_collections.haloops.halo.plugins"
COLLECTION = "haloops.halo."
DATA = Path(__file__).resolve().parent / "data"

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("*.py"))
LOOKUPS = sorted(path.stem for path in (ROOT / "plugins" / "lookup").glob("*.py"))


def _resources() -> Iterator[Resource]:
    for path in sorted((ROOT / "plugins" / "module_utils" / "resources").glob("*.py")):
        module = importlib.import_module(f"{PACKAGE}.module_utils.resources.{path.stem}")
        yield from (value for value in vars(module).values() if isinstance(value, Resource))


RESOURCES = {resource.key: resource for resource in _resources()}
every_resource = pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
every_module = pytest.mark.parametrize("name", MODULES)


# Halo's description of its API, of which data/ holds excerpts: fields with their types, paths with their parameters

# which of its schemas a resource, or what others refer to, is of
SCHEMAS = {
    "/Agent": "Uname",
    "/Application": "NHD_Identity_Application",
    "/Control": "Control",
    "/Roles": "NHD_Roles",
    "/Team": "SectionDetail",
}
Types = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def types() -> Types:
    """Schema to field to type: a word, or a list of the name of what an array holds."""
    found: Types = json.loads((DATA / "halo_fields.json").read_text())
    return found


def fits(types: Types, value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(fits(types, item, kind[0]) for item in value)
    if isinstance(value, dict):
        return kind in types and all(
            name in types[kind] and fits(types, item, types[kind][name]) for name, item in value.items()
        )
    python = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}[kind]
    return isinstance(value, python) and (kind == "boolean" or not isinstance(value, bool))


def samples(types: Types, field: Field) -> list[Any]:
    """Values that a user may give for a field, in the collection's form; references with ids of Halo's type."""

    def ref(target: Target) -> Ref:
        return Ref("6f1d2f0e" if types[SCHEMAS[target.path]]["id"] == "string" else 7, "x")

    if isinstance(field, Choice):
        return list(field.spellings)
    if isinstance(field, Flag):
        return [True, False]
    if isinstance(field, Values):
        return [["x", "y"], []]
    if isinstance(field, Refs):
        return [[ref(field.target)], []]
    if isinstance(field, OneRef):
        return [ref(field.target)]
    if isinstance(field, Text):
        return ["x", ""]
    # a field of a resource's own: its choices are all that it takes
    if "options" not in field.option:
        return list(field.option["choices"])
    words = {name: list(option.get("choices", (True, False))) for name, option in field.option["options"].items()}
    if field.option["type"] == "list":
        return [[dict.fromkeys(words, "x")], []]
    return [{name: word} for name in words for word in words[name]]


@every_resource
def test_what_is_sent_exists_in_halos_description_with_that_type(resource: Resource, types: Types) -> None:
    schema = types[SCHEMAS[resource.path]]
    for field in resource.fields:
        for value in samples(types, field):
            payload = field.write(value)
            assert payload
            assert set(payload) <= set(field.sent), field.name
            for name, sent in payload.items():
                assert name in schema, f"{field.name}: Halo has no {name}"
                assert fits(types, sent, schema[name]), f"{field.name}: {sent!r} for {name}, which is {schema[name]}"
        assert set(field.sent) <= set(schema), field.name


@every_resource
def test_what_is_read_exists_in_halos_description(resource: Resource, types: Types) -> None:
    schema = types[SCHEMAS[resource.path]]
    names = [*resource.details, *([] if resource.singleton else ["id", resource.name_api])]
    if resource.secret:
        names += [resource.secret.api, resource.secret.client_id_api]
    for field in resource.fields:
        names += [getattr(field, kind) for kind in ("joined", "summary", "name_api") if getattr(field, kind, None)]
    for name in names:
        assert name in schema, f"Halo has no {name}"
    for name in ("id", "name"):
        for target in (field.target for field in resource.fields if hasattr(field, "target")):
            assert name in types[SCHEMAS[target.path]]
            assert set(target.more_ids) <= set(types[SCHEMAS[target.path]])


@every_resource
def test_requests_exist_in_halos_description(resource: Resource) -> None:
    paths: dict[str, dict[str, list[str]]] = json.loads((DATA / "halo_paths.json").read_text())
    assert {"get", "post"} <= set(paths[resource.path])
    assert set(resource.query) <= set(paths[resource.path]["get"])
    if not resource.singleton:
        assert {"get", "delete"} <= set(paths[resource.path + "/{id}"])
        assert "includedetails" in paths[resource.path + "/{id}"]["get"]
    for target in (field.target for field in resource.fields if hasattr(field, "target")):
        assert set(target.query) <= set(paths[target.path]["get"])


@every_resource
def test_keys_of_rows_exist_in_halos_description(resource: Resource, types: Types) -> None:
    """What a set of references is read and written by, row by row, switches included."""
    for field in resource.fields:
        (held,) = types[SCHEMAS[resource.path]].get(field.api, [""]) if isinstance(field, (Refs, Values)) else [""]
        if isinstance(field, Refs):
            assert {field.id_key, field.name_key} <= set(types[held])
            for name in (*field.switches.values(), *field.fresh):
                assert types[held][name] == "boolean", name
            assert set(field.switches.values()) <= set(field.fresh), "a new row says all that may be set"
        elif isinstance(field, Values):
            assert {field.key, *field.also} <= set(types[held])


# Secrets

# Halo's fields that are secrets, in any of its schemas
SECRET_FIELDS = {"clientSecret", "client_secret_halointegrator", "password", "new_apikey1", "new_apikey2"}
# options whose names sound like a secret and are none
NOT_SECRET = {
    "regenerate_secret": "a policy",
}


@every_resource
def test_secrets_are_in_no_public_view(resource: Resource, types: Types) -> None:
    secrets = SECRET_FIELDS & set(types[SCHEMAS[resource.path]])
    assert not resource.secret or resource.secret.api in secrets
    view = resource.public({"id": 1, **{name: f"<{name}>" for name in secrets}})
    assert not [name for name in secrets if f"<{name}>" in repr(view)]
    assert not [field.name for field in resource.fields if field.secret and field.name in view]


@every_resource
def test_properties_cannot_hold_a_secret(resource: Resource, types: Types) -> None:
    if resource.singleton:
        assert "properties" not in {**resource.options(), **resource.extra}
        return
    held = {name for field in resource.fields for name in field.sent} | set(resource.reserved)
    assert SECRET_FIELDS & set(types[SCHEMAS[resource.path]]) <= held


@every_resource
def test_secret_fields_are_not_logged(resource: Resource) -> None:
    for field in resource.fields:
        if field.secret:
            assert field.option.get("no_log") is True


def _all_options(options: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield above + name, option
        yield from _all_options(option.get("options") or {}, f"{above}{name}.")


@every_module
def test_secret_options_are_not_logged(name: str) -> None:
    for path, option in _all_options(argument_spec(name)):
        last = path.rpartition(".")[2]
        if re.search("secret|token|password|passphrase", last) and last not in NOT_SECRET:
            assert option.get("no_log") is True, path
        elif option.get("no_log"):
            pytest.fail(f"{path} is not logged: is it a secret?")


# Options and documentation


class _Captured(Exception):
    pass


def argument_spec(name: str) -> dict[str, Any]:
    return dict(constructed(name)["argument_spec"])


def constructed(name: str) -> dict[str, Any]:
    """What a module makes its AnsibleModule of."""
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    kept = basic.AnsibleModule.__init__

    def capture(_self: Any, **given: Any) -> None:
        raise _Captured(given)

    basic.AnsibleModule.__init__ = capture  # type: ignore[method-assign]
    try:
        with pytest.raises(_Captured) as caught:
            module.main()
    finally:
        basic.AnsibleModule.__init__ = kept  # type: ignore[method-assign]
    given: dict[str, Any] = caught.value.args[0]
    return given


def documentation(name: str, kind: str = "modules") -> dict[str, Any]:
    """A plugin's DOCUMENTATION, the fragments that it extends included."""
    found: dict[str, Any] = yaml.safe_load(importlib.import_module(f"{PACKAGE}.{kind}.{name}").DOCUMENTATION)
    whole: dict[str, Any] = {}
    for fragment in found.get("extends_documentation_fragment", []):
        assert fragment.startswith(COLLECTION), fragment
        file, _dot, part = fragment.removeprefix(COLLECTION).partition(".")
        holder = importlib.import_module(f"{PACKAGE}.doc_fragments.{file}").ModuleDocFragment
        text = yaml.safe_load(getattr(holder, part.upper() or "DOCUMENTATION"))
        double = set(whole) & set(text.get("options") or {})
        assert not double, f"{fragment} repeats {double}"
        whole.update(text.get("options") or {})
    double = set(whole) & set(found.get("options") or {})
    assert not double, f"documented twice: {double}"
    return {**found, "options": {**whole, **(found.get("options") or {})}}


def _compare(documented: dict[str, Any], options: dict[str, Any], above: str = "") -> None:
    assert set(documented) == set(options), above
    for name, option in options.items():
        path, found = above + name, documented[name]
        assert found.get("description"), path
        assert found.get("type", "str") == option.get("type", "str"), path
        for key in ("default", "choices", "elements", "aliases"):
            assert found.get(key) == option.get(key), (path, key)
        assert bool(found.get("required")) == bool(option.get("required")), path
        _compare(found.get("suboptions") or {}, option.get("options") or {}, f"{path}.")


@every_module
def test_options_are_documented_as_they_are(name: str) -> None:
    documented = documentation(name)
    assert documented["module"] == name
    _compare(documented["options"], argument_spec(name))
    assert constructed(name)["supports_check_mode"] is True


@every_module
def test_examples_use_options_that_exist(name: str) -> None:
    options = argument_spec(name)
    tasks = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.{name}").EXAMPLES)
    used = [task[COLLECTION + name] or {} for task in tasks if COLLECTION + name in task]
    assert used, "no example uses the module"
    for task in tasks:
        assert task["name"]
        module = next(key for key in task if "." in key)
        if module == COLLECTION + name:
            _known(task[module] or {}, options)
        else:
            assert module.startswith(("ansible.builtin.", COLLECTION)), module


def _known(given: dict[str, Any], options: dict[str, Any]) -> None:
    for name, value in given.items():
        assert name in options, name
        choices = options[name].get("choices")
        for one in value if isinstance(value, list) else [value]:
            assert not choices or "{{" in str(one) or one in choices, (name, one)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and options[name].get("options"):
                _known(item, options[name]["options"])


def returns(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.{name}").RETURN)
    return found


@every_module
def test_what_is_returned_is_described(name: str) -> None:
    for key, described in returns(name).items():
        assert described["description"], key
        assert described["returned"], key
        assert described["type"], key


def managing(resource: Resource) -> str:
    """The module that returns an object of this kind in full."""
    (name,) = (name for name in MODULES if "contains" in returns(name).get(resource.key, {}))
    return name


@every_resource
def test_the_described_object_has_the_keys_of_the_public_view(resource: Resource) -> None:
    view = set(resource.public({}))
    described = returns(managing(resource))[resource.key]
    assert set(described["contains"]) == set(described["sample"]) == view
    if resource.plural:
        listed = [returns(name)[resource.plural] for name in MODULES if resource.plural in returns(name)]
        assert len(listed) == 1
        assert set(listed[0]["sample"][0]) == view


@every_resource
def test_every_field_is_an_option_of_its_module(resource: Resource) -> None:
    options = argument_spec(managing(resource))
    for field in resource.fields:
        assert field.name in options


# Plugins


def test_every_module_has_an_action_plugin() -> None:
    assert MODULES
    assert ACTIONS == MODULES


# action plugins whose options are not those of their operation
OWN_OPTIONS = {
    "halo_fleet": "asks no Halo, and is no HaloAction",
    "halo_report": "asks no Halo, and is no HaloAction",
    "halo_report_merge": "the same",
}


@every_module
def test_both_ways_of_execution_take_the_same_options(name: str) -> None:
    action = importlib.import_module(f"{PACKAGE}.action.{name}").ActionModule
    given = constructed(name)
    if name in OWN_OPTIONS:
        assert given["argument_spec"] == action.options
        return
    assert given.pop("argument_spec") == action.operation.spec.with_connection()
    assert given.pop("supports_check_mode") is True
    assert given == action.operation.spec.constraints


def test_the_action_group_holds_every_module_that_connects() -> None:
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["halo"]
    connecting = [name for name in MODULES if set(CONNECTION) <= set(argument_spec(name))]
    assert sorted(group) == connecting
    others = {"halo_fleet", "halo_report", "halo_report_merge"}
    assert set(MODULES) - set(connecting) == others, "only these ask no Halo"
    for name in connecting:
        fragments = documentation(name)["extends_documentation_fragment"]
        assert COLLECTION + "connection" in fragments
        assert {COLLECTION + "attributes", COLLECTION + "attributes.info"} & set(fragments)


@pytest.mark.parametrize("name", LOOKUPS)
def test_lookups_are_documented(name: str) -> None:
    lookup = importlib.import_module(f"{PACKAGE}.lookup.{name}")
    assert documentation(name, "lookup")["name"] == name
    assert COLLECTION + name in lookup.EXAMPLES
    assert isinstance(yaml.safe_load(lookup.EXAMPLES), list)
    assert yaml.safe_load(lookup.RETURN)["_raw"]["type"] == "list"


def test_the_options_of_the_lookup_credential_are_documented() -> None:
    lookup = importlib.import_module(f"{PACKAGE}.lookup.credential")
    options = documentation("credential", "lookup")["options"]
    assert set(options) == {"_terms", *lookup.OPTIONS}
    assert set(lookup.OPTIONS) == {"label", "max_age_days", "jitter", *VARIABLES}
    assert sorted(options["label"]["choices"]) == sorted(LABELS)
    for name in VARIABLES:
        # a lookup takes from the host what the engine does
        assert VARIABLES[name] in "".join(options[name]["description"]), name
        engine = BINDINGS.with_connection()[name]
        assert options[name]["type"] == engine["type"].replace("path", "str"), name


@pytest.mark.parametrize("name", [*MODULES, *(f"lookup_{name}" for name in LOOKUPS)])
def test_every_plugin_has_an_integration_target(name: str) -> None:
    target = ROOT / "tests" / "integration" / "targets" / name
    tasks = (target / "tasks" / "main.yml").read_text()
    assert COLLECTION + name.removeprefix("lookup_") in "".join(path.read_text() for path in target.rglob("*.yml")) or (
        name in tasks
    )
    assert "context/controller" in (target / "aliases").read_text()


@pytest.mark.parametrize("name", [*MODULES, *(f"lookup_{name}" for name in LOOKUPS), "role_integration"])
def test_every_target_asks_for_consent_before_it_works_on_a_real_instance(name: str) -> None:
    targets = ROOT / "tests" / "integration" / "targets"
    assert yaml.safe_load((targets / name / "meta" / "main.yml").read_text())["dependencies"] == ["setup_halo"]
    first = yaml.safe_load((targets / "setup_halo" / "tasks" / "main.yml").read_text())[0]
    assert first["ansible.builtin.assert"]["that"] == "halo_confirm | default('') | trim == halo_url"


# The role

ROLE = ROOT / "roles" / "halo_integration"


ENTRIES: dict[str, Any] = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
every_entry = pytest.mark.parametrize("entry", ENTRIES)
PREFIX = "halo_integration_"
# of the options that feed the engine, those for which the engine has no default, and what it does without one
UNSET = {"bindings": [], "store": DEFAULT_STORE, "store_dir": DEFAULT_FOLDER, "store_options": {}}


def of_the_engine(entry: str) -> dict[str, dict[str, Any]]:
    """The options of an entry of the role that are options of the engine, by the engine's names."""
    options: dict[str, dict[str, Any]] = ENTRIES[entry]["options"]
    return {name.removeprefix(PREFIX): option for name, option in options.items() if name not in CONNECTION}


@every_entry
def test_every_entry_of_the_role_is_a_task_file(entry: str) -> None:
    assert (ROLE / "tasks" / f"{entry}.yml").is_file()


@every_entry
def test_connection_options_of_the_role_are_those_of_the_modules(entry: str) -> None:
    for name in set(ENTRIES[entry]["options"]) & set(CONNECTION):
        for key in ("type", "no_log"):
            assert ENTRIES[entry]["options"][name].get(key) == CONNECTION[name].get(key), (name, key)


def test_the_role_takes_the_four_connection_options() -> None:
    assert {"halo_url", "halo_tenant", "halo_client_id", "halo_client_secret"} <= set(ENTRIES["main"]["options"])


@every_entry
def test_options_of_the_role_are_those_of_the_engine_that_they_feed(entry: str) -> None:
    for name, option in of_the_engine(entry).items():
        engine = BINDINGS.options[name]
        assert option["description"], name
        assert option["type"] == engine["type"].replace("path", "str"), name
        for key in ("choices", "elements"):
            assert option.get(key) == engine.get(key), (name, key)
        assert bool(option.get("no_log")) == bool(engine.get("no_log")), name
        assert option.get("default") == UNSET.get(name, engine.get("default")), name


def test_the_role_does_not_repeat_what_a_binding_is() -> None:
    for entry in ENTRIES.values():
        bindings = entry["options"][PREFIX + "bindings"]
        assert "options" not in bindings
        assert f"M({COLLECTION}halo_binding)" in "".join(bindings["description"])


@every_entry
def test_options_of_the_role_reach_the_engine(entry: str) -> None:
    """In its task, or as the host's variable of the same name, which the action takes it from."""
    tasks = yaml.safe_load((ROLE / "tasks" / f"{entry}.yml").read_text())
    (given,) = (task[COLLECTION + "halo_binding"] for task in tasks if COLLECTION + "halo_binding" in task)
    for name in of_the_engine(entry):
        if {**VARIABLES, **FROM_ROLE}.get(name) != PREFIX + name:
            assert re.search(rf"\b{PREFIX}{name}\b", str(given[name])), name
    assert set(given) <= set(BINDINGS.options)


def test_defaults_of_the_role_are_the_documented_ones() -> None:
    documented: dict[str, Any] = {}
    for entry in ENTRIES.values():
        for name, option in entry["options"].items():
            if "default" in option:
                assert documented.setdefault(name, option["default"]) == option["default"], name
    assert yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()) == documented
