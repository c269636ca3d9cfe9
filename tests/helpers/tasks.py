# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the tasks of a play one by one in this process, and says what happened, as helpers.playbook does of a play.

A play costs over a second and a task here a few milliseconds: what Ansible itself does with tasks is left out.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from ansible.module_utils import basic
from ansible.plugins.action import ActionBase
from halo_sandbox.testing import Sandbox

from helpers import in_process
from helpers.playbook import COLLECTION, Step, Steps, Task, connection

GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Prepare = Callable[[Sandbox], object]


def perform(
    sandbox: Sandbox,
    folder: Path,
    tasks: list[Task],
    *,
    tenant: str = "acme",
    options: Mapping[str, Any] | None = None,
    check_mode: bool = False,
    as_module: bool = False,
) -> Steps:
    """Run the tasks against a tenant. An argument that is a function is called with the steps so far.

    :param options: connection options for all tasks; those of the tenant by default
    :param as_module: run the code of the module, where by default that of the action runs in the worker
    """
    defaults = connection(sandbox.tenants[tenant]) if options is None else options
    done = Steps([])
    with _modules_here() if as_module else contextlib.nullcontext():
        for one in tasks:
            module = next(key for key in one if key.startswith(COLLECTION))
            args = {name: value(done) if callable(value) else value for name, value in one[module].items()}
            for method, path, value in one.get("vars", {}).get("sandbox", []):
                sandbox.control(method, path, value)
            state, logged = sandbox.state(tenant), sandbox.requests(tenant)
            result = in_process.task(
                module.removeprefix(COLLECTION),
                {**defaults, **args},
                {"halo_in_process": not as_module},
                folder,
                check_mode=check_mode or one.get("check_mode", False),
            )
            last = max((entry["n"] for entry in logged), default=0)
            requests = [entry for entry in sandbox.requests(tenant) if entry["n"] > last]
            outcome = "failed" if result.get("failed") else "ok"
            items = [{"outcome": outcome, "result": result}]
            done.steps.append(Step(one["name"], items, requests, sandbox.state(tenant) != state))
    return done


def perform_both(
    sandbox: Sandbox, folder: Path, tasks: list[Task], prepare: Prepare = lambda _sandbox: None, **how: Any
) -> Steps:
    """Run the tasks as in the worker and as modules, each time on the same ground; returns the first of the two.

    Results, requests and changes must be the same.
    """
    runs = []
    for as_module in (True, False):
        sandbox.reset()
        prepare(sandbox)
        runs.append(perform(sandbox, folder, tasks, as_module=as_module, **how))
    shipped, here = runs
    assert len(here.steps) == len(shipped.steps) == len(tasks)
    for one, other in zip(_comparable(here), _comparable(shipped), strict=True):
        assert one == other, f"in the worker:\n{one}\nas a module:\n{other}"
    return here


@contextlib.contextmanager
def _modules_here() -> Iterator[None]:
    """Let what an action sends out as a module run in this process; what it takes and returns goes through JSON."""

    def execute_module(action: ActionBase, *, task_vars: Any = None, wrap_async: Any = False) -> dict[str, Any]:
        name = action._task.action.removeprefix(COLLECTION)
        args = {**action._task.args, "_ansible_check_mode": bool(action._task.check_mode)}
        main = importlib.import_module(f"ansible_collections.{COLLECTION}plugins.modules.{name}").main
        printed = io.StringIO()
        # from core 2.19 a module in a controller's process would show its warnings instead of returning them
        warned: list[str] = []
        warn = mock.patch.object(basic.AnsibleModule, "warn", lambda _self, text: warned.append(text))
        with warn, _arguments(args), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main()
        found = json.loads(printed.getvalue())
        # the executor takes for itself what a module tells it
        found = {name: value for name, value in found.items() if not name.startswith("_ansible")}
        return {**found, **({"warnings": warned} if warned else {})}

    clean = mock.patch.object(ActionBase, "_remove_tmp_path")
    with clean, mock.patch.object(ActionBase, "_execute_module", execute_module):
        yield


def _arguments(args: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:
        # before core 2.19
        return mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode())
    return patch_module_args(args)


def _comparable(done: Steps) -> Iterator[Any]:
    """The steps without what differs by chance: new GUIDs are numbered, and requests for tokens left out."""
    for step in done.steps:
        requests = [
            [entry[name] for name in ("method", "path", "query", "status")]
            for entry in step.requests
            if entry["kind"] not in ("token", "authinfo")
        ]
        seen: dict[str, str] = {}
        text = json.dumps([step.name, step.items, requests, step.state_changed], sort_keys=True)
        yield json.loads(GUID.sub(lambda found: seen.setdefault(found.group(), f"<{len(seen)}>"), text))  # noqa: B023


def promised(done: Steps, name: str, key: str) -> dict[str, Any]:
    """Assert that the three steps of helpers.playbook.foretold kept their promises; returns the second's result.

    Check mode writes nothing and predicts the result; the real run writes once; the repetition changes nothing.

    :param key: of the object in the result
    """
    check, real, again = (done[f"{name}{which}"] for which in (", check", "", ", again"))
    for step in (check, real, again):
        assert step.outcome == "ok", step.result
        assert "warnings" not in step.result, step.result["warnings"]
    assert again.result["changed"] is False, again.result["diff"]
    assert again.writes == []
    assert not again.state_changed
    assert again.result["diff"]["before"] == again.result["diff"]["after"]
    predicted(done, name, key)
    if real.result[key] is not None:
        assert again.result[key] == real.result[key]
    return real.result


def predicted(done: Steps, name: str, key: str) -> None:
    """Assert that check mode wrote nothing and predicted the real result, apart from the ids that a creation gives."""
    check, real = done[f"{name}, check"], done[name]
    assert check.writes == []
    assert not check.state_changed
    assert len(real.writes) == 1, real.writes
    assert real.state_changed
    assert real.result["changed"] is check.result["changed"] is True
    # the secret that is made, and that it is to be hidden, are the real run's
    secret = {"client_secret", "_ansible_no_log"} if "client_secret" in real.result else set()
    assert set(real.result) - secret == set(check.result)
    assert real.result.get("rotation") == check.result.get("rotation")
    created = not check.result["diff"]["before"]
    for one, other in (
        (check.result[key], real.result[key]),
        (check.result["diff"]["before"], real.result["diff"]["before"]),
        (check.result["diff"]["after"], real.result["diff"]["after"]),
    ):
        assert (_without_ids(one) == _without_ids(other)) if created else one == other


def _without_ids(view: Any) -> Any:
    return {name: None if name in ("id", "client_id") else value for name, value in view.items()}
