# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulation's schedules with each real store: at every call it must say what its look-alike says.

``--schedules N`` says how many are played with each, fewer with a slow one. A failing one names itself; on a store in
memory ``replay("...")`` plays it again, see tests/unit/test_simulation.py.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.simulation import CASES, Violation, replay
from helpers.store_kits import KITS, Kit

SEED = 20261125
FAULTS = ("kill", "kill", "error", "error", "lost", "lost", "refused", "broken", "deny", "late", "late_kill")
FLAGS = ("", "+disable", "+delete+deliver", "+own_id+deliver", "+own_secret+disable+deliver")
# of stores that take long one schedule in so many
SHARES = {"pass": 12, "sops": 12, "controller_host": 12, "aws_secrets_manager": 3}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("kit_class", [pytest.param(kit, id=f"on-{title}") for title, kit in KITS.items()])


def drawn(number: int) -> list[str]:
    """Each case once, in chance order, before any of them comes again; a run meets with one fault or none."""
    dice = random.Random(SEED)
    heads: list[str] = []
    while len(heads) < number:
        heads += dice.sample(list(CASES), len(CASES))
    lines = []
    for head in heads[:number]:
        faults = [f"{dice.randint(1, 14)}:{kind}" for kind in dice.sample(FAULTS, 2)]
        faults = [f"{one}@{dice.randint(1, 9)}" if ":late" in one else one for one in faults]
        lines.append("; ".join([head + dice.choice(FLAGS), *faults]))
    return lines


def test_a_store_behaves_in_every_schedule_as_its_look_alike(
    kit_class: type[Kit],
    servers: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    lines = drawn(-(-request.config.getoption("schedules") // SHARES.get(kit_class.title, 1)))
    for number, line in enumerate(lines):
        place = folder / str(number)
        place.mkdir()
        kit = kit_class(servers, place, f"t-{uuid.uuid4()}")
        try:
            for variable, value in kit.environment.items():
                monkeypatch.setenv(variable, value)
            replay(line, kit.open())
        except Violation as violation:
            pytest.fail(f'{violation}: replay("{line}")')
        finally:
            kit.close()
        capsys.readouterr()
    record_property("schedules", len(lines))
