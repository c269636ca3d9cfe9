# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tenants of the sandbox, and runs over them: one task in this process, or a playbook as a user would start it.

A case is a generator: it has a tenant of its own, yields a Go for every run that it needs, and is sent the Outcome.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import fcntl
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS, entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store
from halo_sandbox.testing import Sandbox
from helpers import in_process, processes

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
CALLBACKS = Path(__file__).resolve().parent / "callback"
FILES = Path(__file__).resolve().parent / "role_files"
VAULT_PASSWORD = "open sesame"
NAME = "Ansible integration"
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Go:
    """One run of ``halo_binding`` over a tenant, in this process.

    :param check: in check mode: Halo refuses writes, and neither it nor the store may be touched
    :param options: of the task, instead of or beside ``bindings``
    :param vault: the vault password that the run has
    """

    check: bool = False
    options: Variables = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    vault: str | None = VAULT_PASSWORD

    @property
    def checking(self) -> Go:
        return dataclasses.replace(self, check=True)


CHECK = Go(check=True)
REAL = Go()
ROTATE = Go(options={"rotate": True})
ROLLBACK = Go(options={"rotate": "rollback"})
GONE = Go(options={"state": "absent"})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run did to one tenant: the task's result, and the tenant's part of the sandbox's log."""

    result: Variables
    requests: list[Variables]

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))

    @property
    def message(self) -> str:
        return str(self.result.get("msg") or "")

    @property
    def warnings(self) -> list[str]:
        return list(self.result.get("warnings") or [])

    @property
    def pending_actions(self) -> list[Variables]:
        return list(self.result["pending_actions"])

    def __getitem__(self, binding: str) -> Variables:
        made: Variables = self.result["bindings"][binding]
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
        """Nothing was changed, nothing written, and nothing to complain of."""
        return not (self.failed or self.changed or self.writes or self.warnings)


Case = Callable[["Tenant"], Generator[Go, Outcome, None]]


