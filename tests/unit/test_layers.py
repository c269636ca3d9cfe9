# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of the collection's parts: each knows only what is below it, and the outside world through one of them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parent.parent.parent / "plugins"
OWN = "ansible_collections.haloops.halo.plugins."

# From the top. A folder is one layer, in which no circle may be; so is a single file.
ORDER = [
    "modules/",
    "action/",
    "lookup/",
    "plugin_utils/report_action.py",
    "plugin_utils/report_forms.py",
    "plugin_utils/report.py",
    "plugin_utils/preflight.py",
    "plugin_utils/store_move.py",
    "plugin_utils/binding_action.py",
    "plugin_utils/self_test_action.py",
    "plugin_utils/trail.py",
    "plugin_utils/fleet.py",
    "plugin_utils/stores/",
    "plugin_utils/action.py",
    "plugin_utils/connection.py",
    "plugin_utils/tokens.py",
    "plugin_utils/compat.py",
    "module_utils/module.py",
    "module_utils/self_test.py",
    "module_utils/binding.py",
    "module_utils/preflight.py",
    "module_utils/store_move.py",
    "module_utils/rotation.py",
    "module_utils/lifecycle.py",
    "module_utils/schedule.py",
    "module_utils/access.py",
    "module_utils/run.py",
    "module_utils/rights.py",
    "module_utils/resources/",
    "module_utils/plan.py",
    "module_utils/questions.py",
    "module_utils/secret.py",
    "module_utils/spec.py",
    "module_utils/options.py",
    "module_utils/trail.py",
    "module_utils/client.py",
    "module_utils/auth.py",
    "module_utils/http.py",
    "module_utils/errors.py",
]
# Read by documentation tools, imported by nobody and importing nothing.
ASIDE = ("doc_fragments/", "module_utils/__init__.py")
# Files that decide and do nothing: what they may use of the standard library, and what of the collection is a type.
PURE = tuple(f"module_utils/{name}.py" for name in ("plan", "questions", "secret", "lifecycle", "schedule", "options"))
PURE_MODULES = {
    "__future__", "collections", "dataclasses", "datetime", "difflib", "hashlib", "re", "typing", "uuid", "zoneinfo",
}  # fmt: skip
TYPES = {("module_utils/client.py", "Raw"), ("module_utils/errors.py", "HaloError")}
# The program over the ports Store, Halo and Trail knows none of them, nor a clock.
PROGRAM = "module_utils/rotation.py"
HTTP = {"requests", "urllib3", "http", "socket", "ssl", "httpx", "aiohttp"}

FILES = {str(path.relative_to(PLUGINS)): path for path in sorted(PLUGINS.rglob("*.py"))}
ORDERED = [name for name in FILES if not name.startswith(ASIDE)]


def layer(name: str) -> int:
    found = [
        number
        for number, start in enumerate(ORDER)
        if name == start or (start.endswith("/") and name.startswith(start))
    ]
    assert len(found) == 1, f"{name} has no place in the order"
    return found[0]


