# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves from one store to another, against the sandbox: in this process through the action plugin, and as a play."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils import client, rotation, run
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.module_utils.rotation import Proof
from ansible_collections.haloops.halo.plugins.module_utils.store_move import Side, move
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store
from halo_sandbox.testing import Sandbox
from helpers import in_process
from helpers.store_kits import KEEPER, Servers
from role_runner import NAME, REAL, VAULT_PASSWORD, Fleet, Play, Tenant, leaks

Variables = dict[str, Any]
PREFIX = "halo_integration_"
OTHER = "Reporting"
FILES: Variables = {"store": "file", "store_dir": "halo_credentials"}
SEALED: Variables = {"store": "vault_file", "store_dir": "halo_credentials_sealed"}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as name, Sandbox(tenants=45) as sandbox:
        yield Fleet(sandbox, Path(name))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, run):
        monkeypatch.setattr(module, "SETTLE", (0.02, 0.05, 0.1))
    monkeypatch.setattr(rotation, "TEST_PAUSE", 0.02)


def use(tenant: Tenant, place: Variables) -> None:
    """Let the variables of the host name this store."""
    for option in ("store", "store_dir", "store_options", "store_key"):
        tenant.more[PREFIX + option] = place.get(option)


def store(tenant: Tenant, place: Variables) -> Any:
    """The store of a tenant, opened by the test."""
    where = Place(
        tenant.url,
        folder=str(tenant.inventory / place["store_dir"]) if "store_dir" in place else None,
        options=place.get("store_options", {}),
        vault=lambda: VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))]),
        key=place.get("store_key"),
    )
    return open_store(place["store"], where)


def entries(tenant: Tenant, place: Variables) -> dict[str, Variables]:
    opened = store(tenant, place)
    found = {name: opened.read(name)[0] for name in opened.names()}
    for one in found.values():
        tenant.known.update(one[label]["client_secret"] for label in ("current", "pending", "previous") if one[label])
    return found


def go(tenant: Tenant, *, check: bool = False, **options: Any) -> Variables:
    """One run of the task; no secret in its result, nothing written in Halo."""
    before = tenant.state
    result = in_process.task(
        "halo_store_move", options, tenant.variables, tenant.inventory, check_mode=check, vault_password=VAULT_PASSWORD
    )
    assert tenant.state == before
    assert "invocation" not in result, "the options of a store may hold its credentials"
    assert not leaks([tenant], {"the result": json.dumps(result, default=str).encode()})
    assert "Unexpected" not in str(result.get("msg")), result["msg"]
    return result


@pytest.fixture
def tenant(fleet: Fleet) -> Tenant:
    """A tenant with two bindings in plain files."""
    made = fleet.tenant()
    made.bind()
    made.bind("api-reports", OTHER)
    use(made, FILES)
    provisioned(made)
    return made


def provisioned(tenant: Tenant) -> None:
    outcome = tenant.fleet.run(tenant)
    assert not outcome.failed, outcome.message


# Between any two


