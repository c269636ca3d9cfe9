# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What scenario tests share: a sandbox per file, and a play that is run in both ways of execution."""

from __future__ import annotations

import itertools
import json
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from helpers import conformance
from helpers.playbook import Run, run

GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Play = Callable[..., Run]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, help="how many runs test_kills.py kills with each store")
    parser.addoption(
        "--races", type=int, default=6, help="how often two controllers race in test_races.py, in each store"
    )
    parser.addoption("--schedules", type=int, default=12, help="how many test_store_schedules.py plays with each store")
    parser.addoption("--faults", default="short", help="which faults are tried: short, all, every, or a text")
    parser.addoption("--all-jobs", action="store_true", help="let test_jobs.py run what takes longer, too")
    parser.addoption("--interference", default="short", help="what test_interference.py tries: short, all, or a text")
    parser.addoption("--leaks", default="short", help="how much test_leak_scene.py runs: short or whole")
    parser.addoption("--fleet", type=int, default=21, help="of how many tenants the fleets of test_fleet.py are")
    parser.addoption("--forks", type=int, default=8, help="of the runs of test_fleet.py")
    parser.addoption("--store", action="append", help="which store test_kills.py and test_races.py take")
    parser.addoption("--write-conformance", action="store_true", help="write the table of test_conformance.py anew")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("write_conformance"):
        from helpers.store_kits import KITS

        cells = [
            value
            for report in terminalreporter.stats.get("passed", [])
            for name, value in report.user_properties
            if name == "conformance"
        ]
        terminalreporter.write_line(conformance.write(cells, KITS))


@pytest.fixture(scope="session")
def servers() -> Iterator[Any]:
    from helpers.store_kits import Servers

    with Servers() as found:
        yield found


@pytest.fixture
def kit(request: pytest.FixtureRequest, servers: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store with nothing in it; its class is the parameter."""
    for variable in [name for name in os.environ if name.startswith(("VAULT_", "AWS_", "BAO_"))]:
        monkeypatch.delenv(variable)
    made = request.param(servers, folder, f"t-{uuid.uuid4()}")
    for variable, value in made.environment.items():
        monkeypatch.setenv(variable, value)
    yield made
    made.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: ansible-core makes a socket below it, whose path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="halo-") as name:
        yield Path(name)


@pytest.fixture
def play(sandbox: Sandbox, folder: Path) -> Play:
    """Run tasks in this one way of execution: ``play(tasks, in_process=...)``; see helpers.playbook.run."""
    numbers = itertools.count()
    return lambda tasks, **how: run(sandbox, folder / str(next(numbers)), tasks, **how)


def comparable(done: Run) -> Iterator[dict[str, Any]]:
    """The steps without what differs by chance: new GUIDs are numbered, and requests for tokens left out."""
    for step in done.steps:
        whole = {
            "name": step.name,
            "items": step.items,
            "requests": [entry for entry in step.requests if entry["kind"] not in ("token", "authinfo")],
            "state_changed": step.state_changed,
        }
        yield json.loads(_numbered(json.dumps(whole, sort_keys=True)), object_hook=_unmarked)


def _unmarked(result: dict[str, Any]) -> dict[str, Any]:
    """Without ansible-core's mark of what was parsed from a module's output, which 2.19 leaves in a registered loop,
    and 2.22 under another name."""
    return {name: value for name, value in result.items() if name not in ("_ansible_parsed", "ansible_parsed")}


def _numbered(text: str) -> str:
    seen: dict[str, str] = {}
    return GUID.sub(lambda found: seen.setdefault(found.group(), f"<{len(seen)}>"), text)
