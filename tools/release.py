# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepares a release: version, changelog, archive, every check of that archive, checksum, signature.

Usage: python tools/release.py VERSION [KEY]        (make release VERSION=x.y.z SIGN_KEY=...)

KEY names a secret key of GnuPG's. What is signed is MANIFEST.json, which holds the checksums of everything else: that
is the signature of a collection, which ``ansible-galaxy collection verify`` and, from a server, ``install`` know.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from build import built, galaxy, version
from pairs import ROOT
from tree import PLACE

# What the archive has to pass. The tests of the code itself were run before: nothing but version and changelog is new.
GATES = ("sanity", "importer", "certification", "molecule", "lint", "docs")

NEXT_STEPS = """
{archive} is ready, its checksum beside it. What is left, when you have read CHANGELOG.rst:

    git add --all && git commit --message "Release {version}"
    git tag --annotate {version} --message "haloops.halo {version}"
    git push --follow-tags
    ansible-galaxy collection publish {archive}
"""
SIGNED = """
Publish {signature} with it. Users who have your public key in a keyring check what they installed with

    ansible-galaxy collection verify haloops.halo --offline --keyring KEYRING --signature file:///PATH/{name}
"""


def run(*command: str, shown: bool = False) -> str:
    """Run a command in the checkout and give what it wrote, unless that is shown at once. Exits if it fails."""
    output = None if shown else subprocess.PIPE
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=output, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        undo = "git restore . && git clean --force CHANGELOG.rst"
        sys.exit(f"{done.stdout or ''}\n{' '.join(command)}: status {done.returncode}. To be where you were: {undo}")
    return done.stdout or ""


def number(text: str) -> tuple[int, ...]:
    """A version as what can be compared. Raises ValueError unless it is three numbers."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", text):
        raise ValueError(text)
    return tuple(map(int, text.split(".")))


def sign(archive: Path, key: str) -> Path:
    """Sign the archive's manifest, and verify what it installs by that. Gives its path; exits if either fails."""
    signature = archive.with_name(f"{archive.name}.asc")
    with tempfile.TemporaryDirectory() as folder:
        keyring, manifest = Path(folder, "keyring.gpg"), Path(folder, PLACE, "MANIFEST.json")
        galaxy("install", "--force", "--offline", "--collections-path", folder, str(archive))
        run("gpg", "--batch", "--yes", "--armor", "--local-user", key, "--output", str(signature), "--detach-sign",
            str(manifest))  # fmt: skip
        run("gpg", "--batch", "--output", str(keyring), "--export", key)
        galaxy("verify", "--offline", "--collections-path", folder, "--keyring", str(keyring), "--signature",
               signature.as_uri(), "--required-valid-signature-count", "+1", "haloops.halo")  # fmt: skip
    return signature


def main() -> None:
    """Check that there is something to release, then do it."""
    wanted, key = [*sys.argv[1:], "", ""][:2]
    try:
        new = number(wanted)
    except ValueError:
        sys.exit("Which version? make release VERSION=x.y.z")
    if key and not shutil.which("gpg"):
        sys.exit("To sign, install GnuPG.")
    if key:
        run("gpg", "--batch", "--list-secret-keys", key)
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
    run("make", "--no-print-directory", *GATES, shown=True)
    archive = built()
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(f"{archive.name}.sha256").write_text(f"{checksum}  {archive.name}\n", encoding="utf-8")
    signature = sign(archive, key) if key else None
    print(NEXT_STEPS.format(archive=archive.relative_to(ROOT), version=wanted))
    if signature:
        print(SIGNED.format(signature=signature.relative_to(ROOT), name=signature.name))


if __name__ == "__main__":
    main()
