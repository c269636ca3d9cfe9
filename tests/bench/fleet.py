# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of sandbox tenants with its inventory and its store, and playbook runs over it."""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shutil
import sys
import typing as t
from pathlib import Path
from unittest import mock

import measure
import yaml
from halo_sandbox.testing import Sandbox

HERE = Path(__file__).resolve().parent
COLLECTIONS = os.environ.get("ANSIBLE_COLLECTIONS_PATH") or str(HERE.parent.parent / ".build/link")
BINDING = "Ansible integration"
AGENT = "api-ansible"
SCOPES = ["read:tickets", "edit:tickets", "read:customers"]
RECAP = re.compile(r"^(\S+)\s*: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=/)\d+", re.I)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measured playbook run.

    :param requests: how many it made for each tenant, by kind
    :param log: those for the first tenant in order, with ``ID`` for every id
    """

    cost: measure.Cost
    tenants: int
    forks: int
    requests: dict[str, float]
    log: list[str]


class WrongResult(Exception):
    """A playbook run did not do what it was measured for."""


class Fleet:
    """Tenants ``1..N`` of one sandbox.

    :param folder: an empty one; inventories, store, home and output go there
    :param before: a checkout of the collection that this one is compared with
    """

    def __init__(self, sandbox: Sandbox, folder: Path, before: Path | None = None) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.store = folder / "halo_credentials"
        self._before = folder / "before"
        self.has_before = before is not None
        if before:
            (self._before / "ansible_collections/haloops").mkdir(parents=True)
            (self._before / "ansible_collections/haloops/halo").symlink_to(before.resolve())
        self._password = folder / "vault-password"
        self._password.write_text(secrets.token_urlsafe())
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        # an empty one, so that no other is found
        (folder / "ansible.cfg").touch()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "HALO_"))}
        self._env = {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home/.ansible"),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
        }

    def forget(self) -> None:
        """Back to the seed: new tenants, an empty store."""
        self.sandbox.reset()
        shutil.rmtree(self.store, ignore_errors=True)

    def fill(self, tenants: int, store: str, variables: t.Mapping[str, t.Any], env: t.Mapping[str, str]) -> None:
        """Copy the entries of the first so many tenants into another store, which has nothing of theirs.

        :param variables: of a host, that name the store
        """
        from ansible.parsing.vault import VaultLib, VaultSecret
        from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store

        vault = VaultLib([("default", VaultSecret(self._password.read_bytes()))])
        with mock.patch.dict(os.environ, env):
            for row in list(self.sandbox.tenants.values())[:tenants]:

                def opened(name: str, folder: Path, row: dict[str, str] = row, **options: t.Any) -> t.Any:
                    return open_store(name, Place(row["url"], row["name"], str(folder), options, lambda: vault))

                whole, _version = opened("vault_file", self.store).read(BINDING)
                folder = self.folder / variables.get("halo_integration_store_dir", "")
                opened(store, folder, **variables["halo_integration_store_options"]).write(BINDING, whole, None)

    def inventory(self, tenants: int, agent: str = AGENT, before: bool = False) -> Path:
        """The inventory of the first so many tenants, or of the last for what is compared with; bound to this agent."""
        path = self.folder / f"{tenants}-{agent}{'-before' if before else ''}.yml"
        if not path.exists():
            rows = list(self.sandbox.tenants.values())
            rows = rows[-tenants:] if before else rows[:tenants]
            path.write_text(
                yaml.safe_dump(
                    {
                        "halo_tenants": {
                            "hosts": {row["name"]: self._variables(row) for row in rows},
                            "vars": {
                                "halo_integration_bindings": [
                                    {
                                        "name": BINDING,
                                        "agent": {
                                            "name": agent,
                                            "email": f"{agent}@example.com",
                                            "roles": ["API Integration"],
                                            "teams": ["1st Line Support"],
                                        },
                                        "application": {"scopes": SCOPES},
                                    }
                                ]
                            },
                        }
                    }
                )
            )
        return path

    def _variables(self, row: dict[str, str]) -> dict[str, str]:
        if COLLECTIONS not in sys.path:
            sys.path.insert(0, COLLECTIONS)
        from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place
        from ansible_collections.haloops.halo.plugins.plugin_utils.stores.file import Store

        entry = Store(Place(row["url"], row["name"], str(self.store))).path(BINDING)
        return {
            "halo_url": row["url"],
            "halo_tenant": row["name"],
            "halo_client_id": row["client_id"],
            "halo_client_secret": row["client_secret"],
            # for the playbook that does the same with uri
            "bench_entry": entry,
        }

    def play(
        self,
        playbook: str,
        *,
        tenants: int,
        changes: bool | None,
        agent: str = AGENT,
        before: bool = False,
        forks: int = 10,
        args: t.Sequence[str] = (),
        env: t.Mapping[str, str] | None = None,
    ) -> Sample:
        """Run a playbook over the first so many tenants and measure it.

        :param changes: whether the run must change every tenant, or none; None where it does not matter
        :raises WrongResult: a tenant failed or is missing, or something else was changed
        """
        command = [
            sys.executable, str(Path(sys.executable).with_name("ansible-playbook")), playbook,
            "-i", str(self.inventory(tenants, agent, before)), "--forks", str(forks),
            "--vault-password-file", str(self._password), *args,
        ]  # fmt: skip
        self.sandbox.clear()
        log = self.folder / "output.txt"
        with open(log, "w", encoding="utf-8") as file:
            own = {"ANSIBLE_COLLECTIONS_PATH": str(self._before)} if before else {}
            cost = measure.run(command, output=file, env={**self._env, **own, **(env or {})}, cwd=str(self.folder))
        text = log.read_text(encoding="utf-8")
        hosts = [(int(changed) > 0, lost + failed == "00") for _host, changed, lost, failed in RECAP.findall(text)]
        right = sum(good and changes in (None, changed) for changed, good in hosts)
        if cost.status or len(hosts) != tenants or right != tenants:
            raise WrongResult(
                f"{playbook}: exit status {cost.status}; {right} of {tenants} tenants as expected "
                f"(changes: {changes}). The output ends so:\n{text[-3000:]}"
            )
        counts = list(self.sandbox.control("GET", "counts")["tenants"].values())
        kinds = ("total", "token", "GET", "POST", "DELETE")
        requests = {kind: sum(count[kind] for count in counts) / tenants for kind in kinds}
        return Sample(cost, tenants, forks, requests, self._log())

    def _log(self) -> list[str]:
        lines = []
        for entry in self.sandbox.requests(next(iter(self.sandbox.tenants))):
            query = f"?{entry['query']}" if entry["query"] else ""
            lines.append(f"{entry['method']} {ID.sub('ID', entry['path'])}{query}")
        return lines
