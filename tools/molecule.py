# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the Molecule scenario that users can copy, on the archive: against the instance of HALO_URL, or the sandbox.

Every action of it has to do something: Molecule only warns where a playbook is missing.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

from build import built, unpack
from halo_sandbox.testing import Sandbox
from pairs import BUILD

ACTIONS = ("syntax", "converge", "idempotence", "verify", "cleanup")


def environment(sandbox: Sandbox | None) -> dict[str, str]:
    """What the scenario has in its environment: the first tenant of the sandbox, if it is to be that."""
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(BUILD / "copy/molecule"),
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    if sandbox:
        tenant = next(iter(sandbox.tenants.values()))
        env.update({f"HALO_{name.upper()}": tenant[name] for name in ("url", "client_id", "client_secret")})
    return env


def main() -> None:
    """Run the scenario. Exits with a message if an action of it failed or was left out."""
    folder = unpack(built(), "molecule") / "extensions"
    with contextlib.ExitStack() as stack:
        sandbox = None if os.environ.get("HALO_URL") else stack.enter_context(Sandbox(tenants=1))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("molecule")), "test"],
            cwd=folder,
            env=environment(sandbox),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        left = sandbox.state(next(iter(sandbox.tenants))) if sandbox else {}
    print(done.stdout)
    successful = re.findall(r"^default > (\w+): Executed: Successful$", done.stdout, re.MULTILINE)
    missing = [action for action in ACTIONS if action not in successful]
    if done.returncode or missing:
        sys.exit(f"molecule: status {done.returncode}; not done: {', '.join(missing) or 'nothing'}")
    if "molecule" in str(left).lower():
        sys.exit("molecule: its agent or its application is still there")


if __name__ == "__main__":
    main()