class Tenant:
    """One tenant: ``bindings`` and ``more`` are its variables in the inventory; None in ``more`` takes one away."""

    def __init__(self, fleet: Fleet, name: str, inventory: Path) -> None:
        self.fleet = fleet
        self.sandbox = fleet.sandbox
        self.name = name
        self.inventory = inventory
        self.login = dict(self.sandbox.tenants[name])
        self.url = self.login["url"]
        self.bindings: list[Variables] = []
        self.more: Variables = {}
        # what the store needs besides its variables
        self.environment: Mapping[str, str] = {}
        self._in_files = True
        self._seen: dict[str, Variables] | None = None
        self.known = {self.login["client_secret"]}
        inventory.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (inventory / "tasks").symlink_to(FILES)

    @property
    def variables(self) -> Variables:
        whole = {
            "halo_url": self.url,
            "halo_client_id": self.login["client_id"],
            "halo_client_secret": self.login["client_secret"],
            "halo_retry_seconds": 5,
            "halo_timeout": 10,
            "halo_integration_store": "file",
            **self.more,
        }
        return {name: value for name, value in whole.items() if value is not None or name == "inventory_dir"}

    def bind(self, agent: str = "api-ansible", name: str = NAME, **more: Any) -> Variables:
        """Declare a binding, or change the one of this name."""
        made = next((one for one in self.bindings if one["name"] == name), None)
        if made is None:
            made = {"name": name, "application": {"scopes": ["read:customers", "read:tickets"]}}
            if more.get("kind") == "integrator":
                del made["application"]
            self.bindings.append(made)
        made.update({"agent": {"name": agent, "roles": ["API Integration"]}, **more})
        return made

    # Halo

    @property
    def state(self) -> Variables:
        return self.sandbox.state(self.name)

    def agents(self, name: str) -> list[Variables]:
        return [one for one in self.state["agents"] if _is(one["name"], name)]

    def agent(self, name: str) -> Variables:
        (found,) = self.agents(name)
        return found

    def applications(self, name: str) -> list[Variables]:
        return [one for one in self.state["applications"] if _is(one["displayName"], name)]

    def application(self, name: str = NAME) -> Variables:
        (found,) = self.applications(name)
        return found

    def put_application(self, secret: str = "someone's", agent: int = 4, name: str = NAME) -> Variables:
        """An application that was there before."""
        row = {"displayName": name, "loginas_agent_id": agent, "clientSecret": secret, "clientId": f"client of {name}"}
        row["scopes"] = [{"name": "read:customers"}, {"name": "read:tickets"}]
        self.known.add(secret)
        (made,) = self.sandbox.put_applications(self.name, row)
        return made

    def put_agent(self, name: str, **more: Any) -> Variables:
        row = {"name": name, "isapiagent": True, "roles": self.agent("api-automation")["roles"], **more}
        (made,) = self.sandbox.put_agents(self.name, row)
        return made

    def logs_in(self, client_id: str, secret: str) -> Any:
        """Id of the agent that this logs in as, None where it does not."""
        return self.sandbox.check(self.name, client_id, secret)["agent_id"]

    def fault(self, kind: str, method: str, path: str, **spec: Any) -> int:
        """Order a fault for requests to ``path``, a regular expression for what stands behind ``/api``."""
        return self.sandbox.fault(kind, tenant=self.name, method=method, path=rf"^/api/{path}$", **spec)

    def mend(self) -> None:
        self.sandbox.control("DELETE", "faults")

    def token(self) -> str:
        """An access token, as someone else got it for the run."""
        form = {"grant_type": "client_credentials", "scope": "all"}
        form |= {key: self.login[key] for key in ("client_id", "client_secret")}
        token = str(_send(f"{self.url}/auth/token", urllib.parse.urlencode(form).encode())["access_token"])
        self.known.add(token)
        return token

    def post(self, path: str, *rows: Variables) -> None:
        """What someone else does in Halo meanwhile, by its API."""
        headers = {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}
        _send(f"{self.url}/api/{path}", json.dumps(rows).encode(), **headers)

    def delete(self, path: str) -> None:
        """The same, of an object that someone else deletes."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", headers=headers, method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    # The store

    def move(self, store: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Take another store, with what is stored until now."""
        entries = self.stored
        shutil.rmtree(self.inventory / "halo_credentials", ignore_errors=True)
        self.more |= {"halo_integration_store": store, "halo_integration_store_options": dict(options)}
        self.environment = environment
        self._in_files = store in ("file", "vault_file")
        for name, whole in entries.items():
            with self._opened() as opened:
                opened.write(name, whole, None)
        self.look_again()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        vault = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
        folder = str(self.inventory / "halo_credentials")
        options = self.more.get("halo_integration_store_options") or {}
        with mock.patch.dict(os.environ, self.environment):
            place = Place(self.url, folder=folder, options=options, vault=lambda: vault)
            yield open_store(self.variables["halo_integration_store"], place)

    def look_again(self) -> None:
        """The store may have changed."""
        self._seen = None

    @property
    def stored(self) -> dict[str, Variables]:
        """The entries in the store by the names of their bindings: all where it is quick, else the declared ones."""
        if not self._in_files:
            if self._seen is None:
                with self._opened() as store:
                    entries = {one["name"]: store.read(one["name"]) for one in self.bindings}
                self._seen = {name: whole for name, (whole, version) in entries.items() if version is not None}
            return self._seen
        found = {}
        for _path, content in self._files():
            # one that was cut off has not all of it
            if {"tenant", "binding"} <= content.keys() and content["tenant"].split()[0] == self.url:
                found[content["binding"]] = entry(content)
        return found

    def entry(self, name: str = NAME) -> Variables:
        return self.stored[name]

    def secret(self, name: str = NAME, label: str = "current") -> str:
        return str(self.entry(name)[label]["client_secret"])

    def rewrite(self, change: Callable[[Variables], Any], name: str = NAME) -> None:
        """Change a stored entry by hand."""
        for path, content in self._files():
            if (content["tenant"], content["binding"]) == (self.url, name):
                change(content)
                path.write_text(yaml.safe_dump(content, sort_keys=False))
                return
        raise AssertionError("nothing is stored")

    def learn(self) -> None:
        """Note every secret that is stored."""
        found = map(entry, (content for _path, content in self._files())) if self._in_files else self.stored.values()
        for labels in found:
            self.known.update(labels[label]["client_secret"] for label in LABELS if labels[label])

    def lose_store(self) -> None:
        for path, content in self._files():
            if content["tenant"].split()[0] == self.url:
                path.unlink()

    def _files(self) -> list[tuple[Path, Variables]]:
        """The files in the store with what they hold; where tenants share an inventory, those of this one."""
        found = []
        for path in self.inventory.glob("halo_credentials/*/*.yml"):
            # a fleet has many, and each of its tenants asks
            content = _parsed(path, path.stat().st_mtime_ns)
            if not self.fleet.shared or content["tenant"].split()[0] == self.url:
                found.append((path, copy.deepcopy(content)))
        return found

    def credential(self, name: str = NAME, environment: Mapping[str, str] | None = None, **options: Any) -> Variables:
        """What the lookup gives."""
        (found,) = in_process.lookup(
            "credential",
            [name],
            self.variables,
            self.inventory,
            environment=environment or self.environment,
            vault_password=VAULT_PASSWORD,
            **options,
        )
        made: Variables = found
        return made

    def delivered(self, name: str = NAME) -> Variables | None:
        """What role_files/deliver.yml was last given for a binding."""
        path = self.inventory / "delivered" / f"{self.name} {name}.json"
        if not path.exists():
            return None
        found: Variables = json.loads(path.read_text())
        path.unlink()
        return found

    def proven(self, name: str = NAME, agent: str | None = None) -> bool:
        """Whether the current secret is the one in force, and logs in as the agent of the binding."""
        current = self.entry(name)["current"]
        agent = agent or next(one["agent"]["name"] for one in self.bindings if one["name"] == name)
        kind = next((one.get("kind") for one in self.bindings if one["name"] == name), None)
        client_id = (
            self.state["control"]["client_id_halointegrator"]
            if kind == "integrator"
            else self.application(name)["clientId"]
        )
        assert current["client_id"] == client_id
        return bool(self.logs_in(client_id, current["client_secret"]) == self.agent(agent)["id"])

    @property
    def frozen(self) -> Any:
        """Halo and the store, to compare."""
        files = self.inventory.glob("halo_credentials*/**/*")
        return self.state, {path: path.read_bytes() if path.is_file() else None for path in files}


