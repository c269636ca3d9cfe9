# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs galaxy-importer on the archive in dist; whatever it warns of is a failure, as it would be for Automation Hub."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from build import built
from pairs import BUILD

SETTINGS = {
    "GALAXY_IMPORTER_RUN_FLAKE8": "True",
    "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "True",
    # That needs a container engine; make sanity does it, on the same archive.
    "GALAXY_IMPORTER_RUN_ANSIBLE_TEST": "False",
}


def main(**others: str) -> None:
    """Import what make build made, with further settings. Exits with a message unless it is as Galaxy wants it."""
    archive = built()
    command = [sys.executable, "-m", "galaxy_importer.main", str(archive)]
    # It leaves importer_result.json where it runs.
    done = subprocess.run(
        command,
        cwd=BUILD,
        env={**os.environ, **SETTINGS, **others},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    findings = re.findall(r"^(?:WARNING|ERROR)\b.*", done.stdout, re.MULTILINE)
    if done.returncode or findings or "Importer processing completed successfully" not in done.stdout:
        sys.exit(f"galaxy-importer: status {done.returncode}, {len(findings)} warnings and errors")
    print(archive)


if __name__ == "__main__":
    main()
