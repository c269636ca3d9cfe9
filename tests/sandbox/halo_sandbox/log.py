# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request log: what came in, in order, never with a body, and the counts per tenant."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import Any

# About 100 MB. The counts go on beyond it.
_KEPT = 200_000
_METHODS = ("GET", "POST", "DELETE")


class Log:
    def __init__(self, tenants: list[str]) -> None:
        self._tenants = tenants
        self.clear()

    def clear(self) -> None:
        self._entries: deque[dict[str, Any]] = deque()
        self._of_tenants: dict[str | None, deque[dict[str, Any]]] = defaultdict(deque)
        self._number = 0
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, tenant: str | None, method: str, path: str, query: str, kind: str) -> dict[str, Any]:
        """Note a request when it comes in; the caller sets ``status`` when it goes out whole."""
        self._number += 1
        entry = {
            "n": self._number,
            "at": time.time(),
            "tenant": tenant,
            "method": method,
            "path": path,
            "query": query,
            "status": None,
            "kind": kind,
        }
        self._entries.append(entry)
        self._of_tenants[tenant].append(entry)
        if len(self._entries) > _KEPT:
            self._of_tenants[self._entries.popleft()["tenant"]].popleft()
        if tenant is not None:
            counts = self._of(tenant)
            counts["total"] += 1
            if kind == "token":
                counts["token"] += 1
            elif method in _METHODS:
                counts[method] += 1
        return entry

    def refused(self, tenant: str) -> None:
        """Count a write that read-only mode refused."""
        self._of(tenant)["refused_writes"] += 1

    def _of(self, tenant: str) -> dict[str, int]:
        if tenant not in self._counts:
            self._counts[tenant] = dict.fromkeys(("total", *_METHODS, "token", "refused_writes"), 0)
        return self._counts[tenant]

    def requests(self, tenant: str | None) -> dict[str, Any]:
        """``dropped``: how many of the oldest are no longer here."""
        chosen = self._entries if tenant is None else self._of_tenants[tenant]
        return {"requests": [*chosen], "dropped": self._number - len(self._entries)}

    def counts(self) -> dict[str, Any]:
        tenants = {name: self._of(name) for name in self._tenants}
        return {"tenants": tenants, "refused_writes": sum(counts["refused_writes"] for counts in tenants.values())}
