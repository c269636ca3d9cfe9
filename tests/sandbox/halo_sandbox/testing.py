# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the sandbox in a process of its own, for tests. Standard library only."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

_START_SECONDS = 60
_END_SECONDS = 10


class ControlError(Exception):
    """The control side refused a request; the text says why."""


class Sandbox:
    """A running sandbox, as a context manager.

    ``url``; ``tenants``: name -> {"name", "url", "client_id", "client_secret"}; ``ca_path`` with *tls*, else None.
    It ends with the ``with`` block, and with this process if that is killed. With *data* (a directory) ``kill()`` and
    ``start()`` may follow each other: port, state and credentials stay.
    """

    def __init__(
        self, tenants: int = 3, data: str | os.PathLike[str] | None = None, tls: bool = False, latency_ms: int = 0
    ) -> None:
        self.url = ""
        self.tenants: dict[str, dict[str, str]] = {}
        self.ca_path: str | None = None
        self._count = tenants
        self._data = data
        self._tls = tls
        self._latency_ms = latency_ms
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        # Never through a proxy, whatever the environment says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # The process

    @property
    def pid(self) -> int:
        """Process id of the running program."""
        assert self._process is not None, "the sandbox is not running"
        return self._process.pid

    def start(self) -> None:
        """Start the program and wait until it is ready; after the first time on the same port."""
        assert self._process is None, "the sandbox is running already"
        command = [sys.executable, "-m", "halo_sandbox", "--port", str(self._port), "--tenants", str(self._count)]
        command += ["--parent-pid", str(os.getpid())]
        if self._data is not None:
            command += ["--data", str(self._data)]
        if self._tls:
            command.append("--tls")
        if self._latency_ms:
            command += ["--latency-ms", str(self._latency_ms)]
        package = str(Path(__file__).resolve().parent.parent)
        paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": paths},
            )
            self._process = process
            assert process.stdout is not None
            timer = threading.Timer(_START_SECONDS, process.kill)
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            if not line:
                self.stop()
                errors.seek(0)
                raise RuntimeError(f"the sandbox did not start: {errors.read().strip() or 'no message'}")
        ready = json.loads(line)
        self.url = ready["url"]
        self.tenants = {tenant["name"]: tenant for tenant in ready["tenants"]}
        self.ca_path = ready.get("ca_path")
        self._port = urllib.parse.urlsplit(self.url).port or 0
        if self.ca_path:
            trusting = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_path))
            self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)

    def stop(self) -> None:
        """End the program in good order."""
        self._end(hard=False)

    def kill(self) -> None:
        """End the program as a crash would (SIGKILL)."""
        self._end(hard=True)

    def _end(self, hard: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if hard:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    # The control side

    def control(self, method: str, path: str, value: Any = None) -> Any:
        """One request to ``/_sandbox/{path}`` with a JSON body; returns the JSON answer. Raises ControlError."""
        request = urllib.request.Request(f"{self.url}/_sandbox/{path}", method=method)
        if value is not None:
            request.data = json.dumps(value).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
            raise ControlError(f"{method} {path}: HTTP {error.code}: {text}") from None

    def fault(self, kind: str, **spec: Any) -> int:
        """Order a fault; returns its id."""
        return int(self.control("POST", "faults", {"kind": kind, **spec})["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The faults that were ordered, each with its ``hits``."""
        found: list[dict[str, Any]] = self.control("GET", "faults")["faults"]
        return found

    def settings(self, tenant: str | None = None, **values: Any) -> dict[str, Any]:
        """Change settings of one tenant (None: of all); returns those in force then."""
        found: dict[str, Any] = self.control("PUT", "settings", {"tenant": tenant, **values})
        return found

    def requests(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """The request log, oldest first."""
        query = f"?tenant={tenant}" if tenant else ""
        found: list[dict[str, Any]] = self.control("GET", f"requests{query}")["requests"]
        return found

    def counts(self, tenant: str) -> dict[str, int]:
        """Numbers of requests of one tenant: total, GET, POST, DELETE, token, refused_writes."""
        found: dict[str, int] = self.control("GET", "counts")["tenants"][tenant]
        return found

    def writes(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """The logged requests that could have changed something, token requests aside."""
        return [entry for entry in self.requests(tenant) if entry["method"] != "GET" and entry["kind"] != "token"]

    def state(self, tenant: str) -> dict[str, Any]:
        """All agents, applications and roles of a tenant, in full, and its Control; no secrets."""
        found: dict[str, Any] = self.control("GET", f"state/{tenant}")
        return found

    def check(self, tenant: str, client_id: str, client_secret: str) -> dict[str, Any]:
        """{"valid", "agent_id"}: would the token endpoint accept these credentials now?"""
        spec = {"tenant": tenant, "client_id": client_id, "client_secret": client_secret}
        found: dict[str, Any] = self.control("POST", "check", spec)
        return found

    def put_agents(self, tenant: str, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        """Put agents straight in, past all rules; returns them in full."""
        found: list[dict[str, Any]] = self.control("POST", f"agents/{tenant}", list(rows))
        return found

    def put_applications(self, tenant: str, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        """Put applications straight in, past all rules; returns them in full."""
        found: list[dict[str, Any]] = self.control("POST", f"applications/{tenant}", list(rows))
        return found

    def expire(self, tenant: str | None = None) -> None:
        """End all access tokens of a tenant (None: of all)."""
        self.control("POST", "expire", {"tenant": tenant})

    def clear(self) -> None:
        """Forget request log, counts and faults."""
        self.control("DELETE", "requests")
        self.control("DELETE", "faults")

    def reset(self, tenant: str | None = None) -> None:
        """Rows and settings of a tenant (None: of all) back to the seed, its tokens ended; and clear()."""
        self.control("POST", "reset", {"tenant": tenant})
        self.clear()
