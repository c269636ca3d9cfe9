# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as AWX and Automation Controller run them: by ansible-runner, with the credentials in the environment.

`make controller` adds the playbooks and ways that take longer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ansible_runner
import hvac
import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from halo_sandbox.testing import Sandbox
from helpers.canaries import leaks, left
from helpers.store_servers import Server, openbao
from test_leaks import working_tokens

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = ROOT / "examples" / "controller_project"
RUNNER = Path(sys.executable).parent / "ansible-runner"
VAULT_PASSWORD = "open/sesame +%"
NAME = "Ticket integration"
BINDING = {"name": NAME, "agent": {"name": "api-tickets"}, "application": {"scopes": ["all"]}}
# What runner itself writes the environment of a job into, and what Controller gives it.
GIVEN = ("env/envvars", "env/passwords", "/command")
# runner makes a terminal for each job, beside the threads of these tests
pytestmark = pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")
long = pytest.mark.skipif("not config.getoption('--all-jobs')", reason="make controller runs it")


@dataclasses.dataclass
class Done:
    """A job that has ended."""

    folder: Path
    ident: str
    status: str
    printed: str = ""

    @property
    def events(self) -> list[dict[str, Any]]:
        files = sorted(
            (self.folder / "artifacts" / self.ident / "job_events").glob("*.json"),
            key=lambda path: int(path.name.partition("-")[0]),
        )
        return [json.loads(path.read_text()) for path in files]

    @property
    def stats(self) -> dict[str, Any]:
        (found,) = [event["event_data"] for event in self.events if event["event"] == "playbook_on_stats"]
        return dict(found)

    @property
    def changed(self) -> list[str]:
        return sorted(self.stats["changed"])

    @property
    def stdout(self) -> str:
        return (self.folder / "artifacts" / self.ident / "stdout").read_text()

    def messages(self) -> str:
        """Why tasks failed, and why tenants did whose tasks did not."""
        results = [event.get("event_data", {}).get("res") or {} for event in self.events]
        return " ".join(str(result["msg"]) for result in results if result.get("msg"))


