# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a command costs: the CPU time of all its processes, wall time, and the most memory of its first process."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import subprocess
import threading
import time
import typing as t

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_SECONDS = 0.02
ORPHANS_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Cost:
    """CPU time (user and system) and wall time in seconds, peak resident memory of the first process in KiB."""

    status: int
    cpu: float
    wall: float
    peak: int


def adopt_orphans() -> None:
    """Have processes whose parent ends become children of this one, so that their CPU time can be counted (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command: t.Sequence[str], *, output: t.IO[str], env: t.Mapping[str, str], cwd: str) -> Cost:
    """Run a command to its end.

    The system adds what a process and its children used to the account of whoever waits for them; a child that outlives
    the command is waited for too.
    """
    others = _children()
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=dict(env), cwd=cwd
    )
    memory = _Memory(process.pid)
    memory.start()
    _pid, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.join()
    cpu = used.ru_utime + used.ru_stime
    for pid in _children() - others:
        cpu += _reap(pid)
    return Cost(process.returncode, cpu, wall, memory.peak)


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


def _reap(pid: int) -> float:
    until = time.monotonic() + ORPHANS_SECONDS
    while time.monotonic() < until:
        found, _status, used = os.wait4(pid, os.WNOHANG)
        if found:
            return used.ru_utime + used.ru_stime
        time.sleep(SAMPLE_SECONDS)
    raise RuntimeError(f"process {pid} outlived the command that started it")


class _Memory(threading.Thread):
    """Reads the peak of a process again and again: it is gone when the process is."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._path = f"/proc/{pid}/status"
        self.peak = 0

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with open(self._path, encoding="ascii") as file:
                    found = [line for line in file if line.startswith("VmHWM:")]
                if not found:
                    return
                self.peak = int(found[0].split()[1])
                time.sleep(SAMPLE_SECONDS)
