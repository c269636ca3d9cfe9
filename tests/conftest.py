# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all tests need: the collection and the sandbox where Python and Ansible find them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parent.parent
# One worker takes a whole file: these first, or the other workers wait for them in the end.
LONGEST = (
    "test_kills.py",
    "test_leak_scene.py",
    "test_leaks.py",
    "test_simulation.py",
    "test_execution.py",
    "test_conformance.py",
    "test_races.py",
    "test_store_servers.py",
    "test_jobs.py",
    "test_faults.py",
    "test_role_plays.py",
    "test_fleet.py",
    "test_role.py",
)
sys.path.insert(0, str(ROOT / "tests" / "sandbox"))
if "ANSIBLE_COLLECTIONS_PATH" not in os.environ:
    # make sets it; this is for a pytest that was started by hand
    subprocess.run([sys.executable, str(ROOT / "tools" / "tree.py")], check=True, stdout=subprocess.DEVNULL)
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".build" / "link")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-minutes", type=float, default=0, help="how long test_fuzz.py goes on; 0: a sample")


def pytest_xdist_auto_num_workers() -> int:
    # some tests wait for what they have delayed
    return 1 + (os.cpu_count() or 1)


class PerStore(LoadFileScheduling):
    """One worker takes a whole file, apart from tests whose id begins with a store: of those it takes one store's."""

    def _split_scope(self, nodeid: str) -> str:
        store = re.search(r"\[on-\w+", nodeid)
        return super()._split_scope(nodeid) + (store[0] if store else "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return PerStore(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: -LONGEST.index(item.path.name) if item.path.name in LONGEST else 1)


@pytest.fixture(autouse=True)
def _no_halo_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The HALO_* variables and proxies of whoever runs the tests stay out of them."""
    for name in list(os.environ):
        if name.startswith("HALO_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
