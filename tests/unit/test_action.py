# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action does around an operation: where it runs, with which connection, and what it refuses before that."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.module_utils.common.warnings import get_deprecation_messages
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.display import Display
from ansible_collections.haloops.halo.plugins.action.halo_application import ActionModule as Application
from ansible_collections.haloops.halo.plugins.action.halo_integrator import ActionModule as Integrator
from ansible_collections.haloops.halo.plugins.module_utils import module
from ansible_collections.haloops.halo.plugins.module_utils.options import HIDDEN
from ansible_collections.haloops.halo.plugins.module_utils.run import Operation
from ansible_collections.haloops.halo.plugins.module_utils.spec import Spec
from ansible_collections.haloops.halo.plugins.plugin_utils import action, compat
from ansible_collections.haloops.halo.plugins.plugin_utils.connection import connection_arguments
from helpers import in_process

try:
    from ansible.template import trust_as_template

    OMIT = {}
except ImportError:
    # before core 2.19 every text is one, and what is omitted is a text
    OMIT = {"omit": "__omit_place_holder__"}

    def trust_as_template(text: str) -> str:
        return text


SECRET = "s3cret-Value"
SPEC = Spec(
    {
        "name": {"type": "str", "required": True},
        "agent": {"type": "dict", "options": {"name": {"type": "str", "required": True}}},
        "password": {"type": "str", "no_log": True},
    }
)


class Probe(action.HaloAction):
    """An action whose operation gives back its parameters, and whose module would give how it was called."""

    operation = Operation(SPEC, lambda context: {})

    def _execute(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"ran": "here", "got": params}

    def _execute_module(self, **how: Any) -> dict[str, Any]:
        return {"ran": "module", "args": dict(self._task.args), **how}


Made = Callable[..., Any]


def made(
    args: dict[str, Any],
    variables: dict[str, Any] | None = None,
    kind: type[action.HaloAction] = Probe,
    transport: str = "local",
    become: Any = None,
    **task: Any,
) -> action.HaloAction:
    """An action plugin as the executor would make it, short of what it does not use."""
    shell = SimpleNamespace(tmpdir="/nowhere", join_path=os.path.join, env_prefix=lambda **env: "")
    connection = SimpleNamespace(
        transport=transport, become=become, has_native_async=False, always_pipeline_modules=False, _shell=shell
    )
    given = {"async_val": 0, "check_mode": False, "environment": None, "no_log": False, "args": args, **task}
    given = {"action": "halo_probe", "resolved_action": "haloops.halo.halo_probe", "diff": False, **given}
    loader = DataLoader()
    plugin = kind(
        SimpleNamespace(**given), connection, SimpleNamespace(), loader, Templar(loader, variables or {}), None
    )
    plugin._remove_tmp_path = lambda path: None
    return plugin


def ran(args: dict[str, Any], variables: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    result: dict[str, Any] = made(args, variables, **how).run(task_vars=variables or {})
    return result


# Where


@pytest.mark.parametrize(
    ("variables", "environment", "how", "where"),
    [
        ({}, None, {}, "here"),
        ({}, "", {}, "here"),
        ({}, "yes", {}, "here"),
        ({}, "no", {}, "module"),
        ({"halo_in_process": True}, "no", {}, "here"),
        ({"halo_in_process": "yes"}, None, {}, "here"),
        ({"halo_in_process": False}, None, {}, "module"),
        ({"halo_in_process": trust_as_template("{{ 1 == 2 }}")}, None, {}, "module"),
        ({"halo_in_process": "nonsense"}, None, {}, "module"),
        ({}, None, {"transport": "ssh"}, "module"),
        ({}, None, {"become": "sudo"}, "module"),
        ({}, None, {"async_val": 60}, "module"),
    ],
    ids=str,
)
def test_where_it_runs(
    variables: dict[str, Any],
    environment: str | None,
    how: dict[str, Any],
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if environment is not None:
        monkeypatch.setenv("HALO_IN_PROCESS", environment)
    assert ran({"name": "x"}, variables, **how)["ran"] == where


def test_without_requests_it_is_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "REQUESTS_ERROR", "there is none")
    assert ran({"name": "x"})["ran"] == "module"


# The Python


@pytest.mark.parametrize("name", ["halo_application", "halo_binding", "halo_store_move"])
def test_an_older_python_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_PYTHON", (9, 9))
    result = in_process.task(name, {}, {}, tmp_path)
    assert result["failed"]
    assert result["msg"].startswith("haloops.halo needs Python 3.11 or newer, and this is Python 3.")


def test_an_older_python_is_refused_before_any_playbook_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_PYTHON", (9, 9))
    with pytest.raises(AnsibleError, match="needs Python"):
        in_process.lookup("tenants", ["all"], {"groups": {"all": ["acme"]}}, tmp_path)


def test_an_older_python_is_refused_by_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Exception):
        pass

    class Module:
        def __init__(self, **spec: Any) -> None:
            self.params, self.check_mode = {}, False

        def fail_json(self, msg: str) -> None:
            raise Refused(msg)

    monkeypatch.setattr(module, "AnsibleModule", Module)
    monkeypatch.setattr(module, "OLDEST_PYTHON", (9, 9))
    with pytest.raises(Refused, match="needs Python"):
        module.run_module(Operation(SPEC, lambda context: {}))