def imports(name: str) -> set[tuple[str, str]]:
    """What a file imports, anywhere in it: module (a path below plugins/ for the collection's own) and name."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {(own(alias.name), "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = name.split("/")[: -node.level]
                module = OWN + ".".join([*above, *filter(None, [module])])
            for alias in node.names:
                whole = own(f"{module}.{alias.name}")
                found.add((whole, "") if whole in FILES else (own(module), alias.name))
    return found


def own(module: str) -> str:
    """The file of a module of the collection, any other module as it is."""
    if not module.startswith(OWN):
        return module
    path = module.removeprefix(OWN).replace(".", "/")
    return next((file for file in (f"{path}.py", f"{path}/__init__.py") if file in FILES), path)


def inner(name: str) -> set[str]:
    return {module for module, _name in imports(name) if module in FILES}


def outer(name: str) -> set[str]:
    return {module for module, _name in imports(name) if module not in FILES}


def test_the_search_sees_imports() -> None:
    assert inner("module_utils/client.py") >= {"module_utils/auth.py", "module_utils/errors.py", "module_utils/http.py"}
    assert inner("module_utils/resources/agent.py") >= {"module_utils/spec.py"}
    assert inner("modules/halo_application.py") >= {"module_utils/run.py", "module_utils/resources/application.py"}
    assert ("module_utils/client.py", "Raw") in imports("module_utils/plan.py")
    assert "requests" in outer("module_utils/http.py")


@pytest.mark.parametrize("name", ORDERED)
def test_imports_go_down(name: str) -> None:
    place = layer(name)
    for module in inner(name):
        below = layer(module)
        assert below > place or (below == place and ORDER[place].endswith("/")), f"{name} imports {module}"


@pytest.mark.parametrize("name", ORDERED)
def test_what_is_imported_of_the_collection_is_there(name: str) -> None:
    for module in outer(name):
        assert not module.startswith(OWN), f"{name} imports {module}"
        assert "/" not in module, f"{name} imports {module}"


def test_there_are_no_circles() -> None:
    done: set[str] = set()
    open_now: list[str] = []

    def visit(name: str) -> None:
        assert name not in open_now, [*open_now, name]
        if name not in done:
            open_now.append(name)
            for module in inner(name):
                visit(module)
            open_now.pop()
            done.add(name)

    for name in FILES:
        visit(name)
    assert done == set(FILES)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(ASIDE)])
def test_what_stands_aside_imports_nothing(name: str) -> None:
    assert {module for module, _name in imports(name)} <= {"__future__"}


def test_http_has_one_door() -> None:
    users = {name for name in FILES if {module.split(".")[0] for module in outer(name)} & HTTP}
    assert users == {"module_utils/http.py"}


@pytest.mark.parametrize("name", PURE)
def test_pure_files_only_compute(name: str) -> None:
    assert {module.split(".")[0] for module in outer(name)} <= PURE_MODULES
    for module, what in imports(name):
        if module in FILES:
            assert module in (*PURE, "module_utils/spec.py") or (module, what) in TYPES, (
                f"{name} imports {what} of {module}"
            )
    assert not {call for call in calls(name) if call in EFFECTS or call.endswith((".now", ".today", ".utcnow"))}


EFFECTS = ("open", "print", "input", "exec", "eval", "datetime.datetime.now", "datetime.datetime.today")


def calls(name: str) -> set[str]:
    tree = ast.parse(FILES[name].read_text())
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_the_program_of_a_rotation_knows_its_ports_alone() -> None:
    assert {module.split(".")[0] for module in outer(PROGRAM)} <= PURE_MODULES | {"contextlib"}
    assert inner(PROGRAM) <= {*PURE, "module_utils/errors.py", "module_utils/spec.py", "module_utils/trail.py"}
    assert not calls(PROGRAM) & set(EFFECTS)


STORES = [name for name in FILES if name.startswith("plugin_utils/stores/") and "/_" not in name]


def test_a_store_is_found_by_its_name_and_imported_by_nobody() -> None:
    assert {"plugin_utils/stores/file.py", "plugin_utils/stores/vault_file.py"} <= set(STORES)
    for name in FILES:
        assert not inner(name) & set(STORES), name


# What is not public in ansible-core, or goes away in one of its versions, is used in one file, which says why.
COMPAT = "plugin_utils/compat.py"
UNSTABLE = {"remove_values", "VaultSecretsContext", "DEFAULT_LOCAL_TMP", "get_config_value"}
# a connection offers its shell to actions, and the store reads two settings that have no constant
ALLOWED = {
    ("plugin_utils/action.py", "_shell"),
    ("plugin_utils/stores/_vault.py", "get_config_value"),
}


def not_public(name: str) -> set[str]:
    """What a file uses that is private to another object or module, or known to be unstable.

    What a base class offers to those that inherit from it, with an underscore or not, is taken for public.
    """
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Attribute):
            own_one = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr in UNSTABLE or (is_private(node.attr) and not own_one):
                found.add(node.attr)
        elif isinstance(node, ast.Name) and node.id in UNSTABLE:
            found.add(node.id)
        elif isinstance(node, ast.Constant) and node.value in ("_vault", "_no_log_values"):
            # by getattr
            found.add(str(node.value))
    for module, what in imports(name):
        if module not in FILES:
            found |= {part for part in (*module.split("."), what) if is_private(part) or part in UNSTABLE}
    return found


def is_private(word: str) -> bool:
    return word.startswith("_") and not word.startswith("__")


@pytest.mark.parametrize("name", list(FILES))
def test_one_file_uses_what_is_not_public(name: str) -> None:
    found = {what for what in not_public(name) if (name, what) not in ALLOWED}
    if name == COMPAT:
        assert found >= {"_vault", "_no_log_values", "remove_values", "VaultSecretsContext"}
    else:
        assert found == set()


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("module_utils/")])
def test_what_is_shipped_needs_only_what_is_there(name: str) -> None:
    """A module runs on any host: the standard library, what Ansible ships with it, and requests where it must be."""
    for module in outer(name):
        first = module.split(".")[0]
        if first == "ansible":
            assert module.startswith("ansible.module_utils."), f"{name} imports {module}"
        elif first not in ("requests", "urllib3"):
            assert first in sys.stdlib_module_names, f"{name} imports {module}"


def test_only_the_module_way_knows_ansible_module() -> None:
    users = {name for name in FILES if ("ansible.module_utils.basic", "AnsibleModule") in imports(name)}
    assert {name for name in users if not name.startswith("modules/")} == {"module_utils/module.py"}
