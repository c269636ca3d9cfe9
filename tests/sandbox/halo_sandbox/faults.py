# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: what goes wrong, when, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
import struct
import urllib.parse
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from .answers import Answer, as_json, page

_Handled = TypeVar("_Handled", Answer, None)

_KINDS = ("status", "reset", "garbage", "html", "empty", "echo")
KINDS = (
    *(base + when for base in _KINDS for when in ("", "_after", "_late")),
    "delay",
    "delay_after",
    "revoke",
    # these need the answer of a request that was handled
    "truncate_after",
    "drip_after",
    "edit_after",
)
_GARBAGE = b'{"id":4711,"name":"\xff\xfe","ro'


def _rows(answer: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """The answer with its objects changed, be it one of them, a list or a wrapped list."""
    if isinstance(answer, list):
        return [_rows(row, change) for row in answer]
    if not isinstance(answer, dict):
        return answer
    return change({name: _rows(value, change) if isinstance(value, list) else value for name, value in answer.items()})


def _twice(answer: Any) -> Any:
    if isinstance(answer, dict) and "record_count" in answer:
        return {name: value * 2 if isinstance(value, list) else value for name, value in answer.items()}
    return answer * 2 if isinstance(answer, list) else [answer, answer]


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if name.endswith("id") and isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in row.items()
    }


_LETTERS: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "swapped": str.swapcase}
_EDITS: dict[str, Callable[[Any], Any]] = {
    "list": lambda answer: answer if isinstance(answer, list) else [answer],
    "object": lambda answer: (answer or [{}])[0] if isinstance(answer, list) else answer,
    "twice": _twice,
    "texts": lambda answer: _rows(answer, _as_text),
}


def _is(kind: type | tuple[type, ...]) -> Any:
    return lambda value: isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)


_SPEC: dict[str, Any] = {
    "tenant": lambda value: value is None or isinstance(value, str),
    "method": lambda value: value is None or isinstance(value, str),
    "path": lambda value: value is None or isinstance(value, str),
    "kind": lambda value: value in KINDS,
    "status": lambda value: _is(int)(value) and 200 <= value <= 599,
    "headers": lambda value: isinstance(value, dict) and all(isinstance(text, str) for text in value.values()),
    "body": lambda value: True,
    "edit": lambda value: value in (None, *_EDITS, *_LETTERS),
    "seconds": lambda value: _is((int, float))(value) and value >= 0,
    "skip": lambda value: _is(int)(value) and value >= 0,
    "times": lambda value: value is None or (_is(int)(value) and value > 0),
}
_DEFAULTS: dict[str, Any] = {
    "tenant": None,
    "method": None,
    "path": None,
    "kind": None,
    "headers": {},
    "body": None,
    "edit": None,
    "seconds": 1.5,
    "skip": 0,
    "times": 1,
}