@functools.lru_cache(maxsize=5000)
def _parsed(path: Path, _changed: int) -> Variables:
    content = path.read_bytes()
    if VaultLib.is_encrypted(content):
        content = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))]).decrypt(content)
    found: Variables = yaml.safe_load(content) or {}
    return found


def _is(name: str, other: str) -> bool:
    return unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)


def _send(url: str, data: bytes, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)


class Fleet:
    """Tenants that no test has used yet, each with a folder of its own unless they share an inventory."""

    def __init__(self, sandbox: Sandbox, folder: Path, *, shared: bool = False, forks: int = 8) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.home = folder / "home"
        self.inventory = folder / "inventory"
        self.shared = shared
        self.forks = forks
        self._names: Iterator[str] = iter(sandbox.tenants)
        self._numbers = itertools.count(1)
        for path in (self.home / "tmp", self.home / "work", self.inventory / "delivered"):
            path.mkdir(parents=True)
        (folder / "vault").write_text(VAULT_PASSWORD)

    def tenant(self) -> Tenant:
        name = next(self._names)
        return Tenant(self, name, self.inventory if self.shared else self.folder / name)

    def take_every(self, step: int, first: int) -> None:
        """From now on give out each n-th of the tenants that are left: the others are another process's."""
        self._names = itertools.islice(self._names, first, None, step)

    # In this process

    def run(self, tenant: Tenant, go: Go = REAL, *, beside_another: bool = False) -> Outcome:
        """Run the task over a tenant. In check mode nothing may change; no secret may be where it does not belong."""
        before = tenant.frozen if go.check else None
        if go.check:
            self.sandbox.settings(tenant.name, read_only=True)
        since = len(self.sandbox.requests(tenant.name))
        args = dict(go.options)
        if "acknowledge" not in args:
            args.setdefault("bindings", tenant.bindings)
        result = in_process.task(
            "halo_binding",
            args,
            tenant.variables,
            tenant.inventory,
            check_mode=go.check,
            environment={**tenant.environment, **go.environment},
            vault_password=go.vault,
        )
        outcome = Outcome(result, self.sandbox.requests(tenant.name)[since:])
        tenant.look_again()
        if go.check:
            self.sandbox.settings(tenant.name, read_only=False)
            assert not outcome.writes, outcome.writes
            assert tenant.frozen == before, "check mode has changed something"
            assert [one for one in result.get("pending_actions", []) if one["action"] != "own_login"] == []
        tenant.learn()
        # inventories of plays hold the secrets of logins
        files = {} if self.shared else _outside(tenant.inventory)
        leaked = leaks([tenant], {"the result": json.dumps(result, default=str).encode(), **files})
        assert not leaked, leaked
        assert "Unexpected" not in outcome.message, outcome.message
        assert beside_another or not held(tenant.inventory), "a run that is over still holds its lock"
        return outcome

    def drive(self, case: Case) -> Tenant:
        """Run a case to its end, over the tenant that is returned."""
        tenant = self.tenant()
        steps = case(tenant)
        with contextlib.suppress(StopIteration):
            go = next(steps)
            while True:
                go = steps.send(self.run(tenant, go))
        return tenant

    # As plays

    def start(self, tenants: Iterable[Tenant], play: Play) -> Running:
        """Start a playbook in a process group of its own."""
        return Running(self, list(tenants), play)

    def play(self, tenants: Iterable[Tenant], play: Play) -> Watched:
        return self.start(tenants, play).finish()

    def command(self, tenants: Iterable[Tenant], play: Play) -> tuple[list[str], dict[str, str]]:
        """The command and the environment of a run; it has an inventory file of its own, in the common folder."""
        number = next(self._numbers)
        hosts = dict(play.hosts) or {
            tenant.name: {**tenant.variables, "halo_integration_bindings": tenant.bindings} for tenant in tenants
        }
        inventory = self.inventory / f"{number}.yml"
        inventory.write_text(json.dumps({"halo_tenants": {"hosts": hosts}}))
        if isinstance(play.playbook, str):
            playbook = f"haloops.halo.{play.playbook}"
        else:
            playbook = str(self.inventory / f"{number}.play.yml")
            Path(playbook).write_text(json.dumps(play.playbook))
        environment = {
            "PATH": f"{PLAYBOOK.parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "ANSIBLE_HOME": str(self.home / ".ansible"),
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "role_watch",
            "ANSIBLE_FORKS": str(self.forks),
            "ANSIBLE_NOCOLOR": "1",
            # the user's own tasks get secrets, which would else lie in a file while a module runs
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "PYTHONDONTWRITEBYTECODE": "1",
            "ROLE_WATCH": str(self.inventory / f"{number}.watch"),
            **play.environment,
        }
        where = play.inventory or str(inventory)
        command = [str(PLAYBOOK), "-i", where, playbook, "--vault-password-file", str(self.folder / "vault")]
        return [*command, *play.arguments], environment


