# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every request that the modules and the engine send, with every fault.

``--faults all`` tries each pair, in turn in one of the jobs that send the request, and writes the tables of the page on
faults; ``--faults every`` does so in every job. By default a sample has each request of each job and
each fault at least once, and its outcomes must be those of the page. ``--faults TEXT`` takes the trials whose name
holds the text, as a failure shows it.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_tables
import pytest
from ansible_collections.haloops.halo.plugins.module_utils import client, http, rotation, run
from ansible_collections.haloops.halo.plugins.module_utils.auth import Connection
from fault_matrix import FAULTS, FOR_GOOD, JOBS, LARGEST, Cell, Matrix, Request, Trap, cells
from halo_sandbox.testing import Sandbox
from role_runner import Fleet

WHOLE = ("all", "every")
SEED = 20260302
Plan = dict[str, tuple[list[Request], list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    tenants = 30_000 if request.config.getoption("faults") in WHOLE else 2_000
    with tempfile.TemporaryDirectory(prefix="halo-") as name, Sandbox(tenants=tenants) as sandbox, Trap() as trap:
        yield Matrix(Fleet(sandbox, Path(name)), trap)


@pytest.fixture(autouse=True)
def _scaled(monkeypatch: pytest.MonkeyPatch, matrix: Matrix) -> None:
    """Time, and what is too large, on a small scale."""
    real = Connection.from_params.__func__  # type: ignore[attr-defined]

    def from_params(cls: type[Connection], params: Any) -> Connection:
        made: Connection = real(cls, params)
        return dataclasses.replace(made, timeout=matrix.timeout, retry_seconds=0.2)

    monkeypatch.setattr(Connection, "from_params", classmethod(from_params))
    for module in (client, run):
        monkeypatch.setattr(module, "SETTLE", (0.01, 0.02, 0.04))
    monkeypatch.setattr(rotation, "TEST_PAUSE", 0.01)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(http, "LARGEST", LARGEST)
    monkeypatch.setattr(http.random, "uniform", lambda _low, _high: 1.0)


def chosen(every: list[Cell], which: str) -> list[Cell]:
    """The trials of this run."""
    if which == "every":
        return every
    if which == "all":
        alike: dict[Any, list[Cell]] = defaultdict(list)
        for cell in every:
            alike[cell.request, cell.fault, cell.for_good].append(cell)
        return [cells[number % len(cells)] for number, cells in enumerate(alike.values())]
    if which != "short":
        return [cell for cell in every if which in str(cell)]
    # of those that the page is written from
    shuffled = chosen(every, "all")
    random.Random(SEED).shuffle(shuffled)
    seen: set[Any] = set()
    sample = []
    for cell in shuffled:
        covers = {(cell.job, cell.request), (cell.fault, cell.for_good)}
        if covers - seen:
            seen |= covers
            sample.append(cell)
    return sample


def attempt(matrix: Matrix, cell: Cell, good: list[dict[str, Any]], expected: set[bool]) -> bool:
    """A trial; repeated with more time where the machine was too slow for the small scale."""
    for scale in (1, 4, 12):
        try:
            ok = matrix.trial(cell, good, scale)
        except AssertionError:
            if scale == 12:
                raise
        else:
            if ok in expected:
                break
    return ok


def side_by_side(
    matrix: Matrix, try_out: Callable[[Cell], bool | str], sample: list[Cell], processes: int
) -> dict[Cell, bool | str]:
    """All trials, in processes that are forked from this one: most of the time of a trial is waiting."""
    forked = multiprocessing.get_context("fork")
    done = forked.SimpleQueue()

    def work(which: int) -> None:
        matrix.fleet.take_every(processes, which)
        for number in range(which, len(sample), processes):
            try:
                done.put((number, try_out(sample[number])))
            except BaseException as error:
                done.put((number, f"{sample[number]}\n    {error!r}"))

    workers = [forked.Process(target=work, args=(which,)) for which in range(processes)]
    for worker in workers:
        worker.start()
    found = dict(done.get() for _cell in sample)
    for worker in workers:
        worker.join()
    return {cell: found[number] for number, cell in enumerate(sample)}


def test_every_fault_is_survived_or_said_and_the_next_run_converges(
    matrix: Matrix, request: pytest.FixtureRequest, record_property: Any
) -> None:
    which = request.config.getoption("faults")
    plan: Plan = {job: matrix.requests(job) for job in JOBS}
    every = [cell for job, (requests, _good) in plan.items() for cell in cells(job, requests)]
    sample = chosen(every, which)
    assert sample, f"none of the {len(every)} trials is called {which}"
    if which == "short":
        assert {cell.fault for cell in sample} == set(FAULTS)
        assert {cell.fault for cell in sample if cell.for_good} == set(FOR_GOOD)
    page = {} if which in WHOLE else fault_tables.read()

    def try_out(cell: Cell) -> bool | str:
        """The outcome, or what is wrong with it."""
        expected = page.get((cell.fault, cell.for_good, cell.request.kind), {True, False})
        try:
            ok = attempt(matrix, cell, plan[cell.job][1], expected)
        except AssertionError as error:
            return f"{cell}\n    {str(error)[:1000]}"
        return ok if ok in expected else f"{cell}\n    {'goes on' if ok else 'stops'}, and the page says otherwise"

    found = side_by_side(matrix, try_out, sample, 8 if which in WHOLE else 2)
    outcomes = {cell: outcome for cell, outcome in found.items() if isinstance(outcome, bool)}
    wrong = [outcome for outcome in found.values() if isinstance(outcome, str)]
    record_property("trials", len(sample))
    if which in WHOLE:
        fault_tables.write(outcomes)
    assert matrix.trap.caught() == []
    assert len(found) == len(sample)
    assert not wrong, f"{len(wrong)} of {len(sample)}:\n" + "\n".join(wrong)


def test_the_page_is_of_these_faults() -> None:
    kinds = {(fault, for_good) for fault, for_good, _kind in fault_tables.read()}
    assert kinds == {(fault, False) for fault in FAULTS} | {(fault, True) for fault in FOR_GOOD}
