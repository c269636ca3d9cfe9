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


def copy(name: str) -> Path:
    """Make .build/copy/NAME anew, of files() and nothing else. ansible-test refuses a symbolic link."""
    path = BUILD / "copy" / name / PLACE
    if path.exists():
        shutil.rmtree(path)
    for name in files():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    # Without a repository of its own ansible-test finds the checkout's, where .build is ignored, and skips everything.
    subprocess.run(["git", "init", "--quiet", str(path)], check=True)
    return path


if __name__ == "__main__":
    print(link())
