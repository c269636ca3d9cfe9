# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guide to the stores gives to copy does what it says. Its other keys are in test_conformance.py."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.haloops.halo.plugins.module_utils import client, rotation, run
from halo_sandbox.testing import Sandbox
from helpers import guide
from helpers.store_kits import Servers, bao
from helpers.store_servers import AWS_KEYS
from role_runner import NAME, ROTATE, Fleet, Play, Tenant


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as name, Sandbox(tenants=8) as sandbox:
        yield Fleet(sandbox, Path(name))


@pytest.fixture
def tenant(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    for module in (client, run):
        monkeypatch.setattr(module, "SETTLE", (0.02, 0.05, 0.1))
    monkeypatch.setattr(rotation, "TEST_PAUSE", 0.02)
    for variable in [name for name in os.environ if name.startswith(("VAULT_", "AWS_", "BAO_"))]:
        monkeypatch.delenv(variable)
    made = fleet.tenant()
    made.bind()
    return made


def follow(tenant: Tenant, name: str, environment: Mapping[str, str] | None = None) -> None:
    """Provision with the variables of the guide, and again, when there is nothing left to do."""
    variables = yaml.safe_load(guide.block(f"# {name}\n"))
    if name == "a laptop":
        tenant.more |= variables
    else:
        options = variables["halo_integration_store_options"]
        tenant.move(variables["halo_integration_store"], options, environment or {})
    outcome = tenant.fleet.run(tenant)
    assert not outcome.failed, outcome.message
    assert outcome[NAME]["reason"] == "created"
    assert tenant.proven()
    assert tenant.fleet.run(tenant).quiet
    assert tenant.credential()["client_secret"] == tenant.secret()


def sh(script: str, folder: Path) -> str:
    """What a command of the guide prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(folder), "PATH": path}
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_laptop_its_backup_and_what_was_rotated_since(tenant: Tenant) -> None:
    follow(tenant, "a laptop")
    assert (tenant.inventory / "halo_credentials").is_dir()
    sh(guide.block("cp -a"), tenant.inventory)
    first = tenant.secret()
    tenant.lose_store()
    assert tenant.fleet.run(tenant).failed
    sh(guide.block("rm -rf halo_credentials"), tenant.inventory)
    assert tenant.fleet.run(tenant).quiet
    # older than the last rotation
    assert tenant.fleet.run(tenant, ROTATE)[NAME]["rotated"]
    sh(guide.block("rm -rf halo_credentials"), tenant.inventory)
    assert tenant.secret() == first
    assert not tenant.proven()
    outcome = tenant.fleet.run(tenant)
    assert (outcome[NAME]["rotated"], outcome[NAME]["reason"]) == (True, "invalid")
    assert tenant.proven()


def test_a_team(tenant: Tenant, servers: Servers, folder: Path) -> None:
    environment = {"VAULT_ADDR": servers.bao.url, "HOME": str(folder)}
    sh(f"VAULT_ADDR={servers.bao.url} bao login -no-print root", folder)
    follow(tenant, "a team", environment)


def test_awx(tenant: Tenant, servers: Servers) -> None:
    def ask(method: str, path: str, body: Any = None) -> Any:
        return bao(servers.bao, method, path, body)

    if "approle/" not in ask("GET", "sys/auth")["data"]:
        ask("POST", "sys/auth/approle", {"type": "approle"})
    ask("PUT", "sys/policies/acl/awx", {"policy": guide.block("# halo.hcl")})
    ask("POST", "auth/approle/role/awx", {"token_policies": "awx", "token_no_default_policy": True})
    environment = {
        "VAULT_ADDR": servers.bao.url,
        "VAULT_ROLE_ID": ask("GET", "auth/approle/role/awx/role-id")["data"]["role_id"],
        "VAULT_SECRET_ID": ask("POST", "auth/approle/role/awx/secret-id", {})["data"]["secret_id"],
    }
    follow(tenant, "AWX", environment)


def test_aws(tenant: Tenant, servers: Servers) -> None:
    follow(tenant, "AWS", {**AWS_KEYS, "AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": servers.aws.url})


def test_the_play_and_reading_a_secret_back(tenant: Tenant, folder: Path) -> None:
    shared = Fleet(tenant.sandbox, folder / "fleet", shared=True)
    copy = yaml.safe_load(guide.block("- ansible.builtin.copy").replace("Ticket integration", NAME))
    copy[0]["ansible.builtin.copy"]["dest"] = str(folder / "secret")
    delivery = {"hosts": "halo_tenants", "connection": "local", "gather_facts": False, "tasks": copy}
    watched = shared.play([tenant], Play(playbook=[*yaml.safe_load(guide.block("# site.yml")), delivery]))
    assert watched.status == 0, watched.stdout
    tenant.inventory = shared.inventory
    assert (folder / "secret").read_text() == tenant.secret()
    script = guide.block("ansible -i").replace("Ticket integration", NAME).replace(" acme ", f" {tenant.name} ")
    script = script.replace("inventory.yml", str(shared.inventory / "1.yml"))
    script = script.replace("--ask-vault-pass", f"--vault-password-file {shared.folder / 'vault'}")
    assert tenant.secret() in sh(script, folder)
