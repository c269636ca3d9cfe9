# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings the collection awx.awx into .build/awx, and says what options its modules have.

It is taken out of the package `ansible`, which has it up to version 13: that is where it comes from without Galaxy. The
whole package would be ten thousand files more. As a program: `awx.py` brings it, `awx.py specs` prints the options.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import tree

PACKAGE = "ansible==12.3.0"
FOLDER = tree.BUILD / "awx"
COLLECTION = FOLDER / "ansible_collections/awx/awx"


def bring() -> Path:
    """Make .build/awx, unless it is there; gives the path of the folder that Ansible is to look in."""
    if not (COLLECTION / "MANIFEST.json").exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            # an environment made by uv has no pip
            subprocess.run([sys.executable, "-m", "venv", f"{folder}/pip"], check=True)
            pip = [f"{folder}/pip/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
            subprocess.run([*pip, "--no-deps", "--dest", folder, PACKAGE], check=True)
            (archive,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(archive) as file:
                prefix = str(COLLECTION.relative_to(FOLDER)) + "/"
                file.extractall(FOLDER, [name for name in file.namelist() if name.startswith(prefix)])
    return FOLDER


def needed() -> list[str]:
    """The modules that controller_setup.yml uses."""
    found = [re.findall(r"awx\.awx\.(\w+):", path.read_text(encoding="utf-8")) for path in
             sorted((tree.ROOT / "playbooks/tasks").glob("controller_*.yml"))]  # fmt: skip
    return sorted({name for names in found for name in names})


class _Captured(BaseException):
    pass


def specs() -> dict[str, Any]:
    """The options of those modules, apart from those of the connection, and where they are from."""
    sys.path.insert(0, str(bring()))
    package = "ansible_collections.awx.awx.plugins"
    api = importlib.import_module(f"{package}.module_utils.controller_api").ControllerAPIModule

    def capture(self: Any, argument_spec: dict[str, Any], **constraints: Any) -> None:
        raise _Captured({"options": argument_spec, **constraints})

    api.__init__ = capture
    found = {}
    for name in needed():
        try:
            importlib.import_module(f"{package}.modules.{name}").main()
        except _Captured as captured:
            found[name] = captured.args[0]
    info = json.loads((COLLECTION / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]
    source = {"collection": f"{info['namespace']}.{info['name']}", "version": info["version"], "from": PACKAGE}
    return {**source, "modules": found}


if __name__ == "__main__":
    if sys.argv[1:] == ["specs"]:
        print(json.dumps(specs(), indent=1, sort_keys=True))
    else:
        print(bring())
