# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepares a release, without a network: version, changelog, archive, what Galaxy would say, checksum.

Usage: python tools/release.py VERSION        (make release VERSION=x.y.z)
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import yaml
from build import DIST, version
from pairs import ROOT

NEXT_STEPS = """
{archive} is ready, its checksum beside it. What is left, when you have read CHANGELOG.rst:

    git add --all && git commit --message "Release {version}"
    git tag --annotate {version} --message "haloops.halo {version}"
    git push --follow-tags
    ansible-galaxy collection publish {archive}
"""


def run(*command: str) -> str:
    """Run a command in the checkout and give what it wrote. Exits if it fails."""
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        undo = "git restore . && git clean --force CHANGELOG.rst"
        sys.exit(f"{done.stdout}\n{' '.join(command)}: status {done.returncode}. To be where you were: {undo}")
    return done.stdout


def number(text: str) -> tuple[int, ...]:
    """A version as what can be compared. Raises ValueError unless it is three numbers."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", text):
        raise ValueError(text)
    return tuple(map(int, text.split(".")))


def main() -> None:
    """Check that there is something to release, then do it."""
    try:
        (wanted,) = sys.argv[1:]
        new = number(wanted)
    except ValueError:
        sys.exit("Which version? make release VERSION=x.y.z")
    released = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text(encoding="utf-8"))["releases"]
    if new < number(version()) or new in map(number, released):
        sys.exit(f"{wanted} is not newer than {version()}.")
    if not list((ROOT / "changelogs/fragments").glob("*.y*ml")):
        sys.exit("changelogs/fragments is empty: there is nothing to release.")
    if changes := run("git", "status", "--porcelain"):
        sys.exit(f"Commit these first, so that the release holds what was tested:\n{changes}")

    galaxy = ROOT / "galaxy.yml"
    text = re.sub(r"^version: .+$", f"version: {wanted}", galaxy.read_text(encoding="utf-8"), flags=re.MULTILINE)
    galaxy.write_text(text, encoding="utf-8")
    print(run("antsibull-changelog", "release", "--version", wanted))
    # its own note of what there was, in a style that the linters do not like
    (ROOT / "changelogs/.plugin-cache.yaml").unlink(missing_ok=True)
    print(run("make", "importer"))
    archive = DIST / f"haloops-halo-{wanted}.tar.gz"
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(f"{archive.name}.sha256").write_text(f"{checksum}  {archive.name}\n", encoding="utf-8")
    print(NEXT_STEPS.format(archive=archive.relative_to(ROOT), version=wanted))


if __name__ == "__main__":
    main()