def place(name: str, tenant: Tenant, servers: Servers) -> Variables:
    if name == "command":
        folder = str(tenant.inventory / "halo_credentials_kept")
        return {"store": "command", "store_options": {"command": ["sh", str(KEEPER), folder]}}
    if name == "hashi_vault":
        return {"store": "hashi_vault", "store_options": {"url": servers.bao.url, "token": "root"}}
    return {"file": FILES, "vault_file": SEALED}[name]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("file", "vault_file"),
        ("vault_file", "file"),
        ("vault_file", "command"),
        ("command", "hashi_vault"),
        ("hashi_vault", "file"),
    ],
)
def test_all_entries_are_copied_once_and_the_engine_goes_on_there(
    fleet: Fleet, servers: Servers, one: str, other: str
) -> None:
    tenant = fleet.tenant()
    source, target = (place(name, tenant, servers) for name in (one, other))
    use(tenant, source)
    tenant.bind()
    tenant.bind("api-reports", OTHER)
    provisioned(tenant)
    before = entries(tenant, source)
    assert set(before) == {NAME, OTHER}

    foretold = go(tenant, check=True, target=target)
    assert entries(tenant, target) == {}
    done = go(tenant, target=target)
    assert not done.get("failed"), done["msg"]
    assert done["changed"]
    assert foretold == {**done, "check_mode": True}
    assert done["bindings"][NAME] == {
        "changed": True,
        "client_id": before[NAME]["current"]["client_id"],
        "agent_name": "api-ansible",
        "made_at": before[NAME]["current"]["made_at"],
        "verified": True,
        "drift": [f"store: {said(tenant, source)} instead of {said(tenant, target)}"],
        "error": None,
    }
    assert done["diff"]["after"][NAME]["store"] == said(tenant, target)
    assert entries(tenant, target) == before
    assert entries(tenant, source) == before

    use(tenant, target)
    for how in (False, True):
        again = go(tenant, check=how, source=source)
        assert not again["changed"]
        assert not again.get("failed")
        assert again["bindings"][NAME]["verified"] is True
        assert again["bindings"][NAME]["drift"] == []
        assert again["diff"] == {"before": {}, "after": {}}
    outcome = fleet.run(tenant, REAL)
    assert outcome.quiet, (outcome.message, outcome.result)
    assert outcome[NAME]["verified"] is True


def said(tenant: Tenant, place: Variables) -> str:
    """What results call a store."""
    return place["store"] + (f" {tenant.inventory / place['store_dir']}" if "store_dir" in place else "")


# What is not copied


def test_another_secret_in_the_target_is_left_alone_and_the_others_are_copied(tenant: Tenant) -> None:
    kept = entry({"current": {"client_secret": "of someone else", "made_at": "2026-01-02T03:04:05+00:00"}})
    store(tenant, SEALED).write(NAME, kept, None)
    for check in (True, False):
        result = go(tenant, check=check, target=SEALED)
        assert result["failed"]
        assert result["changed"]
        assert f"binding '{NAME}': the target holds another secret of it, made at 2026-01-02" in result["msg"]
        assert result["msg"].startswith("1 of 2 bindings were not moved: ")
        assert f"{tenant.url}: binding '{NAME}'" in result["bindings"][NAME]["error"]
        assert (result["bindings"][NAME]["changed"], result["bindings"][OTHER]["changed"]) == (False, True)
    found = entries(tenant, SEALED)
    assert found[NAME]["current"]["client_secret"] == "of someone else"
    assert found[OTHER] == entries(tenant, FILES)[OTHER]


def test_a_target_that_has_gone_on_is_not_set_back(tenant: Tenant) -> None:
    assert go(tenant, target=SEALED)["changed"]
    use(tenant, SEALED)
    assert not tenant.fleet.run(tenant, type(REAL)(options={"rotate": True})).failed
    before = entries(tenant, SEALED)
    result = go(tenant, source=FILES)
    assert result["failed"]
    assert not result["changed"]
    assert "If the target's is the one in use, there is nothing to move" in result["msg"]
    assert entries(tenant, SEALED) == before


def test_what_is_acknowledged_in_the_target_alone_is_no_difference(tenant: Tenant) -> None:
    tenant.rewrite(lambda one: one.update(outstanding={"deliver": one["current"]["made_at"], "retire": []}))
    go(tenant, target=SEALED)
    target = store(tenant, SEALED)
    found, version = target.read(NAME)
    assert found["outstanding"]["deliver"]
    target.write(NAME, {**found, "outstanding": {"deliver": None, "retire": []}}, version)
    result = go(tenant, target=SEALED)
    assert not result.get("failed")
    assert not result["changed"]
    assert entries(tenant, SEALED)[NAME]["outstanding"]["deliver"] is None


