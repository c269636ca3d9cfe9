# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pairs of ansible-core and Python that this collection supports, and an environment for each."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"

# The Pythons of a version of ansible-core, the one that it is tried on first in front.
PAIRS = {
    "2.16": ("3.11", "3.12"),
    "2.17": ("3.12",),
    "2.18": ("3.11",),
    "2.19": ("3.12", "3.11", "3.13"),
    "2.20": ("3.13",),
    "2.21": ("3.13", "3.12", "3.14"),
    "2.22": ("3.13", "3.14"),
}
# Those that every change is tried on: the ends, what most people have, and the first with the new templating.
FEW = ("2.16", "2.19", "2.21", "2.22")
# Of what is not released yet: the pre-release that may be installed. Only a specifier that names one lets it in.
PRE_RELEASES = {"2.22": "rc1"}


class NotHere(Exception):
    """The Python of a pair is not on this machine."""


def arguments() -> tuple[list[str], list[str]]:
    """The arguments of the program in front of a lone "--", and those after it, which are for the tool that it runs."""
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    return given[:cut], given[cut + 1 :]


@functools.cache
def interpreter(python: str) -> str:
    """The path of a Python of that version. Raises NotHere."""
    found = subprocess.run([ROOT / "tools/pick_python.sh", python], check=False, capture_output=True, text=True)
    if found.returncode:
        raise NotHere(found.stderr.strip())
    return found.stdout.strip()


def first_python(core: str) -> str:
    """The version of Python to use where one is enough for that version of ansible-core. Raises NotHere."""
    for python in PAIRS[core]:
        try:
            interpreter(python)
        except NotHere:
            continue
        return python
    raise NotHere(f"ansible-core {core} needs Python {' or '.join(sorted(PAIRS[core]))}, and none of them is here.")


@functools.cache
def _uv() -> str | None:
    folder = BUILD / "uv"
    for python in ("3.13", "3.12", "3.11"):
        try:
            command = [str(ROOT / "tools/venv.sh"), str(folder), interpreter(python), "uv"]
        except NotHere:
            continue
        return str(folder / "bin/uv") if subprocess.run(command, check=False).returncode == 0 else None
    return None


def environment(core: str, python: str) -> Path:
    """Make or update the environment of a pair, with what the tests need. Gives its folder; raises NotHere."""
    path = interpreter(python)
    folder = BUILD / "pairs" / f"core{core}-py{python}"
    with _alone():
        _install(core, path, folder)
    return folder


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Lets one process at a time make environments: make runs several checks side by side."""
    lock = BUILD / "pairs.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(core: str, path: str, folder: Path) -> None:
    env = {**os.environ, "UV": _uv() or "", "UV_PYTHON_DOWNLOADS": "never"}
    command = [
        str(ROOT / "tools/venv.sh"),
        str(folder),
        path,
        f"ansible-core~={core}.0{PRE_RELEASES.get(core, '')}",
        "--requirement=requirements/test.txt",
    ]
    subprocess.run(command, check=True, cwd=ROOT, env=env)