# The connection

HOST = {
    "halo_url": "https://host.example.com",
    "halo_tenant": trust_as_template("{{ short }}-tenant"),
    "short": "acme",
    "halo_client_id": "",
    "halo_scope": None,
    "halo_validate_certs": False,
    "halo_ca_path": trust_as_template("{{ nowhere | default(omit) }}"),
    "halo_others": trust_as_template("{{ this is never looked at }}"),
    **OMIT,
}
FOUND = {"halo_url": "https://host.example.com", "halo_tenant": "acme-tenant", "halo_validate_certs": False}
TOKEN = {"halo_access_token": "a token"}

CONNECTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "the host's variables": ({}, HOST, FOUND),
    "an option wins": (
        {"halo_url": "https://task.example.com"},
        HOST,
        {**FOUND, "halo_url": "https://task.example.com"},
    ),
    "an option that says no wins": ({"halo_validate_certs": True}, HOST, {**FOUND, "halo_validate_certs": True}),
    "an empty option does not": ({"halo_url": "", "halo_tenant": None}, HOST, FOUND),
    "nothing anywhere": ({"halo_url": ""}, {}, {}),
    "other options are not its matter": ({"name": "x"}, {"name": "y"}, {}),
    "the host's token": ({}, TOKEN, TOKEN),
    "not for an application of the task's": ({"halo_client_id": "a"}, TOKEN, {"halo_client_id": "a"}),
    "nor for its secret": ({"halo_client_secret": "a"}, TOKEN, {"halo_client_secret": "a"}),
    "but the token of the task": ({"halo_client_id": "a", **TOKEN}, {}, {"halo_client_id": "a", **TOKEN}),
}


@pytest.mark.parametrize(("options", "variables", "expected"), CONNECTIONS.values(), ids=CONNECTIONS)
def test_where_the_connection_comes_from(
    options: dict[str, Any], variables: dict[str, Any], expected: dict[str, Any]
) -> None:
    template = Templar(DataLoader(), variables).template
    assert connection_arguments(options, variables, template) == expected


def test_only_what_is_needed_is_templated() -> None:
    seen: list[dict[str, Any]] = []
    options = {"halo_url": "https://task.example.com"}
    connection_arguments(options, {**HOST, "halo_url": "not this"}, lambda value: seen.append(value) or value)
    assert [set(value) for value in seen] == [
        {"halo_tenant", "halo_client_id", "halo_scope", "halo_validate_certs", "halo_ca_path"}
    ]
    connection_arguments(options, {"name": "y"}, lambda value: seen.append(value) or value)
    assert len(seen) == 1


