# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of all playbooks over tenants of which most have a fault, with secrets that are easy to find again, and all
places where a run can show or leave something."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ansible_runner
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from halo_sandbox.testing import Sandbox
from helpers import processes
from helpers.canaries import left

ROOT = Path(__file__).resolve().parent.parent.parent
PLAYBOOKS = ROOT / "playbooks"
HELPERS = ROOT / "tests" / "helpers"
FILES = Path(__file__).resolve().parent / "role_files"
NAME = "Tickets"
INTEGRATOR = "Halo Integrator"

# Each has a part that nothing escapes, and characters that everything does.
PASSWORD = "v4ult p@ss/Canary7Password+&=%\"'<\\§"
TOKEN = "~t0k/Canary7Token+&=%\"'<\\"
STORE_TOKEN = "b4o/Canary7StoreToken+&=%~"
NEW = "n3w w/Canary7New+&=%\"'<\\§"
ADOPTED = "ad0pt ed/Canary7Adopted+&=%\"'<\\§"
# What plays show on purpose, in every place.
PLANTED = "pl4nted-Canary7Planted"
CORE = re.compile(r"Canary7\w+")


def own(tenant: str) -> str:
    """The secret that a tenant's run logs in with."""
    return f"0wn {tenant}/Canary7Own{tenant.replace('-', '')}x+&=%\"'<\\§"


# Playbooks: the variables that each is given. One without a line here fails the test.
CASES: dict[str, dict[str, Any]] = {
    "preflight": {"halo_preflight_store_marker": "write"},
    "audit": {},
    "provision": {},
    "rotate": {},
    "store_move": {"halo_store_to": {"store": "command", "store_options": {"command": ["KEEPER", "KEPT"]}}},
    "decommission": {"halo_decommission_confirm": "COUNT"},
    # of one instance
    "self_test": {"halo_hosts": "ACME", "halo_self_test_confirm": "ADDRESS", "halo_self_test_reports": True},
    "report_merge": {"halo_report_parts": ["REPORTS/provision.json", "REPORTS/rotate.json"]},
}
# One playbook in another way.
ROLLBACK: dict[str, Any] = {"halo_integration_rotate": "rollback"}
NOT_HERE = {"controller_setup": "it speaks to Controller alone; tests/awx looks at what it shows and leaves"}
ORDER = ("preflight", "provision", "audit", "rotate", "rollback", "store_move", "self_test", "decommission")
ORDER += ("report_merge",)


# Faults: one tenant each

POST, LOGIN = {"method": "POST", "path": "^/api/application"}, {"method": "POST", "path": "token", "times": None}
FAULTS: dict[str, dict[str, Any]] = {
    "401": {**POST, "kind": "status", "status": 401, "body": {}, "times": 2},
    # and a template, for what Halo says is none
    "403": {**POST, "kind": "status", "status": 403, "body": {"Message": "No: EVALUATED"}},
    "500 with all that was sent, in other letters": {
        **POST,
        "kind": "echo",
        "status": 500,
        "edit": "swapped",
        "times": 3,
    },
    "400 with all that was sent": {**POST, "kind": "echo", "status": 400},
    "reset in the middle of the body": {**POST, "kind": "truncate_after"},
    "invalid JSON with all that was sent": {
        **POST,
        "kind": "echo",
        "status": 200,
        "times": 3,
        "body": '{"id": 1, "x": "SENT',
    },
    "a login refused with all that was sent": {**LOGIN, "kind": "echo", "status": 401, "edit": "upper"},
    "a page with all that was sent": {**LOGIN, "kind": "echo", "status": 400, "body": "<title>Not SENT</title>"},
}
GOOD = ("acme", "globex", "initech", "modules")
WAYS: dict[str, dict[str, Any]] = {
    "in-process": {"ansible_connection": "local"},
    "as-module": {"ansible_connection": "local", "halo_in_process": False},
    "elsewhere": {"ansible_connection": "elsewhere"},
}


# Places


class Vaulted(str):
    """What is encrypted in place."""


class _Dumper(yaml.SafeDumper):
    """Writes it with its tag."""


_Dumper.add_representer(Vaulted, lambda dumper, value: dumper.represent_scalar("!vault", str(value), style="|"))


def _application(name: str, agent: int, secret: str) -> dict[str, Any]:
    row = {"displayName": name, "loginas_agent_id": agent, "allowagents": True, "clientSecret": secret}
    return {**row, "scopes": [{"name": "all"}]}


def _binding(name: str) -> dict[str, Any]:
    return {"name": name, "agent": {"name": "api-tickets"}, "application": {"scopes": ["all"]}}


