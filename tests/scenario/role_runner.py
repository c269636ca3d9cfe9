# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the collection's playbooks over tenants of the sandbox, as a user would, and tells what became of each tenant.

Starting ansible-playbook costs more than a tenant does. So tests are written as generators: each has a tenant of its
own, yields a Go for every run that it needs, and is sent its tenant's Outcome; runs of one kind are made together.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS, entry
from halo_sandbox.testing import Sandbox
from helpers import processes

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
CALLBACKS = Path(__file__).resolve().parent / "callback"
FILES = Path(__file__).resolve().parent / "role_files"
VAULT_PASSWORD = "open sesame"


@dataclasses.dataclass(frozen=True)
class Go:
    """One run over a tenant.

    :param check: in check mode: Halo refuses writes, and neither it nor the store may be touched
    :param vault: the run has the vault password
    """

    playbook: str = "provision"
    check: bool = False
    vault: bool = False
    arguments: tuple[str, ...] = ("--diff", "-vvv")


CHECK = Go(check=True)
REAL = Go()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run did to one tenant.

    ``tasks`` holds name, outcome and result, in their order; ``requests`` is the tenant's part of the sandbox's log.
    """

    stats: Mapping[str, int]
    tasks: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    stdout: str

    @property
    def failed(self) -> bool:
        return bool(self.stats.get("failures") or self.stats.get("unreachable"))

    @property
    def changed(self) -> int:
        return self.stats.get("changed", 0)

    @property
    def message(self) -> str:
        """What the failed tasks said."""
        return "\n".join(str(task["result"].get("msg")) for task in self.tasks if task["outcome"] == "failed")

    @property
    def names(self) -> list[str]:
        """The tasks that were not skipped."""
        return [task["task"] for task in self.tasks if task["outcome"] != "skipped"]

    @property
    def result(self) -> dict[str, Any]:
        """halo_integration_result as it was in the end."""
        found: dict[str, Any] = {}
        for task in self.tasks:
            if "todo" in task["result"]:
                found = task["result"]
            found = task["result"].get("ansible_facts", {}).get("halo_integration_result", found)
        return found

    def __getitem__(self, binding: str) -> dict[str, Any]:
        made: dict[str, Any] = self.result["bindings"][binding]
        return made

    @property
    def writes(self) -> list[str]:
        return [
            f"{one['method']} {one['path']}"
            for one in self.requests
            if one["method"] != "GET" and one["kind"] != "token"
        ]

    @property
    def quiet(self) -> bool:
        """Nothing was changed and nothing written."""
        return not self.failed and not self.changed and not self.writes


Case = Callable[["Tenant"], Generator[Go, Outcome, None]]


class Tenant:
    """One tenant: ``bindings`` and ``more`` are its variables in the inventory."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.sandbox = fleet.sandbox
        self.name = name
        self.login = dict(self.sandbox.tenants[name])
        self.url = self.login["url"]
        self.bindings: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {}

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "halo_url": self.url,
            "halo_client_id": self.login["client_id"],
            "halo_client_secret": self.login["client_secret"],
            "halo_retry_seconds": 5,
            "halo_integration_store": "file",
            "halo_integration_bindings": self.bindings,
            **self.more,
        }

    def bind(self, agent: str = "api-ansible", name: str = "Ansible integration", **more: Any) -> dict[str, Any]:
        """Declare a binding, or change the one of this name."""
        made = next((one for one in self.bindings if one["name"] == name), None)
        if made is None:
            made = {"name": name, "application": {"scopes": ["all", "read:tickets"]}}
            if more.get("kind") == "integrator":
                del made["application"]
            self.bindings.append(made)
        made.update({"agent": {"name": agent, "roles": ["API Integration"]}, **more})
        return made

    # Halo

    @property
    def state(self) -> dict[str, Any]:
        return self.sandbox.state(self.name)

    def agents(self, name: str) -> list[dict[str, Any]]:
        return [one for one in self.state["agents"] if one["name"] == name]

    def agent(self, name: str) -> dict[str, Any]:
        (found,) = self.agents(name)
        return found

    def applications(self, name: str) -> list[dict[str, Any]]:
        return [one for one in self.state["applications"] if one["displayName"] == name]

    def application(self, name: str = "Ansible integration") -> dict[str, Any]:
        (found,) = self.applications(name)
        return found

    def logs_in(self, client_id: str, secret: str) -> Any:
        """Id of the agent that this logs in as, None where it does not."""
        return self.sandbox.check(self.name, client_id, secret)["agent_id"]

    def post(self, path: str, *rows: dict[str, Any]) -> None:
        """What someone else does in Halo meanwhile, by its API."""

        def send(url: str, data: bytes, **headers: str) -> Any:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
                return json.load(answer)

        form = {
            "grant_type": "client_credentials",
            "scope": "all",
            **{k: self.login[k] for k in ("client_id", "client_secret")},
        }
        token = send(f"{self.url}/auth/token", urllib.parse.urlencode(form).encode())["access_token"]
        body = json.dumps(rows).encode()
        send(f"{self.url}/api/{path}", body, Authorization=f"Bearer {token}", **{"Content-Type": "application/json"})

    # The store

    @property
    def stored(self) -> dict[str, dict[str, Any]]:
        """The entries in the store, by the name of their binding."""
        return self.fleet.stored(self)

    def entry(self, name: str = "Ansible integration") -> dict[str, Any]:
        return self.stored[name]

    def secret(self, name: str = "Ansible integration", label: str = "current") -> str:
        return str(self.entry(name)[label]["client_secret"])

    def delivered(self) -> dict[str, Any] | None:
        """What role_files/deliver.yml was last given."""
        path = self.fleet.inventory / "delivered" / f"{self.name}.json"
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        path.unlink()
        return found

    def proven(self, name: str = "Ansible integration", agent: str | None = None) -> bool:
        """Whether the current secret is the one in force, and logs in as the agent of the binding."""
        current = self.entry(name)["current"]
        wanted = agent or next(one["agent"]["name"] for one in self.bindings if one["name"] == name)
        kind = next((one.get("kind") for one in self.bindings if one["name"] == name), None)
        client_id = (
            self.state["control"]["client_id_halointegrator"]
            if kind == "integrator"
            else self.application(name)["clientId"]
        )
        assert current["client_id"] == client_id
        return bool(self.logs_in(client_id, current["client_secret"]) == self.agent(wanted)["id"])


