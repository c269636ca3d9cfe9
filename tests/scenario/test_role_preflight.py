# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A preflight against the sandbox: in this process through the action plugin, and as a play."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import MARKER
from halo_sandbox.testing import Sandbox
from helpers import in_process
from role_runner import CHECK, NAME, VAULT_PASSWORD, Fleet, Play, Tenant

Variables = dict[str, Any]
DAY = 86400


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=20) as sandbox:
        yield Fleet(sandbox, Path(folder))


def go(tenant: Tenant, *, check: bool = False, environment: Any = None, **options: Any) -> Variables:
    """One preflight, in which Halo refuses writes."""
    before = tenant.frozen
    tenant.sandbox.settings(tenant.name, read_only=True)
    result = in_process.task(
        "halo_preflight",
        options,
        {**tenant.variables, "halo_retry_seconds": 0},
        tenant.inventory,
        check_mode=check,
        environment=environment,
        vault_password=VAULT_PASSWORD,
    )
    tenant.sandbox.settings(tenant.name, read_only=False)
    if check or options.get("store_marker") != "write":
        assert tenant.frozen == before, "something was written"
    tenant.learn()
    text = json.dumps(result, default=str)
    assert not [secret for secret in tenant.known if secret in text]
    return result


def states(result: Variables) -> dict[str, str]:
    return {check["name"]: check["state"] for check in result["checks"]}


def text(result: Variables, name: str) -> str:
    (found,) = [check["text"] for check in result["checks"] if check["name"] == name]
    return str(found)


READY = ["address", "clock", "scope", "agent", "roles", "access", "store"]