# What the collection makes as a client secret.
MADE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[\w-]{36}")


def made_secrets(texts: list[str]) -> set[str]:
    """The client secrets in what stores and deliveries hold."""
    return {found for text in texts for found in MADE.findall(text)}


class Scene:
    """A home for runs, and the tenants with their faults.

    :param settings: environment variables of all runs, beside those that let them leave as much as they can
    :param good: the tenants without a fault
    :param faults: one tenant for each
    :param ways: of execution of the modules
    :param variables: of all tenants
    """

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        settings: Mapping[str, str],
        *,
        good: Iterable[str] = GOOD,
        faults: Iterable[str] = tuple(FAULTS),
        ways: Iterable[str] = tuple(WAYS),
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.home = folder / "home"
        self.given = folder / "given"
        self.stores = folder / "stores"
        self.settings = dict(settings)
        self.ways = list(ways)
        self.more = variables
        self.printed: list[tuple[str, str]] = []
        self.processes: set[tuple[str, str]] = set()
        self.tenants = dict(zip([*good, *faults], sandbox.tenants, strict=False))
        self.hosts = {name: name for name in self.tenants.values()}
        for path in (*(self.home / name for name in ("tmp", "local", "remote", "work", "reports")), self.given):
            path.mkdir(parents=True)
        (self.stores / "delivered").mkdir(parents=True)
        (self.given / "tasks").symlink_to(FILES)
        (self.given / "vault").write_text(PASSWORD)
        self.inventory = self.given / "inventory.yml"
        self._prepare()

    # What there is

    def _prepare(self) -> None:
        self.sandbox.settings(token_prefix=TOKEN)
        vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])
        hosts: dict[str, Any] = {}
        login = {}
        for what, name in self.tenants.items():
            (row,) = self.sandbox.put_applications(name, _application("Own", 7, own(name)))
            login[what] = {
                "halo_url": self.sandbox.tenants[name]["url"],
                "halo_client_id": row["clientId"],
                "halo_client_secret": own(name),
                # decryption takes longer than the work
                "halo_integration_store": "vault_file" if what in GOOD else "file",
                **self.more,
            }
            # a name that shows where names of hosts get to
            host = PLANTED if what == "403" else name
            hosts[host] = {**login[what], "halo_integration_bindings": [_binding(NAME)]}
            if what in FAULTS:
                fault = json.dumps({"tenant": name, **FAULTS[what]}).replace("EVALUATED", self._template)
                self.sandbox.fault(**json.loads(fault))
        del hosts[self.tenants["modules"]]
        acme = hosts[self.tenants["acme"]]
        # its secret is in the environment
        self.environment = {"HALO_CLIENT_SECRET": own(self.tenants["acme"])}
        del acme["halo_client_secret"]
        acme["halo_integration_bindings"][0]["on_rotated"] = "tasks/deliver.yml"
        (row,) = self.sandbox.put_applications(self.tenants["acme"], _application("Adopted", 7, ADOPTED))
        adopted = {**_binding("Adopted"), "adopt": "proven", "adopt_secret": Vaulted(vault.encrypt(ADOPTED).decode())}
        adopted["agent"] = {"name": self._agent(self.tenants["acme"], 7)}
        acme["halo_integration_bindings"] += [adopted, _binding(PLANTED)]
        if "globex" in self.tenants:
            integrator = {"name": INTEGRATOR, "kind": "integrator", "agent": {"name": "api-integrator"}}
            hosts[self.tenants["globex"]]["halo_integration_bindings"].append({**integrator, "allow_hosted": True})
        # what this run logs in with itself gets a new secret, and an agent whose name Halo has from someone else
        itself = {**_binding("Own"), "adopt": "rotate", "allow_self": True}
        agent = {"id": 7, "name": f"api {self._template}", "isapiagent": True}
        self.sandbox.put_agents(self.tenants["initech"], agent)
        itself["agent"] = {"name": "api-own", "roles": ["Administrator"]}
        hosts[self.tenants["initech"]]["halo_integration_bindings"].append(itself)
        ways = {way: {**login["modules"], **WAYS[way], "new": NEW} for way in self.ways}
        variables = {
            "halo_retry_seconds": 1,
            "halo_timeout": 2,
            "halo_integration_store_dir": str(self.stores / "files"),
            "halo_integration_log_path": str(self.home / "trail"),
            "halo_test_folder": str(self.stores),
        }
        python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        whole = {
            "all": {"vars": python},
            "halo_tenants": {"hosts": hosts, "vars": variables},
            "ways": {"hosts": ways},
        }
        self.inventory.write_text(yaml.dump(whole, Dumper=_Dumper, sort_keys=False))

    @property
    def _template(self) -> str:
        """What leaves a file if Ansible evaluates it."""
        return f"{{{{ lookup('pipe', 'touch {self.home}/evaluated') }}}}"

    def _agent(self, tenant: str, number: int) -> str:
        found: str = next(row["name"] for row in self.sandbox.state(tenant)["agents"] if row["id"] == number)
        return found

    def variables(self, name: str) -> dict[str, Any]:
        """What a playbook is given."""
        base = "rotate" if name == "rollback" else name
        places = {
            "KEEPER": str(HELPERS / "keeper.sh"),
            "KEPT": str(self.stores / "kept"),
            "COUNT": str(len(self.tenants) - 1),
            "REPORTS": str(self.home / "reports"),
            "ACME": self.tenants["acme"],
            "ADDRESS": self.sandbox.tenants[self.tenants["acme"]]["url"],
        }
        text = json.dumps({**CASES[base], **(ROLLBACK if name == "rollback" else {})})
        for word, value in places.items():
            text = text.replace(word, value)
        return {"halo_report_path": str(self.home / "reports" / f"{name}.html"), **json.loads(text)}

    def plays(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Playbooks one after the other, and at the end what the host's variables hold by then."""
        found: list[dict[str, Any]] = []
        for name in names:
            playbook = "rotate" if name == "rollback" else name
            found.append({"ansible.builtin.import_playbook": f"haloops.halo.{playbook}", "vars": self.variables(name)})
        return found

    def whole(self, names: tuple[str, ...] = ORDER) -> list[dict[str, Any]]:
        """All there is."""
        return [*self.plays(names), self.modules(), self.planted(), self.hostvars()]

    def modules(self) -> dict[str, Any]:
        """A play of the modules, in each way of execution."""
        whole = self.ways == list(WAYS)
        application = {"name": "{{ inventory_hostname }}", "scopes": ["all"], "new_client_secret": "{{ new }}"}
        tasks: list[tuple[str, str, dict[str, Any]]] = [
            ("Make an agent", "halo_api_agent", {"name": "api-{{ inventory_hostname }}"}),
            ("Make it", "halo_application", {**application, "login_agent_id": 7}),
            ("Switch it", "halo_application", {**application, "login_agent": "api-{{ inventory_hostname }}"}),
            ("List them", "halo_application_info", {"include_system": True}),
            ("Log in wrongly", "halo_login_info", {"halo_client_secret": "{{ new }}", "require": True}),
            ("Misspell it", "halo_application", {"name": "x", "new_client_secrt": "{{ new }}"}),
        ]
        return {
            "hosts": "ways",
            "gather_facts": False,
            "tasks": [
                {"name": name, f"haloops.halo.{module}": args, "ignore_errors": True}
                for name, module, args in tasks
                if whole or name in ("Make it", "Misspell it")
            ],
        }

    def hostvars(self) -> dict[str, Any]:
        """A play that dumps what all hosts know at the end."""
        return {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {
                    "name": "Dump the variables",
                    "ansible.builtin.copy": {
                        "content": "{{ hostvars | dict2items | to_nice_json }}",
                        "dest": str(self.home / "hostvars"),
                    },
                    # it is the copy that is looked at
                    "no_log": True,
                }
            ],
        }

    def planted(self) -> dict[str, Any]:
        """A play that shows a secret where no playbook is to show anything; names that hold it do the rest."""
        places = [str(self.home / where / "planted") for where in ("tmp", "local", "remote")]
        tasks: list[dict[str, Any]] = [
            {"name": "Say it", "ansible.builtin.debug": {"msg": PLANTED}},
            {"name": "Keep it", "ansible.builtin.set_fact": {"planted": PLANTED, "cacheable": True}},
            {
                "name": "Leave it, and pass it on",
                "ansible.builtin.command": {"argv": ["sh", "-c", f"echo $PLANTED | tee {' '.join(places)}; sleep 0.2"]},
                "environment": {"PLANTED": PLANTED},
            },
        ]
        return {"hosts": f"localhost:not-{PLANTED}", "connection": "local", "gather_facts": False, "tasks": tasks}

    # Runs

    def env(self, **more: str) -> dict[str, str]:
        home = self.home
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "ANSIBLE_HOME": str(home / ".ansible"),
            "ANSIBLE_LOCAL_TEMP": str(home / "local"),
            "ANSIBLE_REMOTE_TEMP": str(home / "remote"),
            "ANSIBLE_LOG_PATH": str(home / "log"),
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(home / "facts"),
            "ANSIBLE_RETRY_FILES_ENABLED": "1",
            "ANSIBLE_RETRY_FILES_SAVE_PATH": str(home / "retry"),
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_CALLBACK_PLUGINS": str(HELPERS / "callback"),
            "ANSIBLE_CONNECTION_PLUGINS": str(HELPERS / "connection"),
            "ANSIBLE_CALLBACKS_ENABLED": "junit,ansible.builtin.tree,whole_results",
            "ANSIBLE_CALLBACK_TREE_DIR": str(home / "tree"),
            "JUNIT_OUTPUT_DIR": str(home / "junit"),
            "WHOLE_RESULTS": str(home / "dump"),
            "ANSIBLE_DISPLAY_TRACEBACK": "always",
            "ANSIBLE_FORKS": "4",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.given / "vault"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LEAK_RUN": str(home),
            **self.environment,
            **self.settings,
            **more,
        }

    def write(self, plays: list[dict[str, Any]]) -> Path:
        path = self.given / "site.yml"
        path.write_text(json.dumps(plays))
        return path

    def run(self, plays: list[dict[str, Any]], *arguments: str) -> int:
        """Run plays as from a shell; returns the exit status."""
        with self.started(plays, *arguments) as process:
            process.wait(120)
        return int(process.returncode)

    @contextlib.contextmanager
    def started(self, plays: list[dict[str, Any]], *arguments: str) -> Iterator[subprocess.Popen[str]]:
        command = ["ansible-playbook", "-i", str(self.inventory), str(self.write(plays)), "-vvvv", "--diff", *arguments]
        outputs = [(self.folder / name).open("w+", encoding="utf-8", errors="replace") for name in ("out", "err")]
        with self._watched(), outputs[0], outputs[1]:
            process = subprocess.Popen(
                command,
                cwd=self.home / "work",
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=outputs[0],
                stderr=outputs[1],
                start_new_session=True,
                text=True,
            )
            try:
                yield process
            finally:
                self.kill()
                process.wait()
                for name in ("out", "err"):
                    self.printed.append((f"std{name}", (self.folder / name).read_text(errors="replace")))

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until it is so."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.folder / "out").read_text()[-3000:]
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to all processes of the run."""
        for pid in processes.running(f"LEAK_RUN={self.home}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        processes.wait(f"LEAK_RUN={self.home}")

    def job(self, plays: list[dict[str, Any]]) -> str:
        """Run plays as Controller does, by ansible-runner; returns the status."""
        private = self.home / "job"
        for name in ("env", "project"):
            (private / name).mkdir(parents=True)
        (private / "env" / "envvars").write_text(json.dumps({**self.env(), "ANSIBLE_RUN_TAGS": "all"}))
        with self._watched():
            done = ansible_runner.run(
                private_data_dir=str(private),
                playbook=str(self.write(plays)),
                inventory=str(self.inventory),
                cmdline="-vvvv --diff",
                ident="17",
                quiet=True,
            )
        return str(done.status)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Look at the processes of the run again and again."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event) -> None:
        mark, foreign, until = f"LEAK_RUN={self.home}".encode(), set(), 0.0
        while not over.wait(0.02):
            if time.monotonic() > until:
                # what was someone else's may have become a process of the run
                foreign, until = set(), time.monotonic() + 0.3
            for number in os.listdir("/proc"):
                if not number.isdecimal() or number in foreign:
                    continue
                with contextlib.suppress(OSError):
                    environment = Path("/proc", number, "environ").read_bytes()
                    if mark not in environment:
                        foreign.add(number)
                        continue
                    line = Path("/proc", number, "cmdline").read_bytes()
                    self.processes.add(("environ", environment.decode("utf-8", "replace")))
                    self.processes.add(("cmdline", line.decode("utf-8", "replace")))

    # What it left

    def searched(self) -> list[tuple[str, str]]:
        """All places with their texts."""
        return [*self.printed, *sorted(self.processes), *left(self.home)]

    def secrets(self) -> dict[str, str]:
        """All canaries, and all secrets that were made, by what they are."""
        vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])
        texts = []
        for path in self.stores.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                texts.append((vault.decrypt(content) if VaultLib.is_encrypted(content) else content).decode())
        made = made_secrets(texts)
        return {
            "password": PASSWORD,
            "token": TOKEN,
            "store token": STORE_TOKEN,
            "adopted": ADOPTED,
            "new": NEW,
            **{f"own secret of {what}": own(name) for what, name in self.tenants.items()},
            **{f"made {number}": secret for number, secret in enumerate(sorted(made))},
        }
