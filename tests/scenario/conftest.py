# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What scenario tests share: a sandbox per file, and a play that is run in both ways of execution."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from helpers.playbook import Run, run

GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Play = Callable[..., Run]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, help="how many runs test_kills.py kills")
    parser.addoption("--races", type=int, default=10, help="how often test_races.py lets two controllers race")


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


@pytest.fixture
def everywhere(sandbox: Sandbox, play: Play) -> Play:
    """Run tasks inside the controller's worker and as shipped modules, each time on the same ground.

    Results, outcomes, requests and changes must be the same; the first of the two runs is returned.
    :param prepare: called with the sandbox before each run
    """

    def both(
        tasks: list[dict[str, Any]], prepare: Callable[[Sandbox], object] = lambda _sandbox: None, **how: Any
    ) -> Run:
        runs = []
        for in_process in (True, False):
            sandbox.reset()
            prepare(sandbox)
            runs.append(play(tasks, in_process=in_process, **how))
        here, shipped = runs
        assert here.steps, here.stderr
        assert len(here.steps) == len(shipped.steps)
        for one, other in zip(comparable(here), comparable(shipped), strict=True):
            assert one == other
        assert here.status == shipped.status
        return here

    return both


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


def _guessed(view: Any) -> Any:
    """A view as check mode would have it: ids of objects that it does not create are not known."""
    if not isinstance(view, dict):
        return view
    unknown = [name for name in ("id", "client_id") if name in view]
    return {**view, **dict.fromkeys(unknown)}


def promised(done: Run, name: str, key: str) -> dict[str, Any]:
    """Assert that the three steps of helpers.playbook.rehearsed kept their promises; returns the second's result.

    Check mode writes nothing and predicts the result; the real run writes once; the repetition changes nothing.
    :param key: of the object in the result
    """
    check, real, again = (done[f"{name}{which}"] for which in (", check", "", ", again"))
    for step in (check, real, again):
        assert step.outcome == "ok", step.result
        assert "warnings" not in step.result, step.result["warnings"]
    assert check.writes == []
    assert not check.state_changed
    assert check.result["changed"] is True
    assert len(real.writes) == 1, real.writes
    assert real.state_changed
    assert again.result["changed"] is False, again.result["diff"]
    assert again.writes == []
    assert not again.state_changed
    assert again.result["diff"]["before"] == again.result["diff"]["after"]
    if "censored" not in real.result:
        same(check.result, real.result, key)
        if real.result[key] is not None:
            assert again.result[key] == real.result[key]
    return real.result


def same(check: dict[str, Any], real: dict[str, Any], key: str) -> None:
    """Assert that check mode predicted the real result, apart from the ids that a creation gives."""
    assert real["changed"] is check["changed"] is True
    # debug, which shows a censored result, leaves out what Ansible itself adds to it
    aside = {"_ansible_no_log", "client_secret", "invocation"}
    assert set(real) - aside == set(check) - aside
    assert real.get("rotation") == check.get("rotation")
    created = not check["diff"]["before"]
    for one, other in (
        (check[key], real[key]),
        (check["diff"]["before"], real["diff"]["before"]),
        (check["diff"]["after"], real["diff"]["after"]),
    ):
        assert (_guessed(one) == _guessed(other)) if created else one == other