class Controller:
    """Makes private data directories as Controller does."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.jobs: list[Done] = []

    def prepare(
        self,
        playbook: str,
        *,
        tenant: str | None = "acme",
        environment: Mapping[str, str] | None = None,
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        extra_vars: Mapping[str, Any] | None = None,
        arguments: str = "",
        fact_cache: bool = False,
    ) -> Path:
        """A private data directory.

        :param tenant: whose credentials are injected as HALO_*; None for none
        :param environment: injected by further credentials
        :param hosts: the inventory, host variables by name
        """
        folder = self.folder / f"job{len(list(self.folder.glob('job*')))}"
        shutil.copytree(PROJECT, folder / "project", ignore=shutil.ignore_patterns("inventory"))
        for name in ("inventory", "env"):
            (folder / name).mkdir(mode=0o700)
        halo = self.sandbox.tenants[tenant] if tenant else {}
        injected = {}
        if tenant:
            # what a credential type injects for inputs that were left out
            injected = dict.fromkeys(("HALO_TENANT", "HALO_AUTH_URL", "HALO_SCOPE", "HALO_CA_PATH", "HALO_TIMEOUT"), "")
            injected |= {f"HALO_{name.upper()}": value for name, value in halo.items() if name != "name"}
            injected["HALO_VALIDATE_CERTS"] = "true"
        (folder / "env" / "envvars").write_text(
            json.dumps(
                {
                    "AWX_PRIVATE_DATA_DIR": str(folder),
                    "HOME": str(folder),
                    "ANSIBLE_HOME": str(folder / ".ansible"),
                    "ANSIBLE_LOCAL_TEMP": str(folder / ".ansible" / "tmp"),
                    "ANSIBLE_NOCOLOR": "1",
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "JOB_ID": "17",
                    **injected,
                    **(environment or {}),
                }
            )
        )
        (folder / "env" / "extravars").write_text(json.dumps(dict(extra_vars or {})))
        (folder / "env" / "passwords").write_text(json.dumps({r"Vault password:\s*?$": VAULT_PASSWORD}))
        (folder / "env" / "cmdline").write_text(f"--ask-vault-pass --forks 5 -vv {arguments}")
        settings = {"fact_cache": "fact_cache", "fact_cache_type": "jsonfile"} if fact_cache else {}
        (folder / "env" / "settings").write_text(json.dumps(settings))
        hosts = hosts if hosts is not None else {tenant: {}}
        inventory = {
            "_meta": {"hostvars": dict(hosts)},
            "halo_tenants": {
                "hosts": list(hosts),
                "vars": {"halo_integration_bindings": [BINDING], "halo_retry_seconds": 5, **(variables or {})},
            },
        }
        script = folder / "inventory" / "hosts"
        script.write_text(f"#!{sys.executable}\nprint({json.dumps(inventory)!r})\n")
        script.chmod(0o700)
        (folder / "playbook").write_text(playbook)
        return folder

    def run(self, playbook: str, **how: Any) -> Done:
        folder = self.prepare(playbook, **how)
        done = ansible_runner.run(private_data_dir=str(folder), playbook=playbook, ident="17", quiet=True)
        self.jobs.append(Done(folder, "17", done.status))
        return self.jobs[-1]

    def stream(self, playbook: str, **how: Any) -> Done:
        """As Controller does it with an execution node: sent there, run there, taken back."""
        folder = self.prepare(playbook, **how)
        there, back = self.folder / f"{folder.name}-there", self.folder / f"{folder.name}-back"
        command = (
            f"{RUNNER} transmit {folder} -p {playbook} -i 17 | {RUNNER} worker --private-data-dir {there} | "
            f"tee {self.folder}/stream | {RUNNER} process {back} -i 17"
        )
        script = ["bash", "-c", f"set -o pipefail; {command}"]
        printed = subprocess.run(script, capture_output=True, check=False, text=True)
        status = (back / "artifacts" / "17" / "status").read_text().strip()
        self.jobs.append(Done(back, "17", status, printed.stdout + printed.stderr))
        return self.jobs[-1]

    def left(self) -> Iterator[tuple[str, str]]:
        """All that jobs printed and left behind, apart from what holds the environment that they were given."""
        for name, text in left(self.folder):
            if name.startswith("name ") or not name.endswith(GIVEN):
                yield name, text
        for job in self.jobs:
            yield "printed", job.printed


@pytest.fixture
def controller(sandbox: Sandbox, folder: Path) -> Controller:
    return Controller(folder, sandbox)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def in_bao(bao: Server) -> Iterator[dict[str, Any]]:
    """How a job uses OpenBao: what the credential of the store injects, and the variables of the inventory."""
    client = hvac.Client(url=bao.url, token="root")
    yield {
        # with what is left out of that credential
        "environment": {"VAULT_ADDR": bao.url, "VAULT_TOKEN": "root", "VAULT_NAMESPACE": "", "VAULT_ROLE_ID": ""},
        "variables": {"halo_integration_store": "hashi_vault"},
    }
    with contextlib.suppress(hvac.exceptions.InvalidPath):
        for tenant in client.secrets.kv.v2.list_secrets("halo")["data"]["keys"]:
            for key in client.secrets.kv.v2.list_secrets(f"halo/{tenant}")["data"]["keys"]:
                client.secrets.kv.v2.delete_metadata_and_all_versions(f"halo/{tenant}{key}")


def stored(bao: Server) -> list[str]:
    """All secrets that were ever written to OpenBao."""
    kv = hvac.Client(url=bao.url, token="root").secrets.kv.v2
    found = set()
    for tenant in kv.list_secrets("halo")["data"]["keys"]:
        for key in kv.list_secrets(f"halo/{tenant}")["data"]["keys"]:
            path = f"halo/{tenant}{key}"
            for version in kv.read_secret_metadata(path)["data"]["versions"]:
                entry = kv.read_secret_version(path, version=int(version), raise_on_deleted_version=False)
                labels = ((entry["data"]["data"] or {}).get(label) for label in ("current", "previous", "pending"))
                found |= {label["client_secret"] for label in labels if label}
    return sorted(found)


def see_that_nothing_leaked(controller: Controller, *secrets: str) -> None:
    own = [tenant["client_secret"] for tenant in controller.sandbox.tenants.values()]
    searched = list(controller.left())
    assert searched
    assert leaks(searched, [VAULT_PASSWORD, *own, *secrets]) == []
    assert working_tokens(controller.sandbox, searched) == []


def test_a_store_inside_the_job_is_refused_before_any_change(controller: Controller) -> None:
    done = controller.run("provision.yml")
    assert done.status == "failed"
    said = done.messages()
    assert "gone when this job ends" in said
    for alternative in ("mounted folder", "hashi_vault", "aws_secrets_manager", "command", "ephemeral"):
        assert alternative in said
    assert controller.sandbox.writes("acme") == []
    see_that_nothing_leaked(controller)


def test_the_second_job_finds_what_the_first_one_stored(
    controller: Controller, bao: Server, in_bao: dict[str, Any]
) -> None:
    first = controller.run("provision.yml", fact_cache=True, **in_bao)
    assert first.status == "successful", first.stdout
    assert first.changed == ["acme"]
    assert "halo_integration_summary" in first.stats["artifact_data"]
    second = controller.run("provision.yml", fact_cache=True, **in_bao)
    assert (second.status, second.changed) == ("successful", []), second.stdout
    secrets = stored(bao)
    assert len(secrets) == 1
    see_that_nothing_leaked(controller, *secrets)
    # what was injected is in what Controller writes for runner and in what runner writes down, and nowhere else
    secret = controller.sandbox.tenants["acme"]["client_secret"]
    for injected in (f'"HALO_CLIENT_SECRET": "{secret}"', '"VAULT_TOKEN": "root"'):
        holders = [name.partition("/")[2] for name, text in left(controller.folder) if injected in text]
        assert sorted(set(holders)) == ["artifacts/17/command", "env/envvars"]
    cached = first.folder / "artifacts" / "17" / "fact_cache"
    assert not cached.exists() or [path.read_text() for path in cached.iterdir() if path.read_text() != "{}"] == []


def test_a_job_runs_on_an_execution_node(controller: Controller, bao: Server, in_bao: dict[str, Any]) -> None:
    done = controller.stream("provision.yml", **in_bao)
    assert done.status == "successful", done.printed
    assert done.changed == ["acme"]
    # what goes over the wire back begins with the environment of the job, which Controller keeps, redacted
    stream = controller.folder / "stream"
    lines = [json.loads(line) for line in stream.read_text().splitlines() if line.startswith("{")]
    with_environment = [line for line in lines if "env" in line]
    assert [line["status"] for line in with_environment] == ["starting"]
    stream.write_text("\n".join(json.dumps(line) for line in lines if "env" not in line and "zipfile" not in line))
    see_that_nothing_leaked(controller, *stored(bao))


# The rest of the playbooks, and many tenants


@long
def test_every_playbook_runs_with_the_credentials_in_the_environment(
    controller: Controller, bao: Server, in_bao: dict[str, Any]
) -> None:
    run = functools.partial(controller.run, **in_bao)
    for marker in ("write", "require"):
        done = run("preflight.yml", extra_vars={"halo_preflight_store_marker": marker, "halo_serial": "100%"})
        assert done.status == "successful", done.stdout
    before = run("audit.yml")
    assert before.status == "successful", before.stdout
    assert controller.sandbox.writes("acme") == []
    strict = run("audit.yml", extra_vars={"halo_audit_fail": "true", "halo_serial": "100%"})
    assert strict.status == "failed"
    assert run("provision.yml", extra_vars={"halo_serial": "100%", "halo_max_failed": "100%"}).status == "successful"
    assert run("audit.yml", extra_vars={"halo_audit_fail": "true"}).status == "successful"
    assert run("rotate.yml").status == "successful"
    # an answer of a survey that does not belong there
    assert run("rotate.yml", extra_vars={"halo_integration_rotate": False}).status == "successful"
    assert len(stored(bao)) == 3
    moved = run("store_move.yml", extra_vars={"halo_store_to": {"store_options": {"path": "elsewhere"}}})
    assert moved.status == "successful", moved.stdout
    address = controller.sandbox.tenants["acme"]["url"]
    asked = run("self_test.yml", extra_vars={"halo_self_test_confirm": address, "halo_self_test_cleanup": "false"})
    assert asked.status == "successful", asked.stdout
    assert " as assumed, 0 otherwise, " in asked.stdout
    gone = run("decommission.yml", extra_vars={"halo_decommission_confirm": "1"}, arguments="--limit acme")
    assert gone.status == "successful", gone.stdout
    applications = [row["displayName"] for row in controller.sandbox.state("acme")["applications"]]
    assert NAME not in applications
    see_that_nothing_leaked(controller, *stored(bao))


def fleet(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """An inventory as Controller gives it to a job: secrets that are encrypted in place stay so."""
    vault = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
    return {
        name: {
            "halo_url": tenant["url"],
            "halo_client_id": tenant["client_id"],
            "halo_client_secret": {"__ansible_vault": vault.encrypt(tenant["client_secret"]).decode()},
        }
        for name, tenant in sandbox.tenants.items()
    }


@long
@pytest.mark.parametrize("way", ["inventory", "limit"])
def test_three_slices_do_what_one_job_does(
    controller: Controller, bao: Server, in_bao: dict[str, Any], way: str
) -> None:
    hosts = fleet(controller.sandbox)
    assert len(hosts) == 3
    threads = []
    for name in hosts:
        part: dict[str, Any] = {"hosts": {name: hosts[name]}}
        if way == "limit":
            part = {"hosts": hosts, "arguments": f"--limit {name}"}
        folder = controller.prepare("provision.yml", tenant=None, fact_cache=True, **part, **in_bao)
        job = {"private_data_dir": str(folder), "playbook": "provision.yml", "ident": "17"}
        threads.append((folder, *ansible_runner.run_async(quiet=True, **job)))
    for folder, thread, runner in threads:
        thread.join()
        controller.jobs.append(Done(folder, "17", runner.status))
    assert [job.status for job in controller.jobs] == ["successful"] * 3, controller.jobs[0].stdout
    assert [job.changed for job in controller.jobs] == [[name] for name in hosts]
    whole = controller.run("provision.yml", tenant=None, hosts=hosts, **in_bao)
    assert (whole.status, whole.changed) == ("successful", [])
    secrets = stored(bao)
    assert len(secrets) == 3
    see_that_nothing_leaked(controller, *secrets)


@long
@pytest.mark.parametrize("playbook", ["audit.yml", "rotate.yml"])
def test_jobs_on_an_execution_node(controller: Controller, bao: Server, in_bao: dict[str, Any], playbook: str) -> None:
    assert controller.run("provision.yml", **in_bao).status == "successful"
    done = controller.stream(playbook, fact_cache=True, **in_bao)
    assert done.status == "successful", done.printed
    (controller.folder / "stream").unlink()
    see_that_nothing_leaked(controller, *stored(bao))


@long
def test_a_job_that_is_cancelled_is_finished_by_the_next(
    controller: Controller, bao: Server, in_bao: dict[str, Any]
) -> None:
    controller.sandbox.fault("delay", method="POST", path="^/api/application", seconds=3)
    folder = controller.prepare("provision.yml", **in_bao)
    thread, runner = ansible_runner.run_async(
        private_data_dir=str(folder),
        playbook="provision.yml",
        ident="17",
        quiet=True,
        cancel_callback=lambda: bool(controller.sandbox.writes("acme")),
    )
    thread.join()
    controller.jobs.append(Done(folder, "17", runner.status))
    assert runner.status == "canceled"
    again = controller.run("provision.yml", **in_bao)
    while again.status == "failed" and "another run is at work" in again.messages():
        again = controller.run("provision.yml", **in_bao)
    assert again.status == "successful", again.stdout
    see_that_nothing_leaked(controller, *stored(bao))
