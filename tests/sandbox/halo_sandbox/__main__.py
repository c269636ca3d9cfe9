# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m halo_sandbox --port P --tenants N [--data DIR] [--tls] [--latency-ms N] [--parent-pid PID]``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from aiohttp import web

from .app import Sandbox
from .seed import tenant_names
from .tls import server_context

_HOST = "127.0.0.1"
_WATCH_SECONDS = 0.5


def _arguments() -> argparse.Namespace:
    def count(text: str) -> int:
        if int(text) < 1:
            raise ValueError
        return int(text)

    parser = argparse.ArgumentParser(prog="halo_sandbox", description="A multi-tenant look-alike of the Halo REST API.")
    parser.add_argument("--port", type=int, default=8765, help="port on 127.0.0.1; 0 chooses a free one (default 8765)")
    parser.add_argument("--tenants", type=count, default=3, help="number of tenants (default 3)")
    parser.add_argument("--data", type=Path, help="directory that keeps the state; without it nothing is kept")
    parser.add_argument("--tls", action="store_true", help="serve https with a certificate made at start")
    parser.add_argument("--latency-ms", type=float, help="delay of every answer, in milliseconds")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    return parser.parse_args()


async def _until_gone(pid: int) -> None:
    # A parent that nobody has waited for yet still answers to kill(0): for a child the change of its parent counts.
    child = os.getppid() == pid
    while os.getppid() == pid if child else _alive(pid):
        await asyncio.sleep(_WATCH_SECONDS)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _serve(arguments: argparse.Namespace, directory: Path) -> None:
    sandbox = Sandbox(directory, tenant_names(arguments.tenants), arguments.latency_ms)
    context, ca_path = server_context(directory) if arguments.tls else (None, None)
    runner = web.ServerRunner(web.Server(sandbox.handle, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await web.TCPSite(runner, _HOST, arguments.port, ssl_context=context, backlog=1024).start()
        port = runner.addresses[0][1]
        sandbox.url = f"{'https' if context else 'http'}://{_HOST}:{port}"
        ready = {"url": sandbox.url, "tenants": sandbox.tenants()}
        if ca_path:
            ready["ca_path"] = str(ca_path.resolve())
        print(json.dumps(ready), flush=True)
        if arguments.parent_pid:
            watch = asyncio.ensure_future(_until_gone(arguments.parent_pid))
            watch.add_done_callback(lambda _task: stop.set())
        await stop.wait()
    finally:
        await runner.cleanup()
        sandbox.store.close()


def main() -> int:
    arguments = _arguments()
    with contextlib.ExitStack() as stack:
        if arguments.data:
            directory = arguments.data
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halo-sandbox-")))
        try:
            asyncio.run(_serve(arguments, directory))
        except OSError as error:
            print(f"halo_sandbox: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
