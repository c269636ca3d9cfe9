# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection in the two shapes that the tools want, below .build: as a program, the link."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
PLACE = Path("ansible_collections/haloops/halo")


def link() -> Path:
    """Make .build/link: the checkout itself, under the path by which Ansible finds a collection."""
    path = BUILD / "link" / PLACE
    path.parent.mkdir(parents=True, exist_ok=True)
    # The Makefile names this file in ANSIBLE_CONFIG, so that nobody's own settings count.
    (BUILD / "ansible.cfg").write_text("", encoding="utf-8")
    if path.is_symlink() and path.resolve() == ROOT:
        return path
    path.unlink(missing_ok=True)
    path.symlink_to(ROOT, target_is_directory=True)
    return path


def files() -> list[str]:
    """What git has or would add, as paths below the checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Git still lists what was deleted until it is told.
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def place(name: str) -> Path:
    """Where a copy of that name is. ansible-test refuses a symbolic link."""
    return BUILD / "copy" / name / PLACE


def begin_repository(path: Path) -> None:
    """Keep ansible-test from finding the checkout's repository, by which .build is ignored, and skipping everything."""
    subprocess.run(["git", "init", "--quiet", str(path)], check=True)
    # Its own output is none of the collection's, which older versions test as if it were.
    (path / ".git/info/exclude").write_text("/tests/output/\n", encoding="utf-8")


def copy(name: str) -> Path:
    """Make .build/copy/NAME anew, of files() and nothing else."""
    path = place(name)
    if path.exists():
        shutil.rmtree(path)
    for name in files():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    begin_repository(path)
    return path


if __name__ == "__main__":
    print(link())