def test_a_secret_that_does_not_log_in_is_not_copied(tenant: Tenant) -> None:
    tenant.post("Application", {"id": tenant.application()["id"], "clientSecret": "set by hand"})
    for check in (True, False):
        result = go(tenant, check=check, target=SEALED)
        assert result["failed"]
        assert "its current secret does not log in (the credentials were refused (invalid_client))" in result["msg"]
        assert result["bindings"][NAME]["verified"] is None
    assert set(entries(tenant, SEALED)) == {OTHER}


def test_halo_that_cannot_be_asked_proves_nothing(tenant: Tenant) -> None:
    tenant.more["halo_auth_url"] = "http://127.0.0.1:9"
    tenant.more["halo_retry_seconds"] = 0
    result = go(tenant, target=SEALED)
    assert result["failed"]
    assert result["msg"].startswith("2 of 2 bindings were not moved: ")
    assert "connection refused" in result["msg"]
    assert entries(tenant, SEALED) == {}


@pytest.mark.parametrize("in_force", [True, False])
def test_a_rotation_that_was_not_finished(tenant: Tenant, in_force: bool) -> None:
    def begin(one: Variables) -> None:
        pending = {**one["current"], "client_secret": "begun", "reason": "requested"}
        one.update(pending=pending)

    tenant.rewrite(begin)
    if in_force:
        tenant.post("Application", {"id": tenant.application()["id"], "clientSecret": "begun"})
    result = go(tenant, target=SEALED)
    assert not result.get("failed"), result["msg"]
    found = entries(tenant, SEALED)[NAME]
    assert found == entries(tenant, FILES)[NAME]
    assert found["pending"]["client_secret"] == "begun"
    use(tenant, SEALED)
    outcome = tenant.fleet.run(tenant)
    assert (outcome[NAME]["rotated"], outcome[NAME]["verified"]) == (True, True)


def test_a_first_secret_that_never_reached_halo_is_not_copied(tenant: Tenant) -> None:
    tenant.rewrite(lambda one: one.update(current=None, pending={**one["current"], "client_secret": "begun"}))
    result = go(tenant, target=SEALED)
    assert "its pending secret does not log in" in result["msg"]
    assert set(entries(tenant, SEALED)) == {OTHER}


def test_what_was_taken_out_of_service_is_copied_unproven(tenant: Tenant) -> None:
    tenant.rewrite(lambda one: one.update(current=None, previous=one["current"]))
    result = go(tenant, target=SEALED)
    assert not result.get("failed"), result["msg"]
    assert (result["bindings"][NAME]["changed"], result["bindings"][NAME]["verified"]) == (True, None)
    assert entries(tenant, SEALED)[NAME]["previous"]
    assert not go(tenant, target=SEALED)["changed"]


def test_garbage_in_the_source(tenant: Tenant) -> None:
    Path(store(tenant, FILES).path(NAME)).write_text("garbage")
    result = go(tenant, target=SEALED)
    assert result["failed"]
    assert "is not what this store writes" in result["msg"]
    assert entries(tenant, SEALED) == {}


# Where


def test_a_move_is_noted(tenant: Tenant) -> None:
    log = tenant.inventory / "trail.jsonl"
    nowhere = str(tenant.inventory / "nowhere" / "trail.jsonl")
    result = go(tenant, target=SEALED, log_path=nowhere)
    assert "its folder does not exist" in result["msg"]
    assert entries(tenant, SEALED) == {}
    go(tenant, check=True, target=SEALED, log_path=log.name)
    assert not log.exists()
    assert not go(tenant, target=SEALED, log_path=log.name).get("failed")
    noted = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["binding"], one["action"], one["cause"], one["outcome"]) for one in noted] == [
        (name, "move", "requested", "ok") for name in sorted((NAME, OTHER))
    ]
    found = entries(tenant, SEALED)
    for one in noted:
        current = found[one["binding"]]["current"]
        assert (one["client_id"], one["agent"]) == (current["client_id"], current["agent_name"])
    go(tenant, target=SEALED, log_path=log.name)
    assert len(log.read_text().splitlines()) == 2


