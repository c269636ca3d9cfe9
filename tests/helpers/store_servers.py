# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers on 127.0.0.1 to test stores against, each a process of its own, and a proxy that loses connections."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

AWS_KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "example-key",
    "AWS_DEFAULT_REGION": "eu-west-2",
}
BAO = str(Path(sys.executable).with_name("bao"))
# One request after the other: what AWS does at once or not at all, its stand-in does in several steps.
MOTO = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclasses.dataclass
class Server:
    """:param printed: the file that it prints into"""

    port: int
    printed: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def unseal_key(self) -> str:
        """What opens a sealed OpenBao again."""
        found = re.search(r"Unseal Key: (\S+)", self.printed.read_text())
        assert found
        return found[1]


@contextlib.contextmanager
def _running(folder: Path, command: list[str], environment: Mapping[str, str], ready: str) -> Iterator[Server]:
    port = free_port()
    server = Server(port, folder / f"server-{port}.log")
    known = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
    with server.printed.open("w") as printed:
        arguments = [part.replace("PORT", str(port)) for part in command]
        process = subprocess.Popen(arguments, env=known, cwd=folder, stdout=printed, stderr=subprocess.STDOUT)
        try:
            _wait(process, server, ready)
            yield server
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], server: Server, path: str, token: str = "") -> None:
    end = time.monotonic() + 30
    request = urllib.request.Request(server.url + path, headers={"X-Vault-Token": token})
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5):
            return
        assert process.poll() is None, server.printed.read_text()
        assert time.monotonic() < end, server.printed.read_text()
        time.sleep(0.05)


def openbao(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """OpenBao in memory; its root token is ``root``, and KV version 2 is at ``secret``."""
    options = ["-dev", "-dev-no-store-token", "-dev-root-token-id=root", "-dev-listen-address=127.0.0.1:PORT"]
    return _running(folder, [BAO, "server", *options], {}, "/v1/sys/health")


class DurableServer(Server):
    """OpenBao with its data in files: what it has answered is there after it was killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(free_port(), folder / "openbao.log")
        self._config = folder / "openbao.json"
        self._config.write_text(
            json.dumps(
                {
                    "storage": {"raft": {"path": str(folder), "node_id": "one", "performance_multiplier": "1"}},
                    "api_addr": self.url,
                    "cluster_addr": f"http://127.0.0.1:{free_port()}",
                    "listener": {"tcp": {"address": f"127.0.0.1:{self.port}", "tls_disable": True}},
                }
            )
        )
        self.root_token = ""
        self._key = ""
        self._start()

    def ask(self, method: str, path: str, body: object) -> Any:
        request = urllib.request.Request(
            f"{self.url}/v1/{path}", json.dumps(body).encode(), {"X-Vault-Token": self.root_token}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or b"null")

    def kill_and_restart(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        known = {"PATH": os.environ["PATH"], "HOME": str(self._config.parent)}
        with self.printed.open("a") as printed:
            command = [BAO, "server", "-config", str(self._config)]
            self._process = subprocess.Popen(command, env=known, stdout=printed, stderr=subprocess.STDOUT)
        try:
            # sealed and without a key it is as well as can be
            _wait(self._process, self, "/v1/sys/health?sealedcode=200&uninitcode=200")
            if not self.root_token:
                made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
                self.root_token, self._key = made["root_token"], made["keys"][0]
            self.ask("PUT", "sys/unseal", {"key": self._key})
            _wait(self._process, self, "/v1/sys/health")
        except BaseException:
            self.close()
            raise


@contextlib.contextmanager
def durable_openbao(folder: Path) -> Iterator[DurableServer]:
    """OpenBao with KV version 2 at ``secret``, empty."""
    server = DurableServer(folder)
    try:
        server.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        # a new engine answers with an error until it is ready
        _wait(server._process, server, "/v1/secret/config", server.root_token)
        yield server
    finally:
        server.close()


def moto(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """AWS's stand-in."""
    return _running(folder, [sys.executable, "-c", MOTO, "PORT"], AWS_KEYS, "/moto-api/")


@dataclasses.dataclass
class _Rule:
    part: bytes
    response: bytes
    after: bool
    times: int
    then: Callable[[], object]


class Proxy:
    """Passes on to a server what arrives, apart from the requests for which something else was asked."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._rules: list[_Rule] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(
        self,
        part: bytes,
        *,
        after: bool,
        times: int = 1,
        response: bytes = b"",
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Break the connection at the next requests that have ``part`` in their head.

        :param after: once the server has answered; else before it gets the request
        :param response: what is said instead of the server's answer
        :param then: called when the server has been left
        """
        self._rules.append(_Rule(part, response, after, times, then))

    def answer(self, part: bytes, response: bytes) -> None:
        """Answer all such requests, instead of the server."""
        self.lose(part, after=False, times=1 << 30, response=response)

    def lost(self) -> bool:
        """Whether all that was to be lost has been."""
        return not self._rules

    def behave(self) -> None:
        self._rules.clear()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                for end in (client, server):
                    # or each end would wait for the other's acknowledgement between head and body
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                rule = self._between(client, server)
            if rule:
                # the server has been left by now: it may serve one at a time
                rule.then()
                client.sendall(rule.response)
                if rule.response:
                    # closed with something unread, the connection would take the response with it
                    client.shutdown(socket.SHUT_WR)
                    client.settimeout(5)
                    while client.recv(1 << 16):
                        pass

    def _between(self, client: socket.socket, server: socket.socket) -> _Rule | None:
        """Pass on until an end is closed, or until a rule breaks the connection."""
        rule = None
        while True:
            for end in select.select([client, server], [], [])[0]:
                data = end.recv(1 << 16)
                if end is client:
                    rule = rule or self._rule(data)
                if rule and (end is server or not rule.after):
                    return rule
                if not data:
                    return None
                (server if end is client else client).sendall(data)

    def _rule(self, data: bytes) -> _Rule | None:
        for rule in self._rules:
            if rule.part in data:
                rule.times -= 1
                if not rule.times:
                    self._rules.remove(rule)
                return rule
        return None
