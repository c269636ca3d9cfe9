# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox as a program: start, end, what it keeps, TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import halo_sandbox
import pytest
import requests
from halo_sandbox.testing import Sandbox


def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return python("-m", "halo_sandbox", *arguments, **environment)


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start Python with the package in reach, installed or not."""
    assert halo_sandbox.__file__
    path = str(Path(halo_sandbox.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def post(tenant: dict[str, str], path: str, token: str, *rows: dict[str, Any]) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{tenant['url']}/api/{path}", json=list(rows), headers=headers, timeout=10)


def token_of(tenant: dict[str, str], ca_path: str | None = None) -> str:
    form = {name: tenant[name] for name in ("client_id", "client_secret")}
    form |= {"grant_type": "client_credentials", "scope": "all"}
    answer = requests.post(f"{tenant['url']}/auth/token", data=form, timeout=10, verify=ca_path or True)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_on_stdout_and_a_clean_end(number: signal.Signals, tmp_path: Path) -> None:
    with run("--port", "0", "--tenants", "5", TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert set(ready) == {"url", "tenants"}
        names = [tenant["name"] for tenant in ready["tenants"]]
        assert names == ["acme", "globex", "initech", "tenant0004", "tenant0005"]
        assert all(set(tenant) == {"name", "url", "client_id", "client_secret"} for tenant in ready["tenants"])
        # An open connection must not hold the end up.
        with requests.Session() as session:
            assert session.get(ready["tenants"][4]["url"] + "/api/AuthInfo", timeout=10).status_code == 200
            assert list(tmp_path.iterdir())
            process.send_signal(number)
            rest, errors = process.communicate(timeout=10)
        assert (process.returncode, rest, errors) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_and_bad_arguments_are_told() -> None:
    with Sandbox() as sandbox:
        port = sandbox.url.rpartition(":")[2]
        with run("--port", port) as process:
            output, errors = process.communicate(timeout=20)
            assert (process.returncode, output) == (1, "")
            assert "address already in use" in errors
            assert "Traceback" not in errors
    with run("--tenants", "0") as process:
        assert process.wait(20) == 2


def test_state_and_credentials_survive_kill_and_restart(tmp_path: Path) -> None:
    with Sandbox(tenants=2, data=tmp_path / "data") as sandbox:
        before, url = sandbox.tenants, sandbox.url
        acme = before["acme"]
        token = token_of(acme)
        sandbox.settings("globex", auth_path="/elsewhere")
        saved = []
        for number in range(20):
            saved.append(post(acme, "Agent", token, {"name": f"Agent {number}"}).json()["id"])
            row = {"displayName": f"App {number}", "clientSecret": f"secret {number}", "loginas_agent_id": saved[-1]}
            application = post(acme, "Application", token, row).json()
        assert post(acme, "Agent", token, {"id": saved[0], "name": "Renamed"}).status_code == 201
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.delete(f"{acme['url']}/api/Agent/{saved[1]}", headers=headers, timeout=10).status_code == 200
        state = sandbox.state("acme")
        sandbox.kill()
        sandbox.start()
        assert (sandbox.tenants, sandbox.url) == (before, url)
        assert sandbox.state("acme") == state
        assert sandbox.check("acme", application["clientId"], "secret 19")["valid"]
        assert sandbox.control("GET", "settings?tenant=globex")["auth_path"] == "/elsewhere"
        assert post(acme, "Agent", token, {"name": "next"}).json()["id"] == saved[-1] + 1
        sandbox.stop()
        sandbox.start()
        assert len(sandbox.state("acme")["agents"]) == len(state["agents"]) + 1
        assert token_of(acme)


def test_every_write_that_was_answered_survives_a_kill_in_mid_flight(tmp_path: Path) -> None:
    with Sandbox(tenants=1, data=tmp_path) as sandbox:
        acme = sandbox.tenants["acme"]
        token = token_of(acme)
        answered: list[int] = []

        def write() -> None:
            with requests.Session() as session:
                session.headers["Authorization"] = f"Bearer {token}"
                while True:
                    rows = [{"name": f"a{len(answered)}"}, {"name": f"b{len(answered)}"}]
                    try:
                        saved = session.post(f"{acme['url']}/api/Agent", json=rows, timeout=10).json()
                    except requests.exceptions.RequestException:
                        return
                    answered.extend(row["id"] for row in saved)

        writers = [threading.Thread(target=write) for dummy in range(2)]
        for writer in writers:
            writer.start()
        while len(answered) < 60:
            time.sleep(0.01)
        sandbox.kill()
        for writer in writers:
            writer.join()
        sandbox.start()
        ids = [agent["id"] for agent in sandbox.state("acme")["agents"]]
        assert set(answered) <= set(ids)
        # A request is saved as a whole or not at all: the seed's six, and pairs.
        assert len(ids) % 2 == 0


def test_no_secret_is_in_the_files(tmp_path: Path) -> None:
    with Sandbox(tenants=2, data=tmp_path) as sandbox:
        acme = sandbox.tenants["acme"]
        token = token_of(acme)
        row = {"displayName": "x", "clientSecret": "very-own-secret", "new_apikey1": "very-own-key"}
        assert post(acme, "Application", token, row).status_code == 201
        assert post(acme, "Agent", token, {"name": "x", "password": "very-own-password"}).status_code == 201
        assert post(acme, "Control", token, {"client_secret_halointegrator": "very-own-integrator"}).status_code == 201
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"displayName" in content
        for secret in (token, acme["client_secret"], "very-own"):
            assert secret.encode() not in content


def test_tls(tmp_path: Path) -> None:
    with Sandbox(tenants=1, tls=True, data=tmp_path) as sandbox:
        acme = sandbox.tenants["acme"]
        assert acme["url"].startswith("https://127.0.0.1:")
        assert token_of(acme, sandbox.ca_path)
        local = acme["url"].replace("127.0.0.1", "localhost") + "/api/AuthInfo"
        assert requests.get(local, verify=sandbox.ca_path, timeout=10).json()["auth_url"] == acme["url"] + "/auth"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(local, timeout=10)
        for kind in ("reset", "truncate_after"):
            sandbox.fault(kind)
            with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
                requests.get(acme["url"] + "/api/AuthInfo", verify=sandbox.ca_path, timeout=10)
        assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0


def test_thousands_of_tenants_start_in_seconds() -> None:
    start = time.monotonic()
    with Sandbox(tenants=3000, latency_ms=20) as sandbox:
        assert time.monotonic() - start < 10
        assert list(sandbox.tenants)[-1] == "tenant3000"
        assert sandbox.control("GET", "settings?tenant=tenant3000")["latency_ms"] == 20
        assert token_of(sandbox.tenants["tenant3000"])
        assert len(sandbox.state("tenant3000")["agents"]) == 6


def test_it_ends_with_its_parent() -> None:
    text = (
        "import os, sys, time\n"
        "from halo_sandbox.testing import Sandbox\n"
        "sandbox = Sandbox(tenants=1)\n"
        "sandbox.start()\n"
        "print(sandbox.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with python("-c", text) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.1)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        # Dead, but not yet waited for by whoever inherited it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return sys.platform != "linux"


def test_a_sandbox_that_cannot_start_says_why(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RuntimeError, match="File exists"), Sandbox(data=file):
        pass
