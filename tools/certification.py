# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the archive as the certification for Automation Hub does, with the versions in requirements/certification.txt.

That is galaxy-importer on the archive, and ansible-lint with the profile production on what it holds. The sanity tests
are the third part: make sanity.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import importer
from build import built, unpack


def main() -> None:
    """Import and lint. Exits with a message if anything is not as it has to be."""
    importer.main(GALAXY_IMPORTER_RUN_ANSIBLE_LINT="False")
    folder = unpack(built(), "certification")
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder.parents[2])}
    command = [str(Path(sys.executable).with_name("ansible-lint")), "--profile=production", "--offline", "--nocolor"]
    if status := subprocess.run(command, cwd=folder, env=env, check=False).returncode:
        sys.exit(f"ansible-lint: status {status}")


if __name__ == "__main__":
    main()
