# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job, shown on three tenants in the sandbox: provision, provision again, switch the login agent.

Everything is left in .build/demo: the inventory, the stored credentials, the report.
"""

from __future__ import annotations

import os
import pathlib
import secrets
import shutil
import subprocess
import sys

import yaml
from halo_sandbox.testing import Sandbox

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".build" / "demo"
REPORT = FOLDER / "report.html"

INVENTORY = """\
halo_tenants:
  hosts:
{hosts}  vars:
    halo_integration_bindings:
      - name: Ansible integration
        agent:
          name: {agent}
          email: {agent}@example.com
          roles: [API Integration]
          teams: [1st Line Support]
        application:
          scopes: [read:tickets, edit:tickets]
        previous_agent: disable
"""

HOST = """\
    {name}:
      halo_url: {url}
      halo_client_id: {client_id}
      halo_client_secret: {client_secret}
"""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def write_inventory(sandbox: Sandbox, agent: str) -> None:
    hosts = "".join(HOST.format(**tenant) for tenant in sandbox.tenants.values())
    (FOLDER / "inventory.yml").write_text(INVENTORY.format(hosts=hosts, agent=agent), encoding="utf-8")


def provision() -> None:
    command = ["ansible-playbook", "-i", "inventory.yml", "--vault-password-file", "vault_password"]
    command += ["haloops.halo.provision", "-e", f"halo_report_path={REPORT}"]
    print("$ " + " ".join(command), flush=True)
    subprocess.run(command, cwd=FOLDER, env={**os.environ, "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false"}, check=True)


def counts(sandbox: Sandbox, method: str) -> int:
    return sum(tenant[method] for tenant in sandbox.control("GET", "/counts")["tenants"].values())


def current(tenant: dict[str, str]) -> dict[str, str]:
    """The current credentials of a tenant's binding, read as a user would: ansible-vault view."""
    for path in sorted((FOLDER / "halo_credentials").glob("*/*.yml")):
        command = ["ansible-vault", "view", "--vault-password-file", str(FOLDER / "vault_password"), str(path)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        entry = yaml.safe_load(text)
        if entry["tenant"] == tenant["url"]:
            return dict(entry["current"])
    raise SystemExit(f"No credentials are stored for {tenant['url']}.")


def proven(sandbox: Sandbox, name: str, credentials: dict[str, str]) -> bool:
    asked = {"tenant": name, **{key: credentials[key] for key in ("client_id", "client_secret")}}
    return bool(sandbox.control("POST", "/check", asked)["valid"])


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "vault_password").write_text(secrets.token_urlsafe(24), encoding="utf-8")
    (FOLDER / "vault_password").chmod(0o600)
    with Sandbox(tenants=3, data=FOLDER / "sandbox") as sandbox:
        say("1. Three tenants are provisioned: an API-only agent, an application that logs in as it, its secret.")
        write_inventory(sandbox, "api-ansible")
        provision()
        first = {name: current(tenant) for name, tenant in sandbox.tenants.items()}

        say("2. Once more: nothing changes, and nothing is written to Halo.")
        sandbox.control("DELETE", "/requests")
        provision()
        writes = counts(sandbox, "POST") + counts(sandbox, "DELETE")
        reads = counts(sandbox, "total")
        if writes:
            raise SystemExit(f"The second run wrote to Halo {writes} times.")

        say("3. The inventory names another login agent: new secrets are made, stored, and proven to log in.")
        write_inventory(sandbox, "api-tickets")
        provision()
        second = {name: current(tenant) for name, tenant in sandbox.tenants.items()}
        for name in sandbox.tenants:
            if proven(sandbox, name, first[name]) or not proven(sandbox, name, second[name]):
                raise SystemExit(f"{name}: the stored secret is not the one in force.")

    say("Done.")
    print(f"Tenants:      {', '.join(sandbox.tenants)}")
    print("Each has:     the API-only agent api-tickets, and the application Ansible integration that logs in as it")
    print(f"Second run:   {writes} writes, {reads} requests in all")
    print("Third run:    the secrets of all tenants were replaced; the old ones no longer log in, the new ones do")
    print(f"Report:       {REPORT.relative_to(ROOT)}")
    print(f"Credentials:  {(FOLDER / 'halo_credentials').relative_to(ROOT)}, encrypted; to read one:")
    print("              .venv/bin/ansible-vault view --vault-password-file .build/demo/vault_password FILE")


if __name__ == "__main__":
    main()
