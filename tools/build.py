# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the collection's archive into dist, from what git has or would add, and looks at what is in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import tree

DIST = tree.ROOT / "dist"
# What may be at the top of the archive. What is for developers alone stays out: see build_ignore in galaxy.yml.
WANTED = {
    *("CHANGELOG.rst", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"),
    *("SECURITY.md", "changelogs", "docs", "examples", "execution-environment.yml", "extensions", "meta", "playbooks"),
    *("plugins", "requirements.txt", "roles", "tests"),
}
# What may be below tests: ansible-test reads there which Pythons the modules are for.
TESTS = {"tests", "tests/config.yml"}


def version() -> str:
    """The version in galaxy.yml."""
    return re.findall(r"^version: (.+)$", (tree.ROOT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)[0]


def galaxy(*arguments: str) -> None:
    """Run ansible-galaxy collection of this environment. Exits if it fails."""
    command = [str(Path(sys.executable).with_name("ansible-galaxy")), "collection", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def built() -> Path:
    """Where the archive of this version is, once it is built: several checks that run side by side look at one."""
    return DIST / f"haloops-halo-{version()}.tar.gz"


def build() -> Path:
    """Build the archive and give its path. Exits if ansible-galaxy fails or the archive holds what it should not."""
    galaxy("build", "--force", "--output-path", str(DIST), str(tree.copy("build")))
    archive = built()
    with tarfile.open(archive) as file:
        names = file.getnames()
    found = {name.split("/")[0] for name in names} | {name for name in names if name.startswith("tests/")}
    if surplus := sorted(found - WANTED - TESTS):
        sys.exit(f"{archive.name} holds {', '.join(surplus)}, which is not WANTED; ignore it in galaxy.yml")
    if missing := {"plugins/modules", *TESTS} - set(names):
        sys.exit(f"{archive.name} lacks {', '.join(sorted(missing))}")
    return archive


def unpack(archive: Path, name: str) -> Path:
    """Make .build/copy/NAME anew, of what users get of that archive, and give its path."""
    path = tree.place(name)
    if path.exists():
        shutil.rmtree(path)
    # forced, since the checkout is a collection of the same version, to which nothing would have to be added
    galaxy("install", "--force", "--offline", "--collections-path", str(path.parents[2]), str(archive))
    tree.begin_repository(path)
    return path


if __name__ == "__main__":
    print(build())