def leaks(tenants: Iterable[Tenant], texts: Mapping[str, bytes]) -> list[str]:
    """The names of those texts that hold a secret, as it is, URL-encoded or in base64."""
    forms = [form for tenant in tenants for secret in tenant.known for form in _forms(secret)]
    assert forms
    return [name for name, text in texts.items() if any(form in text for form in forms)]


def _outside(folder: Path) -> dict[str, bytes]:
    """All files that runs have left outside of the store."""
    files = (path for path in folder.rglob("*") if not any(part.startswith("halo_credentials") for part in path.parts))
    return {str(path): path.read_bytes() for path in files if path.is_file()}


def held(folder: Path) -> list[Path]:
    """The locks below a folder that somebody has."""
    found = []
    for path in folder.rglob(".*.lock"):
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(path)
    return found


@functools.cache
def _forms(secret: str) -> set[bytes]:
    raw = secret.encode()
    # within a longer text it begins at any of three places; the characters at the edges depend on the neighbours
    coded = {base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] : -4] for shift in range(3)}
    return {raw, urllib.parse.quote(secret, safe="").encode(), urllib.parse.quote_plus(secret).encode(), *coded}


@dataclasses.dataclass(frozen=True)
class Play:
    """One ansible-playbook.

    :param playbook: the name of one of the collection's, or plays
    :param hosts: of the inventory, with their variables; the tenants themselves unless given
    :param inventory: what stands after ``-i``, instead of the file with the tenants
    """

    playbook: str | list[Variables] = "provision"
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hosts: Mapping[str, Variables] = dataclasses.field(default_factory=dict)
    inventory: str | None = None