class Fault:
    """One fault as it was asked for.

    ``after``: the request is handled, and what it writes committed, first; ``late``: afterwards, when the client has
    its answer already.
    """

    def __init__(self, number: int, spec: dict[str, Any]) -> None:
        """Raises ValueError for a specification that cannot be meant."""
        for name, value in spec.items():
            if name not in _SPEC:
                raise ValueError(f"unknown property {name!r}; known: {', '.join(_SPEC)}")
            if not _SPEC[name](value):
                raise ValueError(f"bad value for {name}: {value!r}")
        if "kind" not in spec:
            raise ValueError(f"kind is missing; one of {', '.join(KINDS)}")
        self.base, _mark, when = spec["kind"].partition("_")
        self.spec = {**_DEFAULTS, "status": 200 if self.base in ("empty", "garbage") else 500, **spec}
        try:
            self._path = re.compile(self.spec["path"] or "", re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"bad path: {error}") from error
        self.number = number
        self.after = when == "after"
        self.late = when == "late"
        self.hits = 0
        self._seen = 0
        self._cleared = asyncio.Event()

    def strikes(self, tenant: str, method: str, path: str) -> bool:
        """Say whether this request is hit, and count it."""
        spec = self.spec
        if spec["tenant"] not in (None, tenant) or (spec["method"] or method).upper() != method:
            return False
        if not self._path.search(path) or (spec["times"] is not None and self.hits >= spec["times"]):
            return False
        self._seen += 1
        if self._seen <= spec["skip"]:
            return False
        self.hits += 1
        return True

    def clear(self) -> None:
        """Let the requests go on that it holds back."""
        self._cleared.set()

    def shown(self) -> dict[str, Any]:
        return {"id": self.number, **self.spec, "hits": self.hits}

    async def spoil(self, request: web.BaseRequest, answer: _Handled) -> Answer | web.StreamResponse | _Handled:
        """Do the harm. *answer* is that of the handled request, None when it was not handled.

        Returns what to answer; after a mere delay that is *answer*, and None means: handle the request now.
        """
        spec = self.spec
        if self.base == "delay":
            await self.pass_time()
            return answer
        if self.base == "reset":
            _reset(request)
            return web.Response()
        if self.base == "truncate":
            assert answer is not None
            return await _truncate(request, answer)
        if self.base == "drip":
            assert answer is not None
            return await self._drip(request, answer)
        if self.base == "edit":
            assert answer is not None
            return self._edited(answer)
        if self.base == "html":
            wrong = page(spec["status"])
        elif self.base == "empty":
            wrong = Answer(spec["status"])
        elif self.base == "echo":
            wrong = self._echo(request, await request.read())
        elif self.base == "garbage":
            wrong = Answer(spec["status"], _GARBAGE, "application/json")
        else:
            wrong = _status(spec["status"], spec["body"])
        if spec["headers"].get("Content-Encoding") == "gzip":
            wrong = wrong._replace(body=gzip.compress(wrong.body))
        return wrong._replace(headers=spec["headers"])

    async def pass_time(self) -> None:
        """Wait ``seconds``, or until the fault is forgotten."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._cleared.wait(), self.spec["seconds"])

    async def _drip(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        response.content_length = len(answer.body)
        # a client that has had enough
        with contextlib.suppress(OSError):
            await response.prepare(request)
            for number in range(len(answer.body)):
                await response.write(answer.body[number : number + 1])
                await self.pass_time()
        return response

    def _echo(self, request: web.BaseRequest, body: bytes) -> Answer:
        """What was sent, for SENT in ``body``: secrets and token first, for a message is cut off; then all of it."""
        sent = body.decode("utf-8", "replace")
        if request.content_type == "application/json":
            objects = json.loads(sent) if sent else []
            rows = [row for row in (objects if isinstance(objects, list) else [objects]) if isinstance(row, dict)]
            values = [str(value) for row in rows for name, value in row.items() if "secret" in name.lower()]
        else:
            values = urllib.parse.parse_qs(sent).get("client_secret", [])
        text = " ".join([*values, request.headers.get("Authorization", ""), sent])
        text = _LETTERS[self.spec["edit"]](text) if self.spec["edit"] else text
        if isinstance(self.spec["body"], str):
            return Answer(self.spec["status"], self.spec["body"].replace("SENT", text).encode(), "application/json")
        return as_json(self.spec["status"], {"error": "invalid_client", "Message": f"Not with {text}"})

    def _edited(self, answer: Answer) -> Answer:
        try:
            value = json.loads(answer.body)
        except ValueError:
            return answer
        if self.spec["edit"]:
            value = _EDITS[self.spec["edit"]](value)
        if isinstance(self.spec["body"], dict):
            change = self.spec["body"]
            value = _rows(value, lambda row: {**row, **change})
        return as_json(answer.status, value, answer.headers)


def _status(status: int, body: Any) -> Answer:
    if isinstance(body, str):
        return Answer(status, body.encode(), "text/plain")
    if body is not None:
        return as_json(status, body)
    if status == 429:
        return rate_limited()
    if status >= 502:
        return page(status)
    return as_json(status, {"ClassName": "System.Exception", "Message": "An error has occurred."})


def rate_limited(retry_after: float | None = None) -> Answer:
    """Hosted Halo's answer to too many requests. It need not say when to come back."""
    text = "Rate Limit Reached - 300 Requests per rolling 5 minute window"
    return as_json(429, {"error": text}, None if retry_after is None else {"Retry-After": str(retry_after)})


def _reset(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is None:
        return
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        # Without lingering, closing sends RST at once instead of an orderly end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _truncate(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    # All headers, half of the body (of an empty one: a length that is never reached), then the end.
    response = web.StreamResponse(status=answer.status)
    if answer.content_type:
        response.content_type = answer.content_type
    response.content_length = max(2, len(answer.body))
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2] or b"{")
    if request.transport is not None:
        request.transport.close()
    return response


class Faults:
    """The faults that were asked for, in that order; the first that strikes is the one."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._last = 0

    def add(self, spec: dict[str, Any]) -> int:
        """Returns the fault's id. Raises ValueError."""
        self._last += 1
        self._faults.append(Fault(self._last, spec))
        return self._last

    def struck(self, tenant: str, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.strikes(tenant, method, path):
                return fault
        return None

    def shown(self) -> list[dict[str, Any]]:
        return [fault.shown() for fault in self._faults]

    def clear(self, tenant: str | None) -> None:
        """Forget those that were ordered for a tenant (None: all)."""
        for fault in self._faults:
            if tenant in (None, fault.spec["tenant"]):
                fault.clear()
        self._faults = [fault for fault in self._faults if tenant not in (None, fault.spec["tenant"])]