class Fleet:
    """Tenants, an inventory, and a home directory that is nobody's."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.home = folder / "home"
        self.inventory = folder / "inventory"
        for path in (self.home / "tmp", self.home / "work", self.inventory / "own", self.inventory / "delivered"):
            path.mkdir(parents=True)
        (self.inventory / "tasks").symlink_to(FILES)
        (self.inventory / "own_store").symlink_to(FILES / "own_store")
        (folder / "vault").write_text(VAULT_PASSWORD)
        self._names = iter(sandbox.tenants)
        self._known: set[str] = set()
        self._numbers = itertools.count(1)

    def tenant(self) -> Tenant:
        """The next one that no test has used."""
        return Tenant(self, next(self._names))

    # Runs

    def command(self, tenants: Iterable[Tenant], go: Go) -> tuple[list[str], dict[str, str]]:
        """The command and the environment of a run; it has an inventory file of its own, in the common folder."""
        number = next(self._numbers)
        hosts = {tenant.name: tenant.variables for tenant in tenants}
        inventory = self.inventory / f"{number}.yml"
        inventory.write_text(json.dumps({"halo_tenants": {"hosts": hosts}}))
        playbook = go.playbook if go.playbook.startswith("/") else f"haloops.halo.{go.playbook}"
        arguments = [*(["--check"] if go.check else []), *go.arguments]
        if go.vault:
            arguments += ["--vault-password-file", str(self.folder / "vault")]
        environment = {
            "PATH": f"{PLAYBOOK.parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "ANSIBLE_HOME": str(self.home / ".ansible"),
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "role_watch",
            "ANSIBLE_FORKS": "4",
            "HALO_IN_PROCESS": os.environ["ROLE_IN_PROCESS"],
            "ANSIBLE_NOCOLOR": "1",
            # the user's own tasks get secrets, which would else lie in a file while a module runs
            "ANSIBLE_PIPELINING": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ROLE_WATCH": str(self.inventory / f"{number}.watch"),
        }
        return [str(PLAYBOOK), "-i", str(inventory), playbook, *arguments], environment

    def start(self, tenants: Iterable[Tenant], go: Go = REAL, **environment: str) -> Running:
        """Start a run in a process group of its own."""
        return Running(self, list(tenants), go, environment)

    def run(
        self, tenants: Iterable[Tenant], go: Go = REAL, environment: Mapping[str, str] | None = None
    ) -> dict[str, Outcome]:
        """Run a playbook over the tenants, and return what became of each."""
        tenants = list(tenants)
        before = {tenant.name: self._frozen(tenant) for tenant in tenants} if go.check else {}
        for tenant in tenants:
            self.sandbox.settings(tenant.name, read_only=go.check)
        running = self.start(tenants, go, **(environment or {}))
        outcomes = running.finish()
        for tenant in tenants if go.check else []:
            self.sandbox.settings(tenant.name, read_only=False)
            assert self._frozen(tenant) == before[tenant.name], f"check mode has changed something: {tenant.name}"
            assert not outcomes[tenant.name].writes, outcomes[tenant.name].writes
        return outcomes

    def drive(self, cases: Mapping[str, Case]) -> dict[str, BaseException | None]:
        """Run the cases together; what each came to, by its name."""
        over: dict[str, BaseException | None] = {}
        ready: dict[str, tuple[Tenant, Generator[Go, Outcome, None], Go]] = {}

        def step(name: str, tenant: Tenant, running: Generator[Go, Outcome, None], outcome: Outcome | None) -> None:
            ready.pop(name, None)
            try:
                ready[name] = (tenant, running, running.send(outcome) if outcome else next(running))
            except StopIteration:
                over[name] = None
            except Exception as error:
                over[name] = error

        for name, case in cases.items():
            tenant = self.tenant()
            step(name, tenant, case(tenant), None)
        while ready:
            kinds = [go for _tenant, _running, go in ready.values()]
            go = max(kinds, key=kinds.count)
            chosen = {name: one for name, one in ready.items() if one[2] == go}
            try:
                outcomes = self.run([tenant for tenant, _running, _go in chosen.values()], go)
                locked = [path.name for path in self.folder.rglob("*.lock")]
                assert not locked, f"a run that is over still holds {locked}"
            except AssertionError as error:
                for name in chosen:
                    over[name] = error
                    del ready[name]
                continue
            for name, (tenant, running, _go) in chosen.items():
                step(name, tenant, running, outcomes[tenant.name])
        return over

    # The store

    def stored(self, tenant: Tenant) -> dict[str, dict[str, Any]]:
        found = {}
        vault = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
        for path in [*self.inventory.glob("halo_credentials/*/*.yml"), *self.inventory.glob("own/*.json")]:
            content = path.read_bytes()
            told = yaml.safe_load(vault.decrypt(content) if VaultLib.is_encrypted(content) else content)
            if told["tenant"].split()[0] == tenant.url:
                found[told["binding"]] = entry(told)
        return found

    def _frozen(self, tenant: Tenant) -> Any:
        files = {path: path.read_bytes() for path in self.inventory.glob("halo_credentials/**/*") if path.is_file()}
        return tenant.state, files

    # Secrets

    def learn(self, tenants: Iterable[Tenant]) -> None:
        """Note every secret that there is."""
        for tenant in tenants:
            self._known.add(tenant.login["client_secret"])
            for one in tenant.stored.values():
                self._known.update(one[label]["client_secret"] for label in LABELS if one[label])

    def leaks(self, texts: Mapping[str, bytes]) -> list[str]:
        """The names of those texts that hold a secret, as it is, URL-encoded or in base64."""
        forms = {form for secret in self._known for form in _forms(secret)}
        pattern = re.compile(b"|".join(re.escape(form) for form in sorted(forms)))
        return [name for name, text in texts.items() if pattern.search(text)]

    def written(self) -> dict[str, bytes]:
        """All files that runs have left outside of the store."""
        return {str(path): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}


def _forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield from (raw, urllib.parse.quote(secret, safe="").encode(), urllib.parse.quote_plus(secret).encode())
    for shift in range(3):
        # within a longer text it begins at any of three places; the characters at the edges depend on the neighbours
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[(0, 2, 3)[shift] : -4]


class Running:
    """A run that has been started."""

    def __init__(self, fleet: Fleet, tenants: list[Tenant], go: Go, environment: Mapping[str, str]) -> None:
        self._fleet = fleet
        self._tenants = tenants
        fleet.learn(tenants)
        self._from = {tenant.name: len(fleet.sandbox.requests(tenant.name)) for tenant in tenants}
        command, base = fleet.command(tenants, go)
        self._watch = Path(base["ROLE_WATCH"])
        self._output = self._watch.with_suffix(".out")
        # a mark by which all processes of the run are found, whatever group they are in
        self._mark = f"ROLE_RUN={self._watch}"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=fleet.home / "work",
                env={**base, **environment, "ROLE_RUN": str(self._watch)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What the callback has written so far."""
        if not self._watch.exists():
            return []
        return [json.loads(line) for line in self._watch.read_text().splitlines(True) if line.endswith("\n")]

    def reached(self, task: str, seconds: float = 60) -> None:
        """Wait until a task of this name has been started."""
        self.wait(lambda: any(line.get("task") == task and "number" in line for line in self.lines), seconds)

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it did not come to that: {self._output.read_text()[-3000:]}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to the process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def rest(self) -> None:
        """Wait for what outlives a killed run: newer ansible-core gives each worker a process group of its own."""
        self.process.wait()
        processes.wait(self._mark)

    def finish(self, seconds: float = 900) -> dict[str, Outcome]:
        """Wait for the end of the run, look for leaks, and return what became of each tenant."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        output = self._output.read_text()
        fleet = self._fleet
        fleet.learn(self._tenants)
        leaked = fleet.leaks({"the output": output.encode(), **fleet.written()})
        assert not leaked, leaked
        assert "Traceback" not in output, output
        lines = self.lines
        assert any("stats" in line for line in lines) or self.process.returncode < 0, output
        return {
            tenant.name: Outcome(
                next((line["stats"] for line in lines if line.get("host") == tenant.name and "stats" in line), {}),
                [line for line in lines if line.get("host") == tenant.name and "outcome" in line],
                fleet.sandbox.requests(tenant.name)[self._from[tenant.name] :],
                output,
            )
            for tenant in self._tenants
        }
