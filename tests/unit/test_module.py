# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module in a process of its own: what it makes of a result, of an error, and of a mistake of the collection's."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import module as module_file
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.module import internal_error, run_module, run_on_controller
from ansible_collections.haloops.halo.plugins.module_utils.run import Operation
from ansible_collections.haloops.halo.plugins.module_utils.spec import Spec

SPEC = Spec({"name": {"type": "str"}}, {"mutually_exclusive": [["name", "halo_url"]]})


class Left(BaseException):
    """The process has ended."""


class Module:
    """In place of AnsibleModule; ``last`` is the one that was made."""

    last: Module

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.params = {"name": "x"}
        self.check_mode = True
        self.warned: list[str] = []
        self.exited: dict[str, Any] = {}
        self.failed: dict[str, Any] = {}
        Module.last = self

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def exit_json(self, **result: Any) -> NoReturn:
        self.exited = result
        raise Left

    def fail_json(self, **result: Any) -> NoReturn:
        self.failed = result
        raise Left


def run(monkeypatch: pytest.MonkeyPatch, execute: Any) -> Module:
    monkeypatch.setattr(module_file, "AnsibleModule", Module)
    monkeypatch.setattr(module_file, "execute", execute)
    with pytest.raises(Left):
        run_module(Operation(SPEC, lambda context: {}))
    return Module.last


def test_a_result_and_its_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    def execute(operation: Operation, params: Any, **more: Any) -> dict[str, Any]:
        called.append((operation.spec, params, more))
        return {"changed": True, "warnings": ["one", "two"]}

    module = run(monkeypatch, execute)
    assert called == [(SPEC, {"name": "x"}, {"check_mode": True})]
    assert (module.exited, module.warned, module.failed) == ({"changed": True}, ["one", "two"], {})
    expected = {"argument_spec": SPEC.with_connection(), "supports_check_mode": True, **SPEC.constraints}
    assert module.arguments == expected
    assert run(monkeypatch, lambda *_given, **_more: {"changed": False}).exited == {"changed": False}


def test_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(*_given: Any, **_more: Any) -> NoReturn:
        raise HaloError("it is broken.", instance="https://acme.example.com", status=500, hint="Mend it.")

    error = {"method": None, "path": None, "status": 500, "answer": None, "hint": "Mend it."}
    failed = {"msg": "https://acme.example.com: it is broken. Mend it.", "error": error}
    assert run(monkeypatch, execute).failed == failed


def test_a_mistake_names_its_place_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep() -> NoReturn:
        raise KeyError("s3cret")

    def execute(*_given: Any, **_more: Any) -> NoReturn:
        deep()

    line = deep.__code__.co_firstlineno + 1
    said = f"Unexpected KeyError in test_module.py:{line} of the collection haloops.halo; please report it."
    assert run(monkeypatch, execute).failed == {"msg": said}
    assert internal_error(ValueError("s3cret")) == (
        "Unexpected ValueError in an unknown place of the collection haloops.halo; please report it."
    )


def test_what_runs_on_the_controller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_file, "AnsibleModule", Module)
    with pytest.raises(Left):
        run_on_controller(SPEC)
    assert Module.last.failed == {"msg": "This runs on the controller alone, through its action plugin."}
    expected = {"argument_spec": SPEC.with_connection(), "supports_check_mode": True, **SPEC.constraints}
    assert Module.last.arguments == expected