def test_an_empty_source_is_said_and_leaves_nothing_behind(tenant: Tenant) -> None:
    result = go(tenant, source={"store_dir": "halo_credentials_misspelt"})
    assert (result["changed"], result["bindings"]) == (False, {})
    assert result["warnings"] == [
        f"The source, file {tenant.inventory / 'halo_credentials_misspelt'}, holds nothing of this tenant."
    ]
    assert not (tenant.inventory / "halo_credentials_misspelt").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "source, target"),
        ({"source": {}}, "source and target are the same: file"),
        ({"target": {"store": "file"}}, "source and target are the same: file"),
        ({"target": {"store": "vault_file"}}, "source and target are the same folder.*ansible-vault encrypt"),
        ({"source": {"store": "vault_file"}}, "source and target are the same folder.*ansible-vault decrypt"),
        ({"target": {"stor": "file"}}, r"target\.stor is not an option; did you mean store\?"),
        ({"target": {"store": "files"}}, "halo_integration_store must be .*; did you mean file"),
        ({"target": {"store": "command"}}, "command is missing"),
        ({"target": {"store_options": {"ephemerl": True}}}, r"ephemerl is not an option"),
    ],
)
def test_places_that_cannot_be(tenant: Tenant, options: Variables, expected: str) -> None:
    before = tenant.frozen
    for check in (True, False):
        result = go(tenant, check=check, **options)
        assert result["failed"]
        with pytest.raises(AssertionError, match=expected):
            raise AssertionError(result["msg"])
    assert tenant.frozen == before


def test_options_of_the_hosts_store_are_not_those_of_another(tenant: Tenant) -> None:
    target = place("command", tenant, lambda: pytest.fail("none"))
    use(tenant, target)
    result = go(tenant, source=FILES)
    assert not result.get("failed"), result["msg"]
    assert set(entries(tenant, target)) == {NAME, OTHER}
    assert not go(tenant, target={"store": "file", "store_dir": "halo_credentials"})["changed"]


def test_from_one_key_to_another(tenant: Tenant) -> None:
    before = entries(tenant, FILES)
    tenant.more["halo_integration_store_key"] = "acme"
    assert go(tenant, source={"store_key": ""})["changed"]
    assert entries(tenant, {**FILES, "store_key": "acme"}) == before
    assert go(tenant, source={"store_key": ""})["changed"] is False
    assert entries(tenant, FILES) == before


def test_from_an_address_that_was_changed(tenant: Tenant) -> None:
    old, new = tenant.url, tenant.url.replace("127.0.0.1", "localhost")
    tenant.more["halo_url"] = new
    assert go(tenant, target={"store_key": ""})["failed"], "it is under the old address"
    result = go(tenant, source={"store_key": old})
    assert not result.get("failed"), result["msg"]
    assert entries(tenant, FILES)[NAME]["instance"] == old
    tenant.url = new
    assert entries(tenant, FILES)[NAME]["instance"] == new


# Alone


@pytest.mark.parametrize(("busy", "free", "name"), [(FILES, SEALED, "source"), (SEALED, FILES, "target")])
def test_both_stores_are_held(tenant: Tenant, busy: Variables, free: Variables, name: str) -> None:
    with store(tenant, busy).hold():
        result = go(tenant, target=SEALED)
        assert result["failed"]
        assert "another run is at work on this tenant" in result["msg"]
        assert f", in the {name}. Nothing was changed." in result["msg"]
        assert go(tenant, check=True, target=SEALED)["changed"]
        with store(tenant, free).hold():
            pass
    assert entries(tenant, SEALED) == {}
    assert go(tenant, target=SEALED)["changed"]


def test_async_is_refused(tenant: Tenant) -> None:
    result = in_process.task(
        "halo_store_move", {"target": SEALED}, tenant.variables, tenant.inventory, async_seconds=60
    )
    assert result["failed"]
    assert "Remove async" in result["msg"]


# The program, over ports that fail


