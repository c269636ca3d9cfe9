# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ansible-builder makes of the collection: its requirements, and the context of an image. No image is built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent


def builder(*args: str) -> str:
    command = [str(Path(sys.executable).parent / "ansible-builder"), *args]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_it_finds_the_requirements_of_the_installed_collection() -> None:
    found = yaml.safe_load(builder("introspect", os.environ["ANSIBLE_COLLECTIONS_PATH"]))
    assert [line.split("#")[0].strip() for line in found["python"]] == (ROOT / "requirements.txt").read_text().split()


def test_it_makes_the_context_of_an_image_with_the_collection_and_the_stores_libraries(tmp_path: Path) -> None:
    builder("create", "-f", "execution-environment.yml", "-c", str(tmp_path), "--output-filename", "Containerfile")
    made = tmp_path / "_build"
    python = {line.split(">=")[0] for line in (made / "requirements.txt").read_text().split()}
    assert python == {"requests", "hvac", "boto3"}
    (collection,) = yaml.safe_load((made / "requirements.yml").read_text())["collections"]
    assert collection == {"name": "https://github.com/haloops/haloops.halo.git", "type": "git"}
    steps = (tmp_path / "Containerfile").read_text()
    assert "ansible-galaxy collection install" in steps
    assert "introspect" in steps
