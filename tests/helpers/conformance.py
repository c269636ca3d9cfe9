# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of the documentation that says what each store was proven to do: stores by cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "docsite" / "rst" / "stores_conformance.rst"
HEAD = """\
.. Written by "make conformance" from what the tests of the stores proved. Do not change it by hand.

.. _ansible_collections.haloops.halo.docsite.stores_conformance:

What each store was proven to do
================================

Each cell is a test that every change to this collection has to pass, and what that test saw: with files on a disk,
with OpenBao, with servers that stand in for AWS (moto) and for Controller, and, for the store ``command``, with the
programs in ``examples/stores`` for ``pass`` and for ``sops`` with ``age``. Which of them to take is said in
:ref:`ansible_collections.haloops.halo.docsite.stores`.

.. list-table::
   :header-rows: 1
   :stub-columns: 1

"""
Table = dict[str, dict[str, str]]


def write(cells: Iterable[tuple[str, str, str]], stores: Iterable[str]) -> str:
    """Write the page of these cells, if they are all; says what was done.

    :param cells: case, store, words; of each store in the order of the table
    :param stores: in the order of the table
    """
    found: Table = {}
    for case, store, words in cells:
        found.setdefault(case, {})[store] = words
    columns = list(stores)
    if not found or any(set(row) != set(columns) for row in found.values()):
        return f"{PAGE} was not written: not all cases have passed with all stores."
    table = {case: {store: row[store] for store in columns} for case, row in found.items()}
    PAGE.write_text(rendered(table), encoding="utf-8")
    return f"{PAGE} was written."


def rendered(table: Mapping[str, Mapping[str, str]]) -> str:
    """The page.

    :param table: by case and store, in their order
    """
    stores = list(next(iter(table.values())))
    rows = [["", *(f"``{store}``" for store in stores)]]
    rows += [[case, *(cells[store] for store in stores)] for case, cells in table.items()]
    lines = [f"   {'*' if first else ' '} - {cell}".rstrip() for row in rows for first, cell in marked(row)]
    return HEAD + "\n".join(lines) + "\n"


def marked(row: list[str]) -> Iterable[tuple[bool, str]]:
    return ((number == 0, cell) for number, cell in enumerate(row))


def parsed(page: str) -> Table:
    """The table of a page, by case and store."""
    rows: list[list[str]] = []
    for first, cell in re.findall(r"^   ([* ]) -(?: (.*))?$", page, re.M):
        if first == "*":
            rows.append([])
        rows[-1].append(cell)
    head, *body = rows or [[""]]
    return {case: dict(zip((one.strip("`") for one in head[1:]), cells, strict=True)) for case, *cells in body}


def committed() -> Table:
    return parsed(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
