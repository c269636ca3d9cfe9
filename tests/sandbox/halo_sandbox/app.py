# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a request to its answer."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from . import api, auth
from .answers import Answer, oauth_error, page
from .control import Control
from .faults import Fault, Faults, rate_limited
from .log import Log
from .settings import Settings
from .store import Store
from .tenant import Tenant

READ_ONLY_STATUS = 418
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Sandbox:
    """All tenants. ``handle`` is the handler for an aiohttp ``web.Server``; ``url`` is to be set when it listens."""

    def __init__(self, directory: Path, names: list[str], latency_ms: float | None = None) -> None:
        self.store = Store(directory)
        self.names = names
        self.url = ""
        self._known = set(names)
        self._settings = Settings(self.store, latency_ms)
        self._faults = Faults()
        self._log = Log(names)
        self._control = Control(self.store, names, self._settings, self._faults, self._log)
        self._recent: dict[str, deque[float]] = {}
        self._late: set[asyncio.Task[None]] = set()

    def tenants(self) -> list[dict[str, str]]:
        """Name, URL and the seed's credentials of each tenant."""
        found = []
        for name in self.names:
            client_id, client_secret = self.store.seed.credentials(name)
            url = f"{self.url}/{name}"
            found.append({"name": name, "url": url, "client_id": client_id, "client_secret": client_secret})
        return found

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        first, _slash, rest = path[1:].partition("/")
        query_string = request.rel_url.raw_query_string
        pairs = urllib.parse.parse_qsl(query_string, keep_blank_values=True) if query_string else ()
        query = {name.lower(): value for name, value in pairs}
        body = await request.read()
        if first == "_sandbox":
            return _response(self._control.answer(request.method, rest.strip("/").split("/"), query, body))
        name = first.lower()
        if name not in self._known:
            entry = self._log.add(None, request.method, path, query_string, "other")
            entry["status"] = 500
            return _response(page(500))
        rest = f"/{rest}"
        route = rest.lower().rstrip("/")
        settings = self._settings.of(name)
        kind = _kind(route, settings)
        entry = self._log.add(name, request.method, rest, query_string, kind)
        answer = await self._answer(name, route, kind, request, query, body, rest)
        if isinstance(answer, Answer):
            entry["status"] = answer.status
            return _response(answer)
        return answer

    async def _answer(
        self, name: str, route: str, kind: str, request: web.BaseRequest, query: dict[str, str], body: bytes, path: str
    ) -> Answer | web.StreamResponse:
        settings = self._settings.of(name)
        what = (route, kind, request, query, body)
        if settings["latency_ms"]:
            await asyncio.sleep(settings["latency_ms"] / 1000)
        fault = self._faults.struck(name, request.method, path)
        if fault and fault.base == "revoke":
            self.store.drop_tokens(name)
            fault = None
        if fault and fault.late:
            self._handle_later(fault, lambda: self._handled(Tenant(self.store, name, settings), *what))
        if fault and not fault.after:
            spoiled = await fault.spoil(request, None)
            if spoiled is not None:
                return spoiled
        if kind != "token" and route.startswith("/api/") and settings["read_only"] and request.method in _WRITES:
            self._log.refused(name)
            return Answer(READ_ONLY_STATUS)
        answer = self._limited(name, settings["rate_limit"])
        if answer is None:
            # Nothing is awaited in here: a request is handled as a whole before the next one begins.
            answer = self._handled(Tenant(self.store, name, settings), *what)
        if fault and fault.after:
            return await fault.spoil(request, answer)
        return answer

    def _handle_later(self, fault: Fault, handle: Callable[[], Answer]) -> None:
        async def later() -> None:
            await fault.pass_time()
            handle()

        task = asyncio.create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _handled(
        self, tenant: Tenant, route: str, kind: str, request: web.BaseRequest, query: dict[str, str], body: bytes
    ) -> Answer:
        if auth.wrong_tenant(tenant.name, query.get("tenant")):
            return page(500)
        if kind == "token":
            if request.method != "POST":
                return oauth_error(400, "invalid_request", "The specified HTTP method is not valid.")
            return auth.token(tenant, request.headers, body)
        if not route.startswith("/api/"):
            return page(404)
        sent = api.Request(request.method, query, request.headers, body)
        return api.answer(tenant, route.split("/")[2:], sent, f"{self.url}/{tenant.name}")

    def _limited(self, name: str, limit: dict[str, Any] | None) -> Answer | None:
        """The answer 429 if a tenant's rolling window is full; otherwise count the request in."""
        if limit is None:
            self._recent.pop(name, None)
            return None
        now = time.monotonic()
        recent = self._recent.setdefault(name, deque())
        while recent and recent[0] <= now - limit["seconds"]:
            recent.popleft()
        if len(recent) >= limit["requests"]:
            return rate_limited(limit.get("retry_after"))
        recent.append(now)
        return None


def _kind(route: str, settings: dict[str, Any]) -> str:
    if route == settings["auth_path"].lower() + "/token":
        return "token"
    if route == "/api/authinfo":
        return "authinfo"
    return "api" if route.startswith("/api/") else "other"


def _response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    if answer.content_type:
        response.headers["Content-Type"] = f"{answer.content_type}; charset=utf-8"
    elif not answer.body:
        response.headers.popall("Content-Type", None)
    return response
