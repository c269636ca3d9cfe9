# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What outlives a run: a module whose task timed out, a worker in a process group of its own."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def running(mark: str) -> list[int]:
    """The processes that have ``mark`` (``NAME=value``) in the environment that they were started with."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def wait(mark: str, seconds: float = 60) -> None:
    """Wait until none of them is left."""
    end = time.monotonic() + seconds
    while found := running(mark):
        assert time.monotonic() < end, f"still running: {found}"
        time.sleep(0.02)