def test_a_tenant_that_is_ready(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    tenant.more["halo_tenant"] = tenant.name
    for check in (False, True):
        found = go(tenant, check=check)
        assert (found.get("failed"), found["changed"], found["diff"]) == (None, False, {"before": {}, "after": {}})
        assert states(found) == dict.fromkeys(READY, "ok")
    assert text(found, "address") == f"authorisation server {tenant.url}/auth, tenant {tenant.name}"
    assert text(found, "clock") == "the server's and this one agree"
    assert text(found, "agent") == "api-automation, administrator"
    assert text(found, "roles") == "Administrator; teams: none"
    assert text(found, "store") == f"file {tenant.inventory}/halo_credentials can be read and holds no entries"
    assert found["instance"] == tenant.url


def test_all_that_is_wrong_is_said_at_once(fleet: Fleet) -> None:
    """Another tenant's name, a clock that is late, a login that may not do enough, and a store inside the job."""
    tenant = fleet.tenant()
    agent = tenant.agent("api-automation")
    reader = next(role for role in tenant.state["roles"] if role["name"] == "Read Only")
    tenant.sandbox.put_agents(tenant.name, {"id": agent["id"], "roles": [{"id": reader["id"]}], "isapiagent": False})
    automation = tenant.application("Automation")
    tenant.sandbox.put_applications(tenant.name, {"id": automation["id"], "scopes": [{"name": "read:tickets"}]})
    tenant.more |= {"halo_scope": "read:tickets", "halo_auth_url": f"{tenant.url}/auth"}
    info = {"auth_url": "https://login.example.com/auth", "tenant_id": tenant.name}
    headers = {"Date": "Mon, 05 Jan 2026 09:00:00 GMT"}
    tenant.fault("status", "GET", "AuthInfo", status=200, body=info, headers=headers)
    found = go(tenant, environment={"AWX_PRIVATE_DATA_DIR": str(tenant.inventory)})
    assert states(found) == {
        "address": "warning", "clock": "failed", "scope": "failed", "agent": "failed", "roles": "ok",
        "access": "failed", "store": "failed",
    }  # fmt: skip
    assert found["failed"]
    for said in (
        "behind this one (max_skew: 60)",
        "scope: read:tickets is not enough",
        "agent: api-automation (a human agent), no administrator",
        "access: GET /Application answered 403; GET /Roles answered 403",
        "which is gone when this job ends",
    ):
        assert said in found["msg"], said
    assert text(found, "roles") == "Read Only; teams: none"
    tenant.mend()
    tenant.more["halo_tenant"] = "hooli"
    assert text(go(tenant), "address") == f"halo_tenant is hooli, and the instance says {tenant.name}"


LOGINS: dict[str, tuple[Variables, str, str]] = {
    "a wrong secret": ({"halo_client_secret": "wrong"}, "login", "the credentials were refused (invalid_client)"),
    "a scope that it lacks": ({"halo_scope": "edit:tickets"}, "login", "the credentials were refused (invalid_scope)"),
    "nobody there": ({"halo_url": "http://127.0.0.1:9"}, "address", "no connection could be made"),
    "no secret": ({"halo_client_secret": None}, "connection", "halo_client_secret is missing"),
    "an address that is none": ({"halo_url": "acme"}, "store", "halo_url is not an address"),
    "a store that is none": ({"halo_integration_store": "vault-file"}, "store", "did you mean vault_file?"),
}


@pytest.mark.parametrize(("more", "name", "said"), LOGINS.values(), ids=LOGINS)
def test_what_is_wrong_is_a_check_that_failed(fleet: Fleet, more: Variables, name: str, said: str) -> None:
    tenant = fleet.tenant()
    tenant.more |= more
    found = go(tenant)
    assert states(found)[name] == "failed"
    assert said in text(found, name)
    if name != "store":
        assert states(found)["store"] == "ok", "the other checks are made as well"
    elif "halo_url" not in more:
        assert states(found)["agent"] == "ok"


def test_a_skew_that_is_allowed(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    info = {"auth_url": f"{tenant.url}/auth", "tenant_id": tenant.name}
    tenant.fault("status", "GET", "AuthInfo", status=200, body=info, headers={"Date": "Mon, 05 Jan 2026 09:00:00 GMT"})
    found = go(tenant, max_skew=100_000 * DAY)
    assert (states(found)["clock"], found.get("failed")) == ("ok", None)


@pytest.mark.parametrize("store", ["file", "vault_file"])
def test_the_marker_stands_from_run_to_run_and_is_no_binding(fleet: Fleet, store: str) -> None:
    tenant = fleet.tenant()
    tenant.more["halo_integration_store"] = store
    assert "the store has none" in text(go(tenant, store_marker="require"), "marker")
    foreseen = go(tenant, check=True, store_marker="write")
    written = go(tenant, store_marker="write")
    assert (foreseen["changed"], written["changed"], foreseen["diff"]) == (True, True, written["diff"])
    assert list(tenant.stored) == [MARKER]
    kept = tenant.entry(MARKER)
    for marker in ("write", "require", "ignore"):
        found = go(tenant, store_marker=marker)
        assert (found["changed"], found.get("failed")) == (False, None)
        assert text(found, "marker") == f"the store has kept it since {kept['marker']}"
    # neither an orphan nor in the way of a binding
    tenant.bind()
    done = fleet.run(tenant)
    assert (done.failed, done.result["orphans"]) == (False, [])
    assert fleet.run(tenant).quiet
    assert fleet.run(tenant, CHECK).result["orphans"] == []
    assert "holds 1 entry" in text(go(tenant), "store")
    moved = in_process.task(
        "halo_store_move",
        {"target": {"store": store, "store_dir": "halo_credentials_elsewhere"}},
        tenant.variables,
        tenant.inventory,
        vault_password=VAULT_PASSWORD,
    )
    assert list(moved["bindings"]) == [NAME]
    assert tenant.entry(MARKER) == kept
    tenant.bindings[0]["name"] = MARKER.upper()
    assert "a binding cannot be called" in fleet.run(tenant).message


def test_nothing_but_a_marker_is_nothing_to_move(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    go(tenant, store_marker="write")
    target = {"store": "file", "store_dir": "elsewhere"}
    moved = in_process.task("halo_store_move", {"target": target}, tenant.variables, tenant.inventory)
    assert (moved["bindings"], moved.get("failed")) == ({}, None)
    assert "holds nothing of this tenant" in moved["warnings"][-1]


# As a play


def test_the_playbook(fleet: Fleet) -> None:
    tenants = [fleet.tenant() for _unused in range(3)]
    for tenant in tenants:
        tenant.inventory = fleet.inventory
    ready, mistaken, unsure = tenants
    mistaken.more["halo_tenant"] = "globex.example.com"
    unsure.sandbox.fault("status", tenant=unsure.name, method="GET", path="^/api/AuthInfo$", status=404, times=None)
    report = fleet.folder / "preflight.html"
    more = {"halo_report_path": str(report), "halo_preflight_store_marker": "write"}
    watched = fleet.play(tenants, Play("preflight", ("-e", json.dumps(more))))
    assert watched.status != 0
    assert [watched[tenant].failed for tenant in tenants] == [False, True, False]
    (line,) = [one for one in watched.stdout.splitlines() if one.startswith(f"{ready.name}: ")]
    assert line.startswith(f"{ready.name}: changed: address: authorisation server {ready.url}/auth, tenant ")
    for said in ("clock: ", "scope: all", "agent: api-automation, admin", "store: file ", "marker: written now"):
        assert f"; {said}" in line, said
    assert f"{mistaken.name}: failed: address: halo_tenant is globex.example.com, which is an address" in watched.stdout
    assert f"{unsure.name}: changed: " in watched.stdout
    assert "GET /AuthInfo answered 404 and names no authorisation server" in watched.stdout
    written = json.loads(report.with_suffix(".json").read_text())
    assert (written["run"]["kind"], written["summary"]["failed"], written["summary"]["changed"]) == ("preflight", 1, 2)
    assert report.with_suffix(".retry").read_text().split() == [mistaken.name]
    again = fleet.play([ready], Play("preflight", ("-e", "halo_preflight_store_marker=require")))
    assert again.status == 0
    assert f"{ready.name}: ready: address: " in again.stdout
    assert "marker: the store has kept it since " in again.stdout
