# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job, shown on three tenants in the sandbox: provision, provision again, switch the login agent, find drift,
go on when one tenant fails and try that one again, and finish what a killed run began.

Everything is left in .build/demo: the inventory, the stored credentials, the report.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import time
import typing as t

import yaml
from halo_sandbox.testing import Sandbox

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".build" / "demo"
REPORT = FOLDER / "report.html"
BINDING = "Ticket integration"

INVENTORY = """\
halo_tenants:
  hosts:
{hosts}  vars:
    halo_timeout: 5
    halo_integration_bindings:
      - name: {binding}
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


def must(truth: bool, otherwise: str) -> None:
    if not truth:
        raise SystemExit(f"The demonstration failed: {otherwise}")


class Demo:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.agent = "api-ansible"

    def write_inventory(self, **wrong: str) -> None:
        """The inventory; ``wrong`` gives a tenant another client secret than it has."""
        hosts = "".join(
            HOST.format(**{**tenant, "client_secret": wrong.get(name, tenant["client_secret"])})
            for name, tenant in self.sandbox.tenants.items()
        )
        text = INVENTORY.format(hosts=hosts, agent=self.agent, binding=BINDING)
        (FOLDER / "inventory.yml").write_text(text, encoding="utf-8")

    def command(self, playbook: str, *arguments: str) -> list[str]:
        command = ["ansible-playbook", "-i", "inventory.yml", "--vault-password-file", "vault_password"]
        command += [f"haloops.halo.{playbook}", "-e", f"halo_report_path={REPORT.relative_to(FOLDER)}", *arguments]
        print("$ " + " ".join(command), flush=True)
        return command

    def play(self, playbook: str = "provision", *arguments: str, fails: bool = False) -> None:
        done = subprocess.run(self.command(playbook, *arguments), cwd=FOLDER, check=False)
        must(bool(done.returncode) == fails, f"{playbook} ended with status {done.returncode}.")

    def writes(self) -> int:
        tenants = self.sandbox.control("GET", "counts")["tenants"].values()
        return sum(tenant[method] for tenant in tenants for method in ("POST", "DELETE"))

    def stored(self) -> dict[str, dict[str, t.Any]]:
        """What the store holds of each tenant, read as a user would: ansible-vault view."""
        found = {}
        for path in sorted((FOLDER / "halo_credentials").glob("*/*.yml")):
            command = ["ansible-vault", "view", "--vault-password-file", str(FOLDER / "vault_password"), str(path)]
            entry = yaml.safe_load(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found.update({name: entry for name, one in self.sandbox.tenants.items() if one["url"] in entry["tenant"]})
        return found

    def current(self) -> dict[str, dict[str, str]]:
        return {name: entry["current"] for name, entry in self.stored().items()}

    def logs_in(self, name: str, credentials: dict[str, str]) -> str | None:
        """The name of the agent that these log in as, None where Halo refuses them."""
        found = self.sandbox.check(name, credentials["client_id"], credentials["client_secret"])["agent_id"]
        agents = self.sandbox.state(name)["agents"]
        return next((agent["name"] for agent in agents if agent["id"] == found), None)

    def replaced(self, before: dict[str, dict[str, str]]) -> None:
        """Of each tenant the old secret is dead and the new one logs in."""
        for name, new in self.current().items():
            must(self.logs_in(name, new) == self.agent, f"{name}: the stored secret does not log in.")
            must(not self.logs_in(name, before[name]), f"{name}: the secret before still logs in.")
            print(f"{name}: the secret before is refused, the new one logs in as {self.agent}.", flush=True)

    def kill(self) -> None:
        """Begin a run, and end it with SIGKILL while Halo's answer to a new secret is on its way."""
        victim = next(iter(self.sandbox.tenants))
        self.sandbox.fault("delay_after", tenant=victim, method="POST", path="/application", seconds=60)
        run = subprocess.Popen(self.command("provision"), cwd=FOLDER, start_new_session=True)
        end = time.monotonic() + 60
        while not any(fault["hits"] for fault in self.sandbox.faults()):
            must(time.monotonic() < end and run.poll() is None, "the run that is to be killed did not come so far.")
            time.sleep(0.05)
        # the other tenants are to be done by then
        time.sleep(2)
        for pid in _session(run.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait()
        self.sandbox.control("DELETE", "faults")
        print("\nKilled.", flush=True)
        must(self.stored()[victim]["pending"] is not None, f"{victim}: no secret was pending when the run was killed.")


def _session(leader: int) -> list[int]:
    """The processes of a session: ansible-core gives its workers process groups of their own."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
    found = [leader]
    for one in found:
        found += [pid for pid, parent in parents.items() if parent == one]
    return found


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "vault_password").write_text(secrets.token_urlsafe(24), encoding="utf-8")
    (FOLDER / "vault_password").chmod(0o600)
    with Sandbox(tenants=3, data=FOLDER / "sandbox") as sandbox:
        demo = Demo(sandbox)
        first, second, third = sandbox.tenants

        say("1. Three tenants are provisioned: an API-only agent, an application that logs in as it, its secret.")
        demo.write_inventory()
        demo.play()
        made = demo.current()
        must(len(made) == 3, "not every tenant has stored credentials.")

        say("2. Once more: nothing changes, and nothing is written to Halo.")
        sandbox.control("DELETE", "requests")
        demo.play()
        must(demo.writes() == 0, "the second run wrote to Halo.")

        say("3. The inventory names another login agent: new secrets are made, stored, and proven to log in.")
        demo.agent = "api-tickets"
        demo.write_inventory()
        demo.play()
        demo.replaced(made)

        say(f"4. Someone disables the agent of {first}, and lets the application of {third} log in as a human agent.")
        print("The audit says so and changes nothing; provision mends it.", flush=True)
        agent = next(one for one in sandbox.state(first)["agents"] if one["name"] == demo.agent)
        sandbox.put_agents(first, {"id": agent["id"], "isdisabled": True})
        human = next(one for one in sandbox.state(third)["agents"] if one["name"] == "Bianca Rossi")
        application = next(one for one in sandbox.state(third)["applications"] if one["displayName"] == BINDING)
        sandbox.put_applications(third, {"id": application["id"], "loginas_agent_id": human["id"]})
        sandbox.control("DELETE", "requests")
        demo.play("audit")
        must(demo.writes() == 0, "the audit wrote to Halo.")
        demo.play()

        say(f"5. {second} refuses the login. The others are done, and the run says which failed and why.")
        demo.write_inventory(**{second: "wrong"})
        demo.play(fails=True)
        print(f"\nWith the right secret in the inventory, {second} alone is tried again.", flush=True)
        demo.write_inventory()
        demo.play("provision", "--limit", f"@{REPORT.with_suffix('.retry').relative_to(FOLDER)}")

        say(f"6. A run is killed while a new secret for {first} is on its way to Halo. The next run finishes it.")
        before = demo.current()
        demo.agent = "api-successor"
        demo.write_inventory()
        demo.kill()
        demo.play()
        demo.replaced(before)
        attempts = {name: entry["attempt"] for name, entry in demo.stored().items()}
        must(attempts == {first: 3, second: 3, third: 4}, f"a secret was made twice for one cause: {attempts}.")

    say("Done.")
    print(f"Tenants:      {first}, {second}, {third}")
    print(f"Each has:     the API-only agent {demo.agent}, and the application {BINDING} that logs in as it")
    print("Secrets:      a new one with each change of the login agent; only the last one logs in")
    print(f"Report:       {REPORT.relative_to(ROOT)}")
    print(f"Credentials:  {(FOLDER / 'halo_credentials').relative_to(ROOT)}, encrypted; to read one:")
    print("              .venv/bin/ansible-vault view --vault-password-file .build/demo/vault_password FILE")


if __name__ == "__main__":
    main()
