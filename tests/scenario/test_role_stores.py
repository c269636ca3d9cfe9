# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example stores, run for real: pass with GnuPG, and HashiCorp Vault's KV version 2 as a stand-in speaks it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from role_runner import CHECK, REAL, Fleet, Tenant

STORES = Path(__file__).resolve().parent.parent.parent / "examples" / "stores"
NAME = "Ansible integration"
Entries = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=1) as sandbox:
        yield Fleet(sandbox, Path(folder))


def lives(fleet: Fleet, store: str, entries: Entries, break_it: Callable[[], object], **environment: str) -> None:
    """A binding is provisioned, provisioned again, given another agent; the store breaks."""
    tenant = fleet.tenant()
    tenant.more["halo_integration_store"] = str(STORES / store)
    tenant.bind(name="Büro / ../../ -x")
    tenant.bind()

    def run(**how: Any) -> Any:
        return fleet.run([tenant], environment=environment, **how)[tenant.name]

    foretold = run(go=CHECK)
    assert not foretold.failed, foretold.message
    assert f"{NAME}: would make a new secret (created)" in foretold.stdout
    assert entries() == []
    made = run(go=REAL)
    assert not made.failed, made.message
    assert len(entries()) == 2
    again = run(go=REAL)
    assert again.quiet, (again.message, again.names)
    before = entries()
    tenant.bind("api-successor")
    foretold = run(go=CHECK)
    assert f"{NAME}: would make a new secret (agent_changed)" in foretold.stdout
    assert entries() == before
    made = run(go=REAL)
    assert not made.failed, made.message
    (new,) = [one for one in entries() if one["current"]["agent_name"] == "api-successor"]
    (old,) = [one for one in before if one not in entries()]
    assert (new["pending"], new["previous"]) == (None, old["current"])
    assert valid(tenant, new)
    again = run(go=REAL)
    assert again.quiet, (again.message, again.names)
    state = tenant.state
    break_it()
    broken = run(go=REAL)
    assert broken.failed
    assert not broken.writes
    assert tenant.state == state


def valid(tenant: Tenant, entry: dict[str, Any]) -> bool:
    current = entry["current"]
    return bool(tenant.logs_in(current["client_id"], current["client_secret"]) == int(current["agent_id"]))


@pytest.mark.skipif(not (shutil.which("pass") and shutil.which("gpg")), reason="pass and gpg are not installed")
def test_pass(fleet: Fleet) -> None:
    keys, kept = fleet.folder / "gpg", fleet.folder / "pass"
    keys.mkdir(mode=0o700)
    environment = {"GNUPGHOME": str(keys), "PASSWORD_STORE_DIR": str(kept)}

    def do(*command: str) -> str:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def entries() -> list[dict[str, Any]]:
        files = sorted(kept.rglob("*.gpg"))
        assert not any(b"client_secret" in path.read_bytes() for path in files)
        return [json.loads(do("pass", "show", str(path.relative_to(kept).with_suffix("")))) for path in files]

    do(
        "gpg",
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--quick-gen-key",
        "halo@example.com",
        "default",
        "default",
        "never",
    )
    try:
        do("pass", "init", "halo@example.com")
        lives(
            fleet,
            "pass",
            entries,
            lambda: shutil.move(keys / "private-keys-v1.d", fleet.folder / "gone"),
            **environment,
        )
    finally:
        do("gpgconf", "--kill", "gpg-agent")


class KeyValue(BaseHTTPRequestHandler):
    """As much of Vault's KV version 2 as the example asks for."""

    kept: dict[str, Any]
    sealed: bool

    def do_GET(self) -> None:
        if self.sealed:
            self._answer(503, {"errors": ["Vault is sealed"]})
        elif self.path in self.kept:
            self._answer(200, {"data": {"data": self.kept[self.path], "metadata": {"version": 1}}})
        else:
            self._answer(404, {"errors": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert re.fullmatch(r"/v1/secret/data/halo/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+", self.path), self.path
        self.kept[self.path] = body["data"]
        self._answer(200, {"data": {"version": 1}})

    do_PUT = do_POST

    def _answer(self, status: int, value: Any) -> None:
        assert self.headers["X-Vault-Token"] == "root"
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        pass


def _installed() -> bool:
    try:
        found = importlib.util.find_spec("ansible_collections.community.hashi_vault.plugins")
    except ModuleNotFoundError:
        found = None
    return bool(found and importlib.util.find_spec("hvac"))


@pytest.mark.skipif(not _installed(), reason="community.hashi_vault or hvac is not installed")
def test_hashi_vault(fleet: Fleet) -> None:
    handler = type("Handler", (KeyValue,), {"kept": {}, "sealed": False})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        environment = {"VAULT_ADDR": f"http://127.0.0.1:{server.server_port}", "VAULT_TOKEN": "root"}
        try:
            lives(
                fleet,
                "hashi_vault",
                lambda: list(handler.kept.values()),  # type: ignore[attr-defined]
                lambda: setattr(handler, "sealed", True),
                **environment,
            )
        finally:
            server.shutdown()
            thread.join()
