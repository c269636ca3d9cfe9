# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store controller_host, against a stand-in for Controller's API."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, controller_host, open_store
from halo_sandbox.testing import Sandbox
from helpers import awx, in_process
from helpers.store_servers import Proxy, free_port

INSTANCE = "https://acme.example.com"
SECRET = "5a37c9c2-0d5e-4b0e-9a3e-7c1f0b8d2e11-9e0c7f64-2a55-4d7b-8f0a-1b2c3d4e5f60"
PASSWORD = "open sesame"
NAME = "Ticket integration"
# As someone wrote them into Controller.
VARIABLES = "halo_url: https://acme.example.com  # ours\nlist: [1, two]\n"


def label(secret: str = SECRET) -> dict[str, Any]:
    return {"client_secret": secret, "client_id": "c", "made_at": "2026-01-02T03:04:05.000006+00:00"}


def made(secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return entry({"current": label(secret), **more})


@pytest.fixture
def api() -> Iterator[awx.Awx]:
    with awx.running([]) as found:
        found.add("inventories", name="Tenants", organization=found.rows("organizations")["Default"]["id"])
        found.add("hosts", name="acme", inventory=found.rows("inventories")["Tenants"]["id"], variables=VARIABLES)
        yield found


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(controller_host.OPTIONS, "settle_seconds", {"type": "float", "default": 0.2})
    for name in ("CONTROLLER_HOST", "CONTROLLER_OAUTH_TOKEN", "CONTROLLER_VERIFY_SSL", "INVENTORY_ID"):
        monkeypatch.delenv(name, raising=False)


def opened(api: awx.Awx, *, password: str | None = PASSWORD, tenant: str = "acme", **options: Any) -> Any:
    secrets = [("default", VaultSecret(password.encode()))] if password else []
    given = {"url": api.url, "token": awx.TOKEN, "inventory": "Tenants", "host": "acme", **options}
    return open_store("controller_host", Place(INSTANCE, tenant, options=given, vault=lambda: VaultLib(secrets)))


def current(store: Any, name: str = NAME) -> str:
    return str(store.read(name)[0]["current"]["client_secret"])


def variables(api: awx.Awx) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(api.rows("hosts")["acme"]["variables"])
    return found


def test_an_entry_comes_back_whole_and_the_hosts_own_variables_stay(api: awx.Awx) -> None:
    full = made(
        pending=label("pending"),
        previous={**label("previous"), "agent_name": 'Jörg "=" \\ \n 日本語 {{ x }}'},
        outstanding={"deliver": "2026-01-02T03:04:05+00:00", "retire": [{"agent_id": "3", "made_at": "x"}]},
        attempt=3,
    )
    store = opened(api)
    assert store.read(NAME) == (entry(None), None)
    assert store.names() == []
    with store.hold():
        version = store.write(NAME, full, None)
        store.write("Other", made(), None)
    again = opened(api, inventory=str(api.rows("inventories")["Tenants"]["id"]))
    found, seen = again.read(NAME.upper() + " ")
    assert found == {**full, "binding": NAME, "instance": INSTANCE}
    assert seen == version
    assert again.names() == ["Other", NAME]
    assert opened(api, tenant="globex").names() == []
    assert {name: variables(api)[name] for name in ("halo_url", "list")} == yaml.safe_load(VARIABLES)
    for secret in (SECRET, "pending", "previous", PASSWORD):
        assert secret not in api.rows("hosts")["acme"]["variables"].replace("halo_integration_stored", "")


def test_a_write_over_what_someone_else_wrote_is_refused(api: awx.Awx) -> None:
    one, other = opened(api), opened(api)
    first = one.write(NAME, made("one"), None)
    with pytest.raises(StaleEntry):
        other.write(NAME, made("two"), None)
    second = other.write(NAME, made("three"), first)
    assert second != first
    with pytest.raises(StaleEntry):
        one.write(NAME, made("four"), first)
    assert current(one) == "three"


def test_writers_without_a_claim_lose_nothing_either(api: awx.Awx) -> None:
    def add() -> None:
        store = opened(api)
        for _number in range(2):
            while True:
                found, version = store.read(NAME)
                with contextlib.suppress(StaleEntry):
                    store.write(NAME, made(attempt=found["attempt"] + 1), version)
                    break

    threads = [threading.Thread(target=add) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened(api).read(NAME)[0]["attempt"] == 4


def test_a_write_that_someone_replaces_at_once_is_not_believed(api: awx.Awx) -> None:
    store, row = opened(api), api.rows("hosts")["acme"]
    with store.hold():
        before = row["variables"]
        api.after_write = lambda _path, _data: row.update(variables=before)
        with pytest.raises(StaleEntry, match="changed by someone else"):
            store.write(NAME, made(), None)
        api.after_write = lambda _path, _data: None


# Writes an entry, and is killed.
WRITER = """
import sys
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, _claim, open_store
_claim.SharedStore.claim_seconds, _claim.SharedStore.extend_seconds = 1, 0.3
url, token, host, instance, name, password, secret = sys.argv[1:]
options = {"url": url, "token": token, "inventory": "Tenants", "host": host, "settle_seconds": 0.1}
vault = lambda: VaultLib([("default", VaultSecret(password.encode()))])
store = open_store("controller_host", Place(instance, "acme", options=options, vault=vault))
with store.hold():
    store.write(name, entry({"current": {"client_secret": secret}}), store.read(name)[1])
"""


def test_a_writer_that_is_killed_leaves_the_old_entry_or_the_new_one(api: awx.Awx) -> None:
    opened(api).write(NAME, made("old"), None)
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    outcomes = []
    # its writes: the claim, the entry, the claim given back
    for number in range(1, 4):
        arguments = [api.url, awx.TOKEN, "acme", INSTANCE, NAME, PASSWORD, f"new {number}"]
        reached, writes = threading.Event(), itertools.count(1)

        def stop(_path: str, _data: Any, end: Any = (number, writes, reached)) -> None:
            if next(end[1]) == end[0]:
                end[2].set()
                # what is carried out now has nobody left to be told
                process.wait()  # noqa: B023  (the one of this round)

        api.before_write = stop
        process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", WRITER, *arguments], env=environment)
        assert reached.wait(60)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        api.before_write = lambda _path, _data: None
        threading.Event().wait(1.1)
        outcomes.append(current(opened(api)))
    assert outcomes == ["old", "new 2", "new 3"]
    with opened(api).hold():
        pass


def test_one_run_holds_a_tenant_and_others_do_not_wait_for_each_other(api: awx.Awx) -> None:
    store = opened(api)
    with store.hold():
        with pytest.raises(TenantBusy, match="another run is at work"), opened(api).hold():
            pass
        with opened(api, tenant="globex").hold():
            pass
    with opened(api).hold():
        pass


def test_of_runs_that_begin_in_the_same_instant_one_gets_the_tenant(api: awx.Awx) -> None:
    """All have seen that nobody holds it when the first of them writes; the others write when it has."""
    together, numbers = threading.Barrier(3), itertools.count()

    def stagger(_path: str, _data: Any) -> None:
        # later writes of the one that got it are not held up
        if (number := next(numbers)) < 3:
            together.wait(10)
            threading.Event().wait(number / 8)

    held: list[str] = []

    def race() -> None:
        store = opened(api, settle_seconds=1)
        with contextlib.suppress(TenantBusy), store.hold():
            held.append(store._claim.holder["id"])
            store.write(NAME, made(held[-1]), None)

    api.before_write = stagger
    threads = [threading.Thread(target=race) for _number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    api.before_write = lambda _path, _data: None
    assert len(held) == 1
    assert current(opened(api)) == held[0]


def test_a_killed_runs_claim_ends_by_itself(api: awx.Awx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller_host.Store, "claim_seconds", 0.5)
    killed = opened(api)
    held = killed.hold()
    held.__enter__()
    killed._claim._end.set()
    with pytest.raises(TenantBusy, match="its claim ends at"), opened(api).hold():
        pass
    wait = threading.Event()
    wait.wait(0.6)
    with opened(api).hold():
        # what was taken over cannot write any more, though it may not know
        killed._claim._good_until = float("inf")
        with pytest.raises(StaleEntry):
            killed.write(NAME, made(), None)
    assert opened(api).names() == []


@pytest.mark.parametrize("after", [False, True])
def test_a_lost_connection_loses_nothing(api: awx.Awx, after: bool) -> None:
    proxy = Proxy(int(api.url.rpartition(":")[2]))
    try:
        store = opened(api, url=proxy.url)
        with store.hold():
            version = store.write(NAME, made("before"), None)
            proxy.lose(b"PATCH", after=after)
            newer = store.write(NAME, made("after"), version)
            assert proxy.lost()
        assert store.read(NAME)[1] == newer != version
        assert current(store) == "after"
        proxy.lose(b"GET", after=after)
        assert current(store) == "after"
        assert proxy.lost()
    finally:
        proxy.close()
    with pytest.raises(HaloError, match="no answer from http"):
        opened(api, url=f"http://127.0.0.1:{free_port()}")


def test_wrong_credentials_say_so_before_anything_is_written(api: awx.Awx) -> None:
    opened(api).write(NAME, made(), None)
    before = api.objects()
    with pytest.raises(HaloError, match="token is wrong or has expired") as refused:
        opened(api, token="another token")
    assert "another token" not in str(refused.value)
    with pytest.raises(HaloError, match="needs a vault secret, and this run has none"):
        opened(api, password=None)
    with pytest.raises(HaloError, match="cannot be decrypted with the vault secrets of this run"):
        opened(api, password="open barley").read(NAME)
    with pytest.raises(HaloError, match="cannot be decrypted"):
        opened(api, password="open barley").names()
    with pytest.raises(HaloError, match="no host 'nobody' that this token can see"):
        opened(api, host="nobody")
    with pytest.raises(HaloError, match="no inventory 'Elsewhere'"):
        opened(api, inventory="Elsewhere")
    with pytest.raises(HaloError, match="did you mean inventory"):
        opened(api, inventori="Tenants")
    assert api.objects() == before


@pytest.mark.parametrize("option", ["url", "token", "inventory", "host"])
def test_an_option_that_is_missing_is_named(api: awx.Awx, option: str) -> None:
    with pytest.raises(HaloError, match=f"needs its option {option}"):
        opened(api, **{option: ""})


def test_the_environment_of_a_job_stands_in_for_options(api: awx.Awx, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(api).write(NAME, made(), None)
    monkeypatch.setenv("CONTROLLER_HOST", api.url)
    monkeypatch.setenv("CONTROLLER_OAUTH_TOKEN", awx.TOKEN)
    monkeypatch.setenv("INVENTORY_ID", str(api.rows("inventories")["Tenants"]["id"]))
    assert current(opened(api, url=None, token=None, inventory=None)) == SECRET


def test_garbage_is_not_taken_for_nothing(api: awx.Awx) -> None:
    store, row = opened(api), api.rows("hosts")["acme"]
    store.write(NAME, made(), None)
    whole = variables(api)
    ((tenant, entries),) = whole["halo_integration_stored"].items()
    ((key, found),) = [(key, found) for key, found in entries.items() if key != ".claim"]
    cipher = store._cipher
    garbage: list[tuple[Any, str]] = [
        ("[", "are no dictionary"),
        ("just text", "are no dictionary"),
        ({"halo_integration_stored": "gone"}, "is not what this store writes"),
        ({"halo_integration_stored": {tenant: {key: "text"}}}, "is not what this store writes"),
        ({"halo_integration_stored": {tenant: {key: {"version": "1"}}}}, "cannot be decrypted"),
        (
            {"halo_integration_stored": {tenant: {key: {**found, "sealed": found["sealed"][:-9]}}}},
            "cannot be decrypted",
        ),
    ]
    for content in (b"{}", b"[]", b"null", b"no JSON", b'{"tenant": "x", "binding": "y", "end": true}'):
        sealed = {"version": "1", "sealed": cipher.seal(content).decode()}
        garbage.append(({"halo_integration_stored": {tenant: {key: sealed}}}, "not all of it"))
    for there, complaint in garbage:
        row["variables"] = there if isinstance(there, str) else json.dumps(there)
        with pytest.raises(HaloError, match=complaint):
            opened(api).read(NAME)
    row["variables"] = json.dumps({"halo_integration_stored": {tenant: {"other-key": found}}})
    with pytest.raises(HaloError, match="holds another entry"):
        # an entry under the name of another one
        opened(api)._examine("other-key", {**opened(api)._get("other-key")[0], "tenant": "globex"})


def test_something_else_that_answers_is_not_taken_for_controller(api: awx.Awx) -> None:
    for api_path in ("/elsewhere", "/api"):
        with pytest.raises(HaloError, match=r"did not do it|not as Controller does"):
            opened(api, api_path=api_path)


def test_tenants_are_provisioned_and_the_next_job_is_converged(
    api: awx.Awx, sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTROLLER_HOST", api.url)
    monkeypatch.setenv("CONTROLLER_OAUTH_TOKEN", awx.TOKEN)
    monkeypatch.setenv("INVENTORY_ID", str(api.rows("inventories")["Tenants"]["id"]))
    bindings = {"bindings": [{"name": NAME, "agent": {"name": "api-tickets"}, "application": {"scopes": ["all"]}}]}
    for name, tenant in sandbox.tenants.items():
        if name not in api.rows("hosts"):
            api.add("hosts", name=name, inventory=api.rows("inventories")["Tenants"]["id"])
        known = {f"halo_{key}": tenant[key] for key in ("url", "client_id", "client_secret")}
        known |= {"halo_integration_store": "controller_host", "inventory_hostname": name}
        known |= {"halo_integration_store_options": {"host": "{{ inventory_hostname }}"}}
        first, second = (
            in_process.task("halo_binding", bindings, known, folder, vault_password=PASSWORD) for _run in range(2)
        )
        assert (first["changed"], second["changed"]) == (True, False), (first, second)
        binding = first["bindings"][NAME]
        found = in_process.lookup("credential", [NAME], known, folder, vault_password=PASSWORD)
        secret = found[0]["client_secret"]
        assert sandbox.check(name, binding["client_id"], secret)["valid"]
        assert secret not in json.dumps(api.objects())