class Memory:
    """A store that fails at the n-th call, after or before it has done what it was asked."""

    def __init__(self, *given: str) -> None:
        self.kept = {
            name: (entry({"current": {"client_secret": f"of {name}", "client_id": name}, "attempt": 2}), "1")
            for name in given
        }
        self.fail_at = 0
        self.calls = 0
        self.holders = 0

    def _call(self, action: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls * 2 - 1 == self.fail_at:
            raise HaloError("lost")
        result = action()
        if self.calls * 2 == self.fail_at:
            raise HaloError("lost")
        return result

    def read(self, name: str) -> Any:
        return self._call(lambda: copy.deepcopy(self.kept.get(name, (entry(None), None))))

    def write(self, name: str, new: Any, version: Any) -> Any:
        assert self.holders == 1
        assert self.kept.get(name, (None, None))[1] == version
        return self._call(lambda: self.kept.setdefault(name, (copy.deepcopy(new), "1")))[1]

    def others(self, names: Any) -> Variables:
        found: Variables = self._call(lambda: {name: kept[0] for name, kept in self.kept.items() if name not in names})
        return found

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self._call(lambda: None)
        self.holders += 1
        try:
            yield
        finally:
            self.holders -= 1


def test_a_move_that_is_cut_off_anywhere_is_finished_by_the_next() -> None:
    for which in (0, 1):
        for number in range(1, 100):
            source, target = sides = Memory("one", "two", "three"), Memory()
            sides[which].fail_at = number

            def again(source: Memory = source, target: Memory = target) -> Variables:
                def prove(label: Variables) -> Proof:
                    assert source.holders == target.holders == 1
                    return Proof(label["client_secret"].startswith("of "))

                return move(Side("a", source), Side("b", target), prove, instance="x", check_mode=False)

            failed = True
            with contextlib.suppress(HaloError):
                failed = bool(again().get("failed"))
            sides[which].fail_at = 0
            before = copy.deepcopy(target.kept)
            assert all(target.kept[name] == source.kept[name] for name in target.kept)
            result = again()
            assert not result.get("failed")
            assert target.kept == source.kept == Memory("one", "two", "three").kept
            assert [name for name, row in result["bindings"].items() if row["changed"]] == [
                name for name in sorted(source.kept) if name not in before
            ]
            if not failed:
                break
        assert number > 10


def test_nothing_is_written_before_it_is_proven_and_what_is_not_kept_is_an_error() -> None:
    target = Memory()

    def prove(label: Variables) -> Proof:
        assert label["client_id"] not in target.kept
        return Proof(label["client_id"] != "two", reason="no")

    def forget(name: str, new: Any, version: Any) -> Any:
        target.kept[name] = ({**new, "attempt": 1}, "1")

    target.write = forget  # type: ignore[method-assign]
    result = move(Side("a", Memory("one", "two")), Side("b", target), prove, instance="x", check_mode=False)
    assert "binding 'one': the target did not keep what was written (attempt)" in result["msg"]
    assert "binding 'two': its current secret does not log in (no)" in result["msg"]
    assert "two" not in target.kept


# As a play


def test_the_playbook(fleet: Fleet) -> None:
    tenants = [fleet.tenant(), fleet.tenant()]
    for tenant in tenants:
        tenant.inventory = fleet.inventory
        tenant.bind()
        use(tenant, FILES)
        provisioned(tenant)
    moved, refused = tenants
    kept = entry({"current": {"client_secret": "of someone else", "made_at": "2026-01-02T03:04:05+00:00"}})
    store(refused, SEALED).write(NAME, kept, None)
    play = Play("store_move", ("-e", json.dumps({"halo_store_to": SEALED})))
    watched = fleet.play(tenants, play)
    assert watched.status != 0
    assert not watched[moved].failed, watched[moved].message
    assert watched[refused].failed
    expected = f"store: {said(moved, FILES)} instead of {said(moved, SEALED)}"
    assert f"{moved.name}: {NAME} changed: {expected}" in watched.stdout
    assert "the target holds another secret of it" in watched.stdout
    assert entries(moved, SEALED) == entries(moved, FILES)
    assert not go(moved, target=SEALED)["changed"]
