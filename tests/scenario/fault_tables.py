# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of the page on faults: written by the run that tries everything, read by the others."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from fault_matrix import FAULTS, FOR_GOOD, JOBS, KINDS, Cell

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "docsite" / "rst" / "faults.rst"
BEGIN = ".. What follows is written by ``make faults``.\n"
GOES_ON, STOPS = "goes on", "stops"
OF_GOOD = ", to the end of the run"
WORDS = {frozenset({True}): GOES_ON, frozenset({False}): STOPS, frozenset({True, False}): "either", frozenset(): "-"}
Key = tuple[str, bool, str]


def write(outcomes: Mapping[Cell, bool]) -> None:
    """Replace the tables."""
    found: dict[Key, set[bool]] = defaultdict(set)
    for cell, ok in outcomes.items():
        found[cell.fault, cell.for_good, cell.request.kind].add(ok)
    rows = [(fault, for_good) for fault in FAULTS for for_good in (False, True) if not for_good or fault in FOR_GOOD]
    by_fault = [
        [fault + (OF_GOOD if for_good else ""), *(WORDS[frozenset(found[fault, for_good, kind])] for kind in KINDS)]
        for fault, for_good in rows
    ]
    by_job = []
    for job in JOBS:
        ours = {cell: ok for cell, ok in outcomes.items() if cell.job == job}
        requests = {cell.request for cell in ours}
        by_job.append([job, len(requests), len(ours), sum(ours.values()), len(ours) - sum(ours.values())])
    total = ["all", *(sum(row[column] for row in by_job) for column in range(1, 5))]
    text = PAGE.read_text()
    text = text[: text.index(BEGIN)] + BEGIN
    text += _table("What comes of each fault, by the kind of request", ["fault", *KINDS], by_fault)
    head = ["job", "requests", "trials", "the run goes on", "it stops, and the next one converges"]
    text += _table("Trials", head, [*by_job, total])
    PAGE.write_text(text)


def _table(title: str, head: list[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)
    names = io.StringIO()
    csv.writer(names, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(head)
    lines = "".join(f"   {line}\n" for line in text.getvalue().splitlines())
    return f"\n.. csv-table:: {title}\n   :header: {names.getvalue().strip()}\n\n{lines}"


def read() -> dict[Key, set[bool]]:
    """What the page says: for each fault and kind of request, how the run that it strikes may end."""
    meaning = {word: set(ends) for ends, word in WORDS.items() if ends}
    rows = csv.reader(line.strip() for line in PAGE.read_text().partition(BEGIN)[2].splitlines())
    found: dict[Key, set[bool]] = {}
    for row in rows:
        if len(row) == len(KINDS) + 1 and row[1] in WORDS.values():
            fault = row[0].removesuffix(OF_GOOD)
            for kind, word in zip(KINDS, row[1:], strict=True):
                found[fault, fault != row[0], kind] = meaning.get(word, set())
    return found
