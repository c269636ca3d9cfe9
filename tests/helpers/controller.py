# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller in a process of its own, whose runs may be killed: it forks one for each run, as ansible-playbook does.

As a program (``python -m helpers.controller``) it reads a request a line, ``{args, variables, folder, environment,
vault_password, die, at}``, and answers with lines ``{pid}``, ``{result}`` unless the run was killed, and ``{status}``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers import in_process

TESTS = Path(__file__).resolve().parent.parent
STORES = "ansible_collections.haloops.halo.plugins.plugin_utils.stores"


class Controller:
    """Starts runs, one at a time.

    :param prefix: a command that runs the program, for a host name and a process namespace of its own
    """

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        paths = os.pathsep.join([str(TESTS), str(TESTS / "sandbox")])
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "helpers.controller"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def start(
        self,
        args: Mapping[str, Any],
        variables: Mapping[str, Any],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        vault_password: str | None = None,
        die: Mapping[str, Any] | None = None,
        at: float = 0.0,
    ) -> int:
        """Start a run of ``halo_binding``; returns its process id, as the controller sees it.

        Whatever it starts has that in its environment, as ``HELPERS_RUN``.

        :param environment: what the run has in its environment besides
        :param die: ``{write: n, when: before, between or after}``: it kills itself at its n-th write to the store
        :param at: when to begin, in seconds since the epoch
        """
        request = {
            "args": args,
            "variables": variables,
            "folder": str(folder),
            "environment": dict(environment or {}),
            "vault_password": vault_password,
            "die": die,
            "at": at,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._read()["pid"])

    def finish(self) -> dict[str, Any] | None:
        """The result of the run that was started; None where it was killed."""
        result: dict[str, Any] | None = None
        while "status" not in (line := self._read()):
            result = line["result"]
        assert result is not None or os.WIFSIGNALED(line["status"]), line
        return result

    def _read(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _die(*_args: object, **_names: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _deadly(store: str, write: int, when: str) -> None:
    """Let this process die at a write to the store: before it, in its midst, or after it."""
    found = importlib.import_module(STORES).store_class(store)
    files = importlib.import_module(f"{STORES}._files")
    place, name = (files, "_replace") if issubclass(found, files.FileStore) else (found, "_put")
    real, count = getattr(place, name), 0

    def put(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == write and when == "before":
            _die()
        if count == write and when == "between":
            _die_in_a_write(store)
        result = real(*args)
        if count == write:
            _die()
        return result

    setattr(place, name, put)


def _die_in_a_write(store: str) -> None:
    """With the draft on the disk; with the program at work; with the first answer of the server on its way."""

    def communicate(process: Any, content: bytes, _timeout: float) -> None:
        process.stdin.write(content)
        process.stdin.close()
        _die()

    connections = importlib.import_module("urllib3.connection").HTTPConnection
    real = connections.getresponse

    def answer(connection: Any) -> None:
        real(connection)
        _die()

    if store in ("file", "vault_file"):
        os.replace = _die
    elif store == "command":
        subprocess.Popen.communicate = communicate  # type: ignore[method-assign,assignment]
    else:
        connections.getresponse = answer


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**what: Any) -> None:
        out.write(json.dumps(what, default=str) + "\n")
        out.flush()

    # what is loaded now is not loaded in each run
    with tempfile.TemporaryDirectory() as folder:
        in_process.task("halo_binding", {"bindings": []}, {"halo_integration_store": "file"}, Path(folder))
    for name in ("aws_secrets_manager", "command", "file", "hashi_vault", "vault_file"):
        importlib.import_module(f"{STORES}.{name}")
    for library in ("hvac", "boto3", "botocore.config"):
        importlib.import_module(library)
    importlib.import_module("helpers.store_kits").describe_aws_once()
    for line in sys.stdin:
        request = json.loads(line)
        wait, go = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.read(wait, 1)
                os.environ["HELPERS_RUN"] = str(os.getpid())
                if request["die"]:
                    _deadly(request["variables"]["halo_integration_store"], **request["die"])
                time.sleep(max(0.0, request["at"] - time.time()))
                say(
                    result=in_process.task(
                        "halo_binding",
                        request["args"],
                        request["variables"],
                        Path(request["folder"]),
                        environment=request["environment"],
                        vault_password=request["vault_password"],
                    )
                )
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        say(pid=pid)
        os.write(go, b".")
        say(status=os.waitpid(pid, 0)[1])
        os.close(wait)
        os.close(go)


if __name__ == "__main__":
    main()
