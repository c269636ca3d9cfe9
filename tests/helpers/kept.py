# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store and a trail in memory, in the place of those that keep something."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.module_utils.trail import Step

Row = dict[str, Any]


class Kept:
    """A store; ``fail`` maps a name to what reading it raises, ``wrote`` is what was written, in order."""

    def __init__(self) -> None:
        self.entries: dict[str, Row] = {}
        self.fail: dict[str, HaloError] = {}
        self.wrote: list[str] = []
        self.held = 0

    def read(self, name: str) -> tuple[Row, int]:
        if name in self.fail:
            raise self.fail[name]
        return entry(copy.deepcopy(self.entries.get(name))), 1

    def write(self, name: str, new: Row, version: int) -> int:
        self.wrote.append(name)
        self.entries[name] = copy.deepcopy(new)
        return version + 1

    def names(self) -> list[str]:
        return list(self.entries)

    def others(self, names: Any) -> dict[str, Row]:
        if "others" in self.fail:
            raise self.fail["others"]
        return {name: entry(one) for name, one in self.entries.items() if name not in names}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self.held += 1
        yield


class Lines:
    """A trail."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def check(self) -> None:
        pass

    def note(self, step: Step) -> None:
        self.steps.append(step)
