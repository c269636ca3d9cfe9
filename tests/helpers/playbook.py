# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a playbook against a tenant of the sandbox, with a home of its own, and says what happened task by task."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from halo_sandbox.testing import Sandbox

from helpers import processes

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
CALLBACKS = Path(__file__).resolve().parent / "callback"
COLLECTION = "haloops.halo."
Task = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Step:
    """What one task did: ``items`` has one entry per host and loop item, and the whole loop's last."""

    name: str
    items: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    state_changed: bool

    @property
    def outcome(self) -> str:
        return str(self.items[-1]["outcome"])

    @property
    def result(self) -> dict[str, Any]:
        """What a callback sees of the result."""
        found: dict[str, Any] = self.items[-1]["result"]
        return found

    @property
    def writes(self) -> list[str]:
        """Requests that could have changed something in Halo, token requests aside."""
        return [
            f"{entry['method']} {entry['path']}"
            for entry in self.requests
            if entry["method"] != "GET" and entry["kind"] == "api"
        ]

    @property
    def calls(self) -> list[str]:
        """Requests to the API, in their order, without queries."""
        return [f"{entry['method']} {entry['path']}" for entry in self.requests if entry["kind"] == "api"]

    @property
    def asked(self) -> list[str]:
        """All requests, those for tokens too."""
        return [f"{entry['method']} {entry['path']}" for entry in self.requests]


@dataclasses.dataclass(frozen=True)
class Steps:
    """What tasks did, by their names."""

    steps: list[Step]

    def __getitem__(self, name: str) -> Step:
        found = [step for step in self.steps if step.name == name]
        assert len(found) == 1, f"{len(found)} tasks are called {name!r}"
        return found[0]


@dataclasses.dataclass(frozen=True)
class Run(Steps):
    """A finished ansible-playbook; ``home`` holds all that it could have written to."""

    status: int
    stdout: str
    stderr: str
    home: Path

    @property
    def warnings(self) -> list[str]:
        return re.findall(r"\[(?:WARNING|DEPRECATION WARNING|ERROR)\]:? .*", self.stderr + self.stdout)


def task(task_name: str, module: str, **args: Any) -> Task:
    """A task of the collection's module, which may fail without ending the play."""
    return {"name": task_name, COLLECTION + module: args, "ignore_errors": True, "register": "done"}


def steered(made: Task, *control: Sequence[Any]) -> Task:
    """The task with requests to the sandbox's control side before it."""
    return {**made, "vars": {**made.get("vars", {}), "sandbox": [list(request) for request in control]}}


def setting(**values: Any) -> tuple[str, str, dict[str, Any]]:
    """A control request that changes settings for all tenants."""
    return ("PUT", "settings", values)


def fault(kind: str, **spec: Any) -> tuple[str, str, dict[str, Any]]:
    """A control request that orders a fault."""
    return ("POST", "faults", {"kind": kind, **spec})


def foretold(task_name: str, module: str, *, repeat: bool = True, **args: Any) -> list[Task]:
    """The task in check mode while the sandbox refuses writes, then for good, then again."""
    check = steered({**task(f"{task_name}, check", module, **args), "check_mode": True}, setting(read_only=True))
    real = steered(task(task_name, module, **args), setting(read_only=False))
    return [check, real, *([task(f"{task_name}, again", module, **args)] if repeat else [])]


def connection(tenant: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """Connection options for a tenant of the sandbox, which never waits for long."""
    return {
        "halo_url": tenant["url"],
        "halo_tenant": tenant["name"],
        "halo_client_id": tenant["client_id"],
        "halo_client_secret": tenant["client_secret"],
        "halo_retry_seconds": 0,
        "halo_timeout": 20,
        **more,
    }


def run(
    sandbox: Sandbox,
    folder: Path,
    tasks: list[Task],
    *,
    tenant: str = "acme",
    in_process: bool = True,
    options: Mapping[str, Any] | None = None,
    play: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    hosts: Mapping[str, Any] | None = None,
    timeout: float = 120,
) -> Run:
    """Run the tasks against a tenant and return what happened.

    :param folder: an empty folder for this run; everything that Ansible writes by itself lands below ``folder/home``
    :param options: connection options for all tasks, set by module_defaults; those of the tenant by default
    :param hosts: inventory; one host with a local connection by default
    """
    home, given = folder / "home", folder / "given"
    work = home / "work"
    for path in (work, home / "tmp", given):
        path.mkdir(parents=True)
    host = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = {"all": {"hosts": dict(hosts) if hosts else {"halo": host}}}
    defaults = connection(sandbox.tenants[tenant]) if options is None else dict(options)
    whole = {
        "hosts": "all",
        "gather_facts": False,
        "module_defaults": {"group/haloops.halo.halo": defaults},
        "vars": dict(variables or {}),
        "tasks": tasks,
        **(play or {}),
    }
    # what is given to the run stays outside of what it writes: tests look there for secrets
    (given / "inventory.yml").write_text(json.dumps(inventory))
    (given / "play.yml").write_text(json.dumps([whole]))
    record = given / "steps.jsonl"
    command = [str(PLAYBOOK), "-i", str(given / "inventory.yml"), str(given / "play.yml"), *arguments]
    done = subprocess.run(
        command,
        cwd=work,
        env={
            "PATH": f"{PLAYBOOK.parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "ANSIBLE_HOME": str(home / ".ansible"),
            # what is sent to a host lands in the home that the system knows for its user, unless this says otherwise
            "ANSIBLE_REMOTE_TEMP": str(home / ".ansible" / "remote"),
            "ANSIBLE_ASYNC_DIR": str(home / ".ansible_async"),
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "halo_steps",
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HALO_STEPS": str(record),
            "HALO_STEPS_SANDBOX": sandbox.url,
            "HALO_STEPS_TENANT": tenant,
            "HALO_IN_PROCESS": str(in_process).lower(),
            **(environment or {}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    # it would write into what belongs to the next test
    processes.wait(f"HALO_STEPS={record}")
    lines = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    steps = [Step(line["task"], line["items"], line["requests"], line["state_changed"]) for line in lines]
    return Run(steps, done.returncode, done.stdout, done.stderr, home)