@dataclasses.dataclass(frozen=True)
class Host:
    """What a play did on one host: ``tasks`` holds name, outcome and result, in their order."""

    stats: Mapping[str, int]
    tasks: list[Variables]
    requests: list[Variables]

    @property
    def failed(self) -> bool:
        return bool(self.stats.get("failures") or self.stats.get("unreachable"))

    @property
    def message(self) -> str:
        """What the failed tasks said, and what was noted for the end of the run."""
        said = [task["result"].get("msg") for task in self.tasks if task["outcome"] == "failed"]
        noted = [task["result"].get("failure") for task in self.tasks]
        return "\n".join(str(text) for text in (*noted, *said) if text)

    @property
    def names(self) -> list[str]:
        """The tasks that were not skipped."""
        return [task["task"] for task in self.tasks if task["outcome"] != "skipped"]

    @property
    def bindings(self) -> Variables:
        """The last result of the engine."""
        found: list[Variables] = [task["result"] for task in self.tasks if "pending_actions" in task["result"]]
        made: Variables = found[-1]["bindings"]
        return made

    writes = Outcome.writes


@dataclasses.dataclass(frozen=True)
class Watched:
    """A play that is over."""

    status: int
    stdout: str
    hosts: Mapping[str, Host]
    custom: Variables

    def __getitem__(self, host: Tenant | str) -> Host:
        return self.hosts[host if isinstance(host, str) else host.name]


class Running:
    """A run that has been started."""

    def __init__(self, fleet: Fleet, tenants: list[Tenant], play: Play) -> None:
        self._fleet = fleet
        self._tenants = tenants
        for tenant in tenants:
            tenant.learn()
        self._from = {tenant.name: len(fleet.sandbox.requests(tenant.name)) for tenant in tenants}
        command, environment = fleet.command(tenants, play)
        self._watch = Path(environment["ROLE_WATCH"])
        self._output = self._watch.with_suffix(".out")
        # a mark by which all processes of the run are found, whatever group they are in
        self._mark = f"ROLE_RUN={self._watch}"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=fleet.home / "work",
                env={**environment, "ROLE_RUN": str(self._watch)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def lines(self) -> list[Variables]:
        """What the callback has written so far."""
        if not self._watch.exists():
            return []
        return [json.loads(line) for line in self._watch.read_text().splitlines(True) if line.endswith("\n")]

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it did not come to that: {self._output.read_text()[-3000:]}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to all processes of the run; newer ansible-core gives each worker a group of its own."""
        for pid in [self.process.pid, *processes.running(self._mark)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def all_over(self) -> None:
        """Wait for what outlives a killed run."""
        self.process.wait()
        processes.wait(self._mark)

    def finish(self, seconds: float = 300) -> Watched:
        """Wait for the end of the run, look for leaks, and return what became of each host."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        output = self._output.read_text()
        fleet = self._fleet
        for tenant in self._tenants:
            tenant.learn()
        leaked = leaks(self._tenants, {"the output": output.encode(), **_outside(fleet.home)})
        assert not leaked, leaked
        assert "Traceback" not in output, output
        lines = self.lines
        assert any("stats" in line for line in lines) or self.process.returncode < 0, output
        names = {line["host"] for line in lines if "host" in line} | set(self._from)
        hosts = {
            name: Host(
                next((line["stats"] for line in lines if line.get("host") == name and "stats" in line), {}),
                [line for line in lines if line.get("host") == name and "outcome" in line],
                fleet.sandbox.requests(name)[self._from[name] :] if name in self._from else [],
            )
            for name in names
        }
        custom = {name: value for line in lines for name, value in line.get("custom", {}).items()}
        return Watched(self.process.returncode, output, hosts, custom)