def test_a_variable_that_cannot_be_templated_is_an_error() -> None:
    with pytest.raises(AnsibleError, match="nowhere"):
        ran({"name": "x"}, {"halo_url": trust_as_template("{{ nowhere }}")})


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_both_ways_get_the_connection(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALO_URL", "https://environment.example.com")
    monkeypatch.setenv("HALO_TENANT", "from the environment")
    result = ran({"name": "x", "halo_tenant": ""}, {"halo_url": "https://host.example.com"}, transport=transport)
    if transport == "ssh":
        assert result["args"] == {"name": "x", "halo_url": "https://host.example.com"}
    else:
        assert result["got"]["halo_url"] == "https://host.example.com"
        # an empty option leaves the way to the environment open
        assert result["got"]["halo_tenant"] == "from the environment"


# What is refused


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_what_goes_back_to_callbacks_has_no_secret(transport: str) -> None:
    seen = []

    class Attentive(Probe):
        def _execute(self, params: dict[str, Any]) -> dict[str, Any]:
            seen.append((params["password"], params["halo_client_secret"]))
            return {}

        def _execute_module(self, **how: Any) -> dict[str, Any]:
            return self._execute(self._task.args)

    plugin = made({"name": "x", "password": SECRET}, kind=Attentive, transport=transport)
    # the second time as with retries
    for _attempt in range(2):
        plugin.run(task_vars={"halo_client_secret": "another", "halo_url": "https://x.example.com"})
        assert plugin._task.args == {"name": "x", "password": HIDDEN}
    assert seen == [(SECRET, "another")] * 2
    refused = made({"name": ["no", "text"], "passwrd": SECRET}, transport=transport)
    assert refused.run(task_vars={})["failed"]
    assert refused._task.args == {"name": ["no", "text"], "passwrd": HIDDEN}


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_wrong_options_are_named_before_anything_runs(transport: str) -> None:
    result = ran({"name": "x", "agent": {"namee": SECRET}, "passwort": SECRET}, transport=transport)
    assert result == {
        "failed": True,
        "msg": "haloops.halo.halo_probe: passwort is not an option; did you mean password? "
        "agent.namee is not an option; did you mean name?",
    }


def test_sentences_end() -> None:
    assert ran({"name": "x", "agent": {}})["msg"] == "haloops.halo.halo_probe: agent.name is missing."


def test_what_ansible_refuses_is_refused_in_its_words() -> None:
    result = ran({"password": SECRET})
    assert result["failed"] is True
    assert "name" in result["msg"]
    assert "ran" not in result


WISHES: dict[type[action.HaloAction], dict[str, Any]] = {
    Application: {"name": "App", "login_agent": "api-x"},
    Integrator: {"login_agent": "api-x"},
    Probe: {"name": "x"},
}
ASYNC: dict[str, tuple[type[action.HaloAction], dict[str, Any], bool]] = {
    "by default": (Application, {}, False),
    "always": (Application, {"regenerate_secret": "always"}, False),
    "with a secret of one's own": (Application, {"new_client_secret": "an odd one"}, False),
    "deferred and brought": (Application, {"defer_rotation": True, "new_client_secret": "an odd one"}, False),
    "not deferred": (Application, {"defer_rotation": "no"}, False),
    "the Integrator": (Integrator, {}, False),
    "deferred": (Application, {"defer_rotation": "yes"}, True),
    "never": (Application, {"regenerate_secret": "never"}, True),
    "absent": (Application, {"state": "absent"}, True),
    "no secret at all": (Probe, {}, True),
}


@pytest.mark.parametrize(("kind", "args", "may"), ASYNC.values(), ids=ASYNC)
def test_async(kind: type[action.HaloAction], args: dict[str, Any], may: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result would be written to disk: a task that may make a secret is not even begun."""
    monkeypatch.setattr(kind, "_execute_module", Probe._execute_module)
    result = ran({**WISHES[kind], **args}, kind=kind, async_val=60)
    if may:
        assert result["ran"] == "module"
        assert result["wrap_async"] is True
    else:
        assert set(result) == {"failed", "msg"}
        assert "cannot run with async" in result["msg"]


# What is hidden


def test_a_result_with_a_secret_is_censored(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[str] = []
    monkeypatch.setattr(action, "register_secrets", registered.extend)
    monkeypatch.setattr(Probe, "_execute", lambda self, params: {"client_secret": SECRET})
    plugin = made({"name": "x"})
    result = plugin.run(task_vars={})
    assert result["client_secret"] == SECRET
    assert result["_ansible_no_log"] is True
    assert plugin._task.no_log is True
    assert registered == [SECRET]


def test_a_result_without_one_is_not() -> None:
    plugin = made({"name": "x"})
    assert "_ansible_no_log" not in plugin.run(task_vars={})
    assert plugin._task.no_log is False


def test_values_of_no_log_are_hidden_as_this_core_does_it() -> None:
    """In the result before core 2.22; from there on in all output, and the result is as the operation gave it."""
    result = ran({"name": f"x {SECRET} y", "password": SECRET})
    if compat.secrets:
        assert result["got"]["password"] == SECRET
        assert compat.secrets.mask_secrets(f"x {SECRET} y") == "x $REDACTED$ y"
    else:
        assert SECRET not in str(result)
        assert result["got"]["name"] == "x ******** y"


def test_nothing_is_deprecated(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(Display, "deprecated", lambda self, *args, **how: said.append((args, how)))
    before = get_deprecation_messages()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        ran({"name": "x", "password": SECRET})
    assert said == []
    assert get_deprecation_messages() == before


# The task's environment


def test_the_tasks_environment_ends_with_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALO_URL", "https://outside.example.com")
    plugin = made({"name": "x"})
    plugin._compute_environment_string = lambda found: found.update(
        {"HALO_URL": "https://inside.example.com", "X_1": 8}
    )
    assert plugin.run(task_vars={})["got"]["halo_url"] == "https://inside.example.com"
    assert os.environ["HALO_URL"] == "https://outside.example.com"
    assert "X_1" not in os.environ


# The types of values


class Text(str):
    pass


def test_plain_values() -> None:
    class Number(int):
        pass

    value = {Text("a"): [Text("b"), Number(1), True, None, 1.5, (Text("c"),)]}
    found = action.plain(value)
    assert found == {"a": ["b", 1, True, None, 1.5, ["c"]]}
    assert [type(item) for item in found["a"]] == [str, int, bool, type(None), float, list]
    assert [type(key) for key in found] == [str]
